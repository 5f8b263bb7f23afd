"""`python -m train fit`: trains the streams of a preset one after the other."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from contextlib import nullcontext

import tyro

from train.fit.board import Board
from train.fit.checks import check_machine, check_settings
from train.fit.config import FitConfig, defaults
from train.fit.dry_run import try_run
from train.fit.inputs import make_batches, open_data
from train.fit.loop import StreamTrainer
from train.fit.report import write_report
from train.fit.run import Run
from train.fit.run_files import RunFiles
from train.fit.starting_weights import StartingWeights
from train.runtime.distributed import open_processes
from train.runtime.files import digest
from train.runtime.hardware import choose_hardware
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
        check_settings(config, processes.count)
        hardware = choose_hardware(str(processes.device or config.device), config.precision, config.workers)
        start = StartingWeights.find(config)
        say = print if processes.writer else lambda *_: None
        if processes.writer:
            check_machine(start, say)
        processes.wait()
        with processes.writer_first():
            training, validation = open_data(config, say)
        batches = make_batches(config, training, processes)
        run = Run(config, start, batches, validation, hardware, processes)
        if config.dry_run:
            try_run(run)
            return True
        return train_streams(run, interrupt)


def train_streams(run: Run, interrupt: Interrupt) -> bool:
    """Train the streams in this process of a run, and write the report.

    Args:
        run: all that the streams share.
        interrupt: asked between steps whether to stop.

    Returns:
        False when interrupted.

    Raises:
        ValueError: a stream diverged, or --out holds another run.
    """
    config, start, writer = run.config, run.start, run.processes.writer
    config.out.mkdir(parents=True, exist_ok=True)
    if writer and start.copied():
        copy_encoders(start.encoders, config.out)
    files = {stream: RunFiles(config.out, stream) for stream in config.stream_names}
    to_clear = list(files.values()) if config.overwrite and writer else []
    for stream, own in files.items():
        identity = config.identity([(d.name, len(d)) for d in run.batches.datasets], stream)
        if stream in start.streams:
            identity["start"] = digest(start.streams[stream])
        if not config.overwrite and own.finished(identity):
            run.say(f"{own.weights} is finished: {stream} skipped (--overwrite trains it again)")
            continue
        model = start.model([stream]).to(run.hardware.device)
        board = Board(config.out, stream, config.tensorboard) if writer else None
        evaluation = run.evaluate if run.validation else None
        trainer = StreamTrainer(
            model, stream, run.batches, config, run.hardware, own, identity, evaluation, run.processes, board
        )
        while to_clear:  # only now: nothing can be wrong any more
            to_clear.pop().clear()
        announce(run, trainer, trainer.resume() if config.resume else 0)
        finished = trainer.run(interrupt)
        if board is not None:
            board.close()
        if not finished:
            return False
        run.say(f"{own.weights} written")
    if writer:
        run.say(f"{write_report(config.out, list(files), config.recipe())} written")
    return True


def announce(run: Run, trainer: StreamTrainer, done: int) -> None:
    """Say what a stream is trained on and with; done: the steps that an earlier run has taken."""
    count, config, hardware = sum(p.numel() for p in trainer.parameters.values()), run.config, run.hardware
    several = f"{run.processes.count} processes, " if run.processes.count > 1 else ""
    run.say(
        f"{trainer.stream}: {count / 1e6:.2f} M parameters, {sum(map(len, run.batches.datasets))} images, steps {done} "
        f"to {config.iterations}, {several}{hardware.device} {hardware.precision}, {hardware.workers} workers"
    )
    if trainer.board is not None and trainer.board.why_not and trainer.stream == config.stream_names[0]:
        run.say(f"TensorBoard is {trainer.board.why_not}; curves and pictures are in {config.out}.")
