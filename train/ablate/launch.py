"""Runs of `fit` in processes of their own, several at a time, over all GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from train.data.dataset import name_of, pairs_of
from train.data.holdout import divided, held_name
from train.fit.config import FitConfig, defaults
from train.fit.inputs import validation_specs
from train.fit.report import read_log
from train.fit.run_files import RunFiles
from train.runtime.subprocesses import LAUNCH, Places, options, run_child, side_by_side


def train_all(runs: Sequence[FitConfig], parallel: int) -> None:
    """Train in processes, `parallel` of them at a time, spread evenly over the GPUs that this process sees.

    Raises ValueError with the last words of one that failed.
    """
    waiting = [run for run in runs if run.overwrite or not finished(run)]
    places = Places(parallel, any(run.device in ("auto", "cuda") for run in waiting))

    def train(run: FitConfig) -> None:
        with places.take() as environment:
            train_one(run, parallel == 1, environment)

    with side_by_side(parallel) as pool:
        list(pool.map(train, waiting))


def finished(run: FitConfig) -> bool:
    """The row's weights and its score are there.

    Raises ValueError when they are those of other settings or sets, or the score is of another number of images.
    """
    files = RunFiles(run.out, run.streams[0])
    if not files.weights.is_file():
        return False
    sets, evaluated = sets_of(run)
    scores = [record["evaluation"] for record in read_log(files.log) if "evaluation" in record]
    if not files.finished(run.identity(sets, run.streams[0])) or not scores:
        return False
    if set(evaluated) != set(scores[-1]):
        names = ", ".join(evaluated) or "nothing"
        raise ValueError(
            f"The run in {run.out} was evaluated on {', '.join(scores[-1])}, not on {names}: "
            "use the same --val, --overwrite to start anew, or another --out."
        )
    for name, images in evaluated.items():
        images = min(run.eval_limit or images, images)
        before = scores[-1][name].get("images", images)  # earlier logs do not say
        if images != before:
            raise ValueError(
                f"The run in {run.out} was evaluated on {before} images of {name}, not on {images}: "
                "use the same --eval-limit, --overwrite to start anew, or another --out."
            )
    return True


def sets_of(run: FitConfig) -> tuple[list[tuple[str, int]], dict[str, int]]:
    """Name and number of images of each set that a run trains on, and {name: number} of those that it evaluates on."""
    sets = [(name_of(spec, "train")[1], len(pairs_of(spec, "train"))) for spec in run.data]
    if run.holdout:
        parts = {name: divided(images, run.holdout, name) for name, images in sets}
        kept = [(name, len(parts[name][0])) for name, _ in sets]
        return kept, {held_name(name): len(held) for name, (_, held) in parts.items()}
    return sets, {name_of(spec, "val")[1]: len(pairs_of(spec, "val")) for spec in validation_specs(run)}


def train_one(run: FitConfig, show: bool, environment: Mapping[str, str]) -> None:
    """One run of `fit` in a process of its own; its words go to `run.txt` there, and with `show` to the screen."""
    run.out.mkdir(parents=True, exist_ok=True)
    print(f"{run.out.name}: training", flush=True)
    threads = {} if show else {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [*LAUNCH, "fit", *to_arguments(run)]
    everything = {**os.environ, **threads, **environment}
    run_child(f"The row {run.out.name!r}", command, run.out / "run.txt", show, everything)
    print(f"{run.out.name}: done", flush=True)


def to_arguments(run: FitConfig) -> Iterator[str]:
    """The command line of a run: what differs from its preset's defaults."""
    start = defaults(run.preset)
    yield from ("--preset", run.preset)
    for field in fields(run):
        value = getattr(run, field.name)
        if value != getattr(start, field.name) and field.name != "preset":
            yield from options(field.name, value)
