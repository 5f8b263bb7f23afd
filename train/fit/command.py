"""`python -m train fit`: trains the streams of a preset one after the other."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import tyro

from mfuser.loading import MFuser
from train.data import SegmentationData
from train.data.batches import TrainingBatches
from train.fit.board import Board
from train.fit.checks import check_machine, check_settings
from train.fit.config import FitConfig, defaults
from train.fit.dry_run import try_run
from train.fit.inputs import make_batches, open_data
from train.fit.loop import StreamTrainer
from train.fit.report import write_report
from train.fit.run_files import RunFiles
from train.fit.starting_weights import StartingWeights
from train.metrics.confusion import summary
from train.metrics.scoring import View, evaluate
from train.runtime.distributed import Processes, open_processes
from train.runtime.files import digest
from train.runtime.hardware import Hardware, choose_hardware
from train.runtime.interrupt import Interrupt
from train.runtime.weights import copy_encoders


def main(argv: Sequence[str]) -> None:
    """Run the command.

    Args:
        argv: words of the command line after `fit`.

    Raises:
        ValueError, OSError: bad input, in one sentence.
        SystemExit: the run was interrupted and saved; 128 + the number of the signal.
    """
    config = parse_arguments(argv)
    interrupt = Interrupt()
    with nullcontext() if config.dry_run else interrupt:  # a dry run has nothing to save: Ctrl-C ends it at once
        finished = fit(config, interrupt)
    if not finished:
        print(f"Stopped and saved; the same command with --resume continues. ({config.out})")
        raise SystemExit(128 + (interrupt.asked or signal.SIGINT))


def parse_arguments(argv: Sequence[str]) -> FitConfig:
    """Read a command line over the defaults of the preset that it names."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="nano")
    preset = first.parse_known_args(list(argv))[0].preset
    return tyro.cli(FitConfig, args=list(argv), default=defaults(preset), prog="python -m train fit")


def fit(config: FitConfig, interrupt: Interrupt) -> bool:
    """Train every stream asked for, or only try it with `dry_run`.

    Args:
        config: settings of the run.
        interrupt: asked between steps whether to stop.

    Returns:
        False when the run was interrupted; what it has learned is saved.

    Raises:
        ValueError, OSError: bad input, in one sentence.
    """
    with open_processes(config.device) as processes:
        say = print if processes.writer else lambda *_: None
        check_settings(config, processes.count)
        hardware = choose_hardware(str(processes.device or config.device), config.precision, config.workers)
        start = StartingWeights.find(config)
        files = {stream: RunFiles(config.out, stream) for stream in config.stream_names}
        if processes.writer:
            check_machine(start, files.values(), say)
        processes.wait()
        with processes.writer_first():
            training, validation = open_data(config, say)
        batches = make_batches(config, training, processes)
        if config.dry_run:
            try_run(start, batches, validation, hardware, processes, say)
            return True
        return train_streams(start, files, batches, validation, hardware, processes, interrupt, say)


def train_streams(
    start: StartingWeights,
    files: Mapping[str, RunFiles],
    batches: TrainingBatches,
    validation: Sequence[SegmentationData],
    hardware: Hardware,
    processes: Processes,
    interrupt: Interrupt,
    say: Callable[[str], None],
) -> bool:
    """Train the streams in this process of a run, and write the report.

    Args:
        start: where the weights come from.
        files: of each stream, in the order in which they are trained.
        batches: of the whole batch, this process's share.
        validation: sets to evaluate on; none for no evaluation.
        hardware: device, precision and loading processes.
        processes: all training processes of the run.
        interrupt: asked between steps whether to stop.
        say: prints a line, in the writing process only.

    Returns:
        False when interrupted.

    Raises:
        ValueError: a stream diverged, or --out holds another run.
    """
    config = start.config
    config.out.mkdir(parents=True, exist_ok=True)
    if processes.writer and start.copied():
        copy_encoders(start.encoders, config.out)

    def evaluation(model: MFuser, stream: str) -> dict[str, Any]:
        return evaluate_all(model, stream, validation, hardware, config.batch, processes)

    to_clear = list(files.values()) if config.overwrite and processes.writer else []
    for stream, own in files.items():
        identity = config.identity([(d.name, len(d)) for d in batches.datasets], stream)
        if stream in start.streams:
            identity["start"] = digest(start.streams[stream])
        if not config.overwrite and own.finished(identity):
            say(f"{own.weights} is finished: {stream} skipped (--overwrite trains it again)")
            continue
        board = Board(config.out, stream, config.tensorboard) if processes.writer else None
        trainer = StreamTrainer(
            start.model([stream]).to(hardware.device),
            stream,
            batches,
            config,
            hardware,
            own,
            identity,
            evaluation if validation else None,
            processes,
            board,
        )
        while to_clear:  # only now: nothing can be wrong any more
            to_clear.pop().clear()
        done = trainer.resume() if config.resume else 0
        count = sum(p.numel() for p in trainer.parameters.values())
        several = f"{processes.count} processes, " if processes.count > 1 else ""
        say(
            f"{stream}: {count / 1e6:.2f} M parameters, {sum(map(len, batches.datasets))} images, steps {done} to "
            f"{config.iterations}, {several}{hardware.device} {hardware.precision}, {hardware.workers} workers"
        )
        if board is not None and board.why_not and own is next(iter(files.values())):
            say(f"TensorBoard is {board.why_not}; curves and pictures are in {config.out}.")
        finished = trainer.run(interrupt)
        if board is not None:
            board.close()
        if not finished:
            return False
        say(f"{own.weights} written")
    if processes.writer:
        say(f"{write_report(config.out, list(files), config.recipe())} written")
    return True


def evaluate_all(
    model: MFuser,
    stream: str,
    sets: Sequence[SegmentationData],
    hardware: Hardware,
    batch: int,
    processes: Processes | None = None,
) -> dict[str, Any]:
    """Score one stream on several sets.

    Args:
        model: left in evaluation mode.
        stream: "fused", "vfm" or "vlm".
        sets: labelled photographs; each is scored in its own classes or groups.
        hardware: device, precision and loading processes.
        batch: images of a forward pass.
        processes: each scores its share.

    Returns:
        {name of the set: {"space", "images", "miou" and "accuracy" in per cent, "iou" by class}}.
    """
    report = {}
    for dataset in sets:
        space = dataset.kind.space
        matrices = evaluate(model, (stream,), dataset, space, hardware, View(batch), processes)
        report[dataset.name] = {"space": space, "images": len(dataset), **summary(matrices)[stream]}
    return report
