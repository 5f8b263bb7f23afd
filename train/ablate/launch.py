"""Runs of `fit` in processes of their own, several at a time, over all GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from train.ablate.table import records
from train.data.dataset import name_of, pairs_of
from train.data.holdout import divided, held_name
from train.fit.config import FitConfig, defaults
from train.fit.inputs import validation_specs
from train.fit.run_files import RunFiles
from train.runtime.subprocesses import LAUNCH, Subprocesses, options


def train_all(runs: Sequence[FitConfig], parallel: int) -> None:
    """Train the runs that are not finished, `parallel` of them at the same time, spread over the GPUs.

    Raises ValueError with the last line of the output of one that failed, or for one that is finished otherwise.
    """
    waiting = [run for run in runs if run.overwrite or not finished(run)]
    threads = {} if parallel == 1 else {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    with Subprocesses(parallel, any(run.device in ("auto", "cuda") for run in waiting)) as processes:
        list(processes.map(lambda run: train_one(run, processes, threads), waiting))


def train_one(run: FitConfig, processes: Subprocesses, environment: Mapping[str, str]) -> None:
    """One run of `fit` in a process of its own; its output goes to `run.txt` there."""
    run.out.mkdir(parents=True, exist_ok=True)
    print(f"{run.out.name}: training", flush=True)
    processes.run(f"The row {run.out.name!r}", [*LAUNCH, "fit", *to_arguments(run)], run.out / "run.txt", environment)
    print(f"{run.out.name}: done", flush=True)


def finished(run: FitConfig) -> bool:
    """Its weights and its scores are there.

    Raises ValueError when they are those of other settings or sets, or the scores are of another number of images.
    """
    files = RunFiles(run.out, run.streams[0])
    scores = [record["evaluation"] for record in records(run, "evaluation")]
    sets, asked = sets_of(run)
    if not files.finished(run.identity(sets, run.streams[0])) or not scores:
        return False
    found = {name: score.get("images", asked.get(name)) for name, score in scores[-1].items()}  # old logs have no count
    if found != asked:
        before, now = (", ".join(f"{n} images of {name}" for name, n in one.items()) for one in (found, asked))
        raise ValueError(
            f"The run in {run.out} was evaluated on {before}, not on {now or 'nothing'}: use the same --val and "
            "--eval-limit, --overwrite to start anew, or another --out."
        )
    return True


def sets_of(run: FitConfig) -> tuple[list[tuple[str, int]], dict[str, int]]:
    """(name, number of images) of each set that a run trains on, and {name: number} of those that it evaluates on."""
    sets = [(name_of(spec, "train")[1], len(pairs_of(spec, "train"))) for spec in run.data]
    if run.holdout:
        parts = {name: divided(images, run.holdout, name) for name, images in sets}
        sets = [(name, len(kept)) for name, (kept, _) in parts.items()]
        asked = {held_name(name): len(held) for name, (_, held) in parts.items()}
    else:
        asked = {name_of(spec, "val")[1]: len(pairs_of(spec, "val")) for spec in validation_specs(run)}
    return sets, {name: min(run.eval_limit or images, images) for name, images in asked.items()}


def to_arguments(run: FitConfig) -> Iterator[str]:
    """The command line of a run: what differs from its preset's defaults."""
    start = defaults(run.preset)
    yield from ("--preset", run.preset)
    for field in fields(run):
        value = getattr(run, field.name)
        if value != getattr(start, field.name) and field.name != "preset":
            yield from options(field.name, value)
