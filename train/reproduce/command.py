"""`python -m train reproduce-nano`: from packages and photographs to the built-in weights, one stage after another.

Every stage is an ordinary command with the settings of `train.reproduce.recipe`, in a process of its own. A
stage whose output is there is skipped. A stage that was stopped continues from its own checkpoints.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from mfuser import presets
from mfuser.weights.files import weight_files
from train.fit.dry_run import duration
from train.reproduce.plan import arguments, plan, shown
from train.reproduce.recipe import LARGEST, PROTOCOLS, RENDERED, table
from train.reproduce.stages import Stages
from train.runtime.files import require_writable
from train.runtime.subprocesses import LAUNCH, Subprocesses
from train.runtime.weights import has_public_encoders, load_model

NAMES = tuple(stage.name for stage in table(PROTOCOLS["shipped"]))
LEARNING = ("pretrain", "fit")  # commands of which --dry-run says what they learn from


@dataclass(frozen=True)
class ReproduceConfig:
    """From packages and photographs to the built-in weights: pre-training, decoders, names, confidence, words, and
    further training on labels that the weights themselves give.

    A stage whose output is there and has the same settings is skipped, and one that was stopped continues: simply give
    the same command again. The settings stand in `train/reproduce/recipe.py`.
    """

    # Folder with camvid/{train,val}/{images,labels}, idd_lite/{train,val}/{images,labels_group}, dawn_fog/images.
    data_root: Path
    # Folder of everything that the stages make; the weights end in its folder nano.
    out: Path = Path("runs/reproduce")
    # Labels that teach the decoders. "dgss": camvid train alone, scored on camvid val and idd_lite val. "shipped": all
    # that is labelled, val splits and rendered scenes too, and then the weights' own labels.
    protocol: Literal["dgss", "shipped"] = "shipped"
    # Scenes of `python -m train render`, for the shipped protocol; without them the other sets share their part.
    rendered: Path | None = None
    # Whose weights are made.
    preset: str = "nano"
    # Which stages.
    stages: tuple[Literal[("all", *NAMES)], ...] = ("all",)
    # Factor of all iterations, to try it out: 0.01 for a hundredth.
    scale: float = 1.0
    # auto, cpu, cuda or cuda:N.
    device: str = "auto"
    # Of the forward pass, instead of the recipe's own; a stage that the recipe keeps in float32 stays there.
    precision: Literal["recipe", "float32", "bf16"] = "recipe"
    # Stages at the same time, in any order that gives the same weights, spread over all GPUs.
    parallel: int = 1
    # Make stages of other settings anew, with all that follow them.
    overwrite: bool = False
    # Only say which stages there are, which are done, and which commands would run.
    dry_run: bool = False


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(ReproduceConfig, args=list(argv), prog="python -m train reproduce-nano")
    try:
        reproduce(config)
    except KeyboardInterrupt:
        print(f"Stopped and saved; the same command continues. ({config.out})")
        raise SystemExit(130) from None


def reproduce(config: ReproduceConfig) -> Path:
    """Run the stages that are not done.

    Args:
        config: the command's settings.

    Returns:
        The folder of the weights.

    Raises:
        ValueError: data is missing, a stage fails, or, without `overwrite`, one is there with other settings.
        OSError: the folder cannot be written.
    """
    if has_public_encoders(presets.get(config.preset)):
        raise ValueError(
            f"The encoders of preset {config.preset!r} are public ones, which are not made here: "
            f"python -m train fit --preset {config.preset} trains its decoders."
        )
    if config.parallel < 1:
        raise ValueError(f"--parallel must be 1 or more, got {config.parallel}.")
    stages, target = plan(config), config.out / config.preset
    names = [name for name in stages.rows if "all" in config.stages or name in config.stages]
    if config.dry_run:
        for number, name in enumerate(names, 1):
            learns = stages.settings[name].get("data", []) if stages.rows[name].command in LEARNING else []
            print(f"{number}. {name}: {status(stages, name)}" + (f"; {', '.join(learns)}" if learns else ""))
            print(f"   {shown(config, stages.rows[name])}")
        return target
    for name in names:
        if not config.overwrite:
            stages.refuse(name)
        for before in stages.follows[name]:
            if before not in names and not stages.done(before):
                raise ValueError(f"The stage {name} needs {before}, which is not done: add it to --stages.")
    require_writable(config.out)
    if RENDERED in PROTOCOLS[config.protocol].fit and config.rendered is None:
        print(
            "Without --rendered nothing names truck, bus, train, motorcycle, bicycle, wall, terrain and traffic light: "
            "the built-in weights saw those of "
            "python -m train render --count 600 --size 640x320 --samples 5 --seed 10000 --out SCENES."
        )
    with Subprocesses(config.parallel, config.device in ("auto", "cuda")) as processes:
        follows = {name: stages.follows[name] for name in names}
        processes.in_order(follows, lambda name: run(config, stages, name, processes))
    seconds = {name: stages.read(name).get("seconds", 0.0) for name in stages.rows}
    for name, value in {**seconds, "together": sum(seconds.values())}.items():
        print(f"{name:{max(map(len, seconds))}} {duration(value):>12}")
    if stages.done("collect"):
        print(f"The weights are in {target}: python app.py --weights {target}")
    return target


def status(stages: Stages, name: str) -> str:
    """What `--dry-run` says about a stage."""
    if how := stages.differs(name):
        return f"made otherwise, {how}: --overwrite makes it anew"
    if stages.done(name):
        return f"done in {duration(stages.read(name)['seconds'])}"
    waits = ", ".join(before for before in stages.follows[name] if not stages.done(before))
    return ("begun, would go on" if stages.read(name) else "would run") + f" after {waits}" * bool(waits)


def run(config: ReproduceConfig, stages: Stages, name: str, processes: Subprocesses) -> None:
    """Run one stage unless it is done. Raises ValueError naming it with the last line of its output."""
    if not config.overwrite:  # what it follows may just have been made, to another result
        stages.refuse(name)
    title = f"{[*stages.rows].index(name) + 1}/{len(stages.rows)} {name}"
    if stages.done(name) and not stages.differs(name):
        print(f"{title}: done, skipped")
        return
    row, started = stages.rows[name], time.monotonic()
    print(f"{title}: {shown(config, row)}" + f"\n   its output: {stages.log(name)}" * (config.parallel > 1), flush=True)
    stages.begin(name, shown(config, row))
    try:
        if row.command == "collect":
            collect(config)
        else:
            processes.run(f"The stage {name}", [*LAUNCH, *arguments(config, row)], stages.log(name))
    finally:
        stages.write(name, seconds=round(stages.read(name)["seconds"] + time.monotonic() - started, 1))
    stages.finish(name)
    if config.parallel > 1:
        print(f"{title}: done in {duration(time.monotonic() - started)}", flush=True)


def collect(config: ReproduceConfig) -> None:
    """Check the copied weights, and lay their terms beside them. Raises ValueError for weights that are too large or do
    not fit the preset."""
    preset, target = presets.get(config.preset), config.out / config.preset
    size = sum((target / file).stat().st_size for file in weight_files(preset))
    if size > LARGEST:
        raise ValueError(
            f"The weights in {target} have {size / 1e6:.1f} MB, more than {LARGEST / 1e6:g} MB: fit with --half."
        )
    load_model(preset, target, preset.streams)
    terms = preset.weights / "LICENSE.md" if preset.weights is not None else None
    if terms is not None and terms.is_file():
        shutil.copyfile(terms, target / "LICENSE.md")
    print(f"{target}: {size / 1e6:.1f} MB, every tensor fits")
