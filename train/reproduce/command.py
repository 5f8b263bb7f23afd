"""`python -m train reproduce-nano`: from packages and photographs to the built-in weights, one stage after another.

Every stage is an ordinary command with the settings of `train.reproduce.recipe`, in a process of its own. A
stage whose output is there is skipped. A stage that was stopped continues from its own checkpoints.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from mfuser import presets
from mfuser.weights import files
from train.fit.dry_run import duration
from train.reproduce.plan import kind_of, plan
from train.reproduce.recipe import COMMAND_OF, LARGEST, PROTOCOLS, RENDERED
from train.reproduce.stages import Ledger, Stage
from train.runtime.files import require_writable
from train.runtime.subprocesses import LAUNCH, Places, run_child, side_by_side
from train.runtime.weights import has_public_encoders

STAGES = (*COMMAND_OF, "collect")


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
    stages: tuple[
        Literal[
            "all", "pretrain-text", "pretrain-vlm", "pretrain-vfm", "fit-fused", "fit-vfm", "fit-vlm", "settle",
            "calibrate", "pseudo-camvid-vfm", "pseudo-idd-vfm", "pseudo-dawn-vfm", "pseudo-camvid-vlm",
            "pseudo-idd-vlm", "pseudo-dawn-vlm", "pseudo-camvid-fused", "pseudo-idd-fused", "pseudo-dawn-fused",
            "further-fused", "further-vfm", "further-vlm", "blend", "calibrate-blend", "teach", "teach-every-word",
            "collect",
        ],
        ...,
    ] = ("all",)  # fmt: skip
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
    """Run the stages that are not done. Returns the folder of the weights.

    Raises ValueError or OSError for missing data, for a stage that fails, and, without `overwrite`, for one that is
    there with other settings.
    """
    if has_public_encoders(presets.get(config.preset)):
        raise ValueError(
            f"The encoders of preset {config.preset!r} are public ones, which are not made here: "
            f"python -m train fit --preset {config.preset} trains its decoders."
        )
    if config.parallel < 1:
        raise ValueError(f"--parallel must be 1 or more, got {config.parallel}.")
    stages, ledger = plan(config), Ledger(config.out)
    chosen = [stage for stage in stages.values() if "all" in config.stages or stage.name in config.stages]
    if config.dry_run:
        for number, stage in enumerate(chosen, 1):
            sets = ", ".join(stage.settings.get("data", ())) if kind_of(stage.name) in ("pretrain", "fit") else ""
            about = f"; {sets}" if sets else ""
            print(f"{number}. {stage.name}: {status(ledger, stages, stage)}{about}\n   {shown(stage)}")
        return config.out / config.preset
    for stage in chosen:
        if not config.overwrite and (how := ledger.differs(stage)):
            raise ValueError(
                f"The stage {stage.name} in {config.out} was made otherwise: {how}. Pass --overwrite to make it anew, "
                "with all that follows, or another --out."
            )
        for name in stage.follows:
            if stages[name] not in chosen and not ledger.done(stages[name]):
                raise ValueError(f"The stage {stage.name} needs {name}, which is not done: add it to --stages.")
    require_writable(config.out)
    if RENDERED in PROTOCOLS[config.protocol].fit and config.rendered is None:
        print(
            "Without --rendered nothing names truck, bus, train, motorcycle, bicycle, wall, terrain and traffic light: "
            "the built-in weights saw those of "
            "python -m train render --count 600 --size 640x320 --samples 5 --seed 10000 --out SCENES."
        )
    started = time.monotonic()
    run_stages(config, ledger, chosen)
    target = config.out / config.preset
    total = sum(ledger.read(stage.name).get("seconds", 0.0) for stage in stages.values())
    width = max(map(len, (*stages, "together")))
    for name in stages:
        print(f"{name:{width}} {duration(ledger.read(name).get('seconds', 0.0)):>12}")
    print(f"{'together':{width}} {duration(total):>12}")
    if config.parallel > 1:
        print(f"{'this time':{width}} {duration(time.monotonic() - started):>12}")
    if ledger.done(stages["collect"]):
        print(f"The weights are in {target}: python app.py --weights {target}")
    return target


def run_stages(config: ReproduceConfig, ledger: Ledger, stages: Sequence[Stage]) -> None:
    """Run stages, each when all that it follows is done. Raises ValueError naming one that failed."""
    places = Places(config.parallel, config.device in ("auto", "cuda"))
    waiting = {f"{number}/{len(stages)} {stage.name}": stage for number, stage in enumerate(stages, 1)}
    running: dict[Future[None], str] = {}

    def run(stage: Stage, title: str) -> None:
        with places.take() as environment:
            run_stage(config, ledger, stage, title, environment)

    with side_by_side(config.parallel) as pool:
        while waiting or running:
            ahead = {stage.name for stage in waiting.values()} | set(running.values())
            for title, stage in list(waiting.items()):
                if len(running) < config.parallel and not ahead & set(stage.follows):
                    del waiting[title]
                    running[pool.submit(run, stage, title)] = stage.name
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                future.result()


def run_stage(
    config: ReproduceConfig, ledger: Ledger, stage: Stage, title: str, environment: Mapping[str, str]
) -> None:
    """Run one stage unless it is done. Raises ValueError naming it with its last words."""
    how = ledger.differs(stage)
    if how and not config.overwrite:  # what it follows has just been made, to another result
        raise ValueError(f"The stage {stage.name} was made otherwise: {how}. Pass --overwrite to make it anew.")
    if how:
        ledger.clear(stage)
    elif ledger.done(stage):
        print(f"{title}: done, skipped")
        return
    told = f"\n   says more in {ledger.log(stage)}" if config.parallel > 1 and stage.command else ""
    print(f"{title}: {shown(stage)}{told}", flush=True)
    ledger.begin(stage, shown(stage))
    started = time.monotonic()
    try:
        if stage.name == "collect":
            collect(config)
        else:
            alone = config.parallel == 1
            command, everything = [*LAUNCH, *stage.arguments()], {**os.environ, **environment}
            run_child(f"The stage {stage.name}", command, ledger.log(stage), show=alone, environment=everything)
    finally:
        ledger.spent(stage, time.monotonic() - started)
    ledger.finish(stage)
    if config.parallel > 1:
        print(f"{title}: done in {duration(time.monotonic() - started)}", flush=True)


def status(ledger: Ledger, stages: dict[str, Stage], stage: Stage) -> str:
    """What `--dry-run` says about a stage."""
    if how := ledger.differs(stage):
        return f"made otherwise, {how}: --overwrite makes it anew"
    if ledger.done(stage):
        return f"done in {duration(ledger.read(stage.name)['seconds'])}"
    waits = [name for name in stage.follows if not ledger.done(stages[name])]
    begun = "begun, would go on" if ledger.read(stage.name) else "would run"
    return begun + (f" after {', '.join(waits)}" if waits else "")


def shown(stage: Stage) -> str:
    """The command of a stage, as it can be typed."""
    if stage.name == "collect":
        return f"copy {stage.copies[0]} to {stage.copies[1]}, at most {LARGEST / 1e6:g} MB"
    return shlex.join(["python", "-m", "train", *stage.arguments()])


def collect(config: ReproduceConfig) -> None:
    """Check the copied weights, and lay their terms beside them. Raises ValueError for weights that are too large or do
    not fit the preset."""
    from train.runtime.weights import load_model

    preset, target = presets.get(config.preset), config.out / config.preset
    size = sum((target / file).stat().st_size for file in files.weight_files(preset))
    if size > LARGEST:
        raise ValueError(
            f"The weights in {target} have {size / 1e6:.1f} MB, more than {LARGEST / 1e6:g} MB: fit with --half."
        )
    load_model(preset, target, preset.streams)
    terms = preset.weights / "LICENSE.md" if preset.weights is not None else None
    if terms is not None and terms.is_file():
        shutil.copyfile(terms, target / "LICENSE.md")
    print(f"{target}: {size / 1e6:.1f} MB, every tensor fits")
