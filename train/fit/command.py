"""`python -m train fit`: data, model and streams put together."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import tyro

from mfuser import config as config_module
from mfuser import presets
from mfuser.loading import MFuser
from mfuser.weights import files as weight_files
from mfuser.weights import folder as folder_module
from train.data import SegmentationData, has_split, open_dataset
from train.data.augment import Augmentation
from train.data.batches import TrainingBatches
from train.data.holdout import hold_out
from train.data.sampling import Sampler
from train.fit.board import Board
from train.fit.config import FitConfig, defaults
from train.fit.dry_run import rehearse
from train.fit.loop import StreamTrainer
from train.fit.point_sampling import PointSampling
from train.fit.report import write_report
from train.fit.run_files import RunFiles, checkpoint_bytes
from train.metrics.confusion import summary
from train.metrics.scoring import View, evaluate
from train.runtime.distributed import Processes, open_processes
from train.runtime.files import digest, require_space, require_writable
from train.runtime.free_memory import host_memory
from train.runtime.hardware import Hardware, choose_hardware
from train.runtime.interrupt import Interrupt
from train.runtime.weights import (
    ENCODERS,
    copy_encoders,
    find_encoders,
    has_public_encoders,
    load_encoders,
    weights_folder,
)

logger = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = parse_arguments(argv)
    interrupt = Interrupt()
    with nullcontext() if config.dry_run else interrupt:  # a rehearsal has nothing to save: Ctrl-C ends it at once
        finished = fit(config, interrupt)
    if not finished:
        print(f"Stopped and saved; the same command with --resume continues. ({config.out})")
        raise SystemExit(128 + (interrupt.asked or signal.SIGINT))


def parse_arguments(argv: Sequence[str]) -> FitConfig:
    """Arguments over the defaults of the preset that they name."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="nano")
    preset = first.parse_known_args(list(argv))[0].preset
    return tyro.cli(FitConfig, args=list(argv), default=defaults(preset), prog="python -m train fit")


def fit(config: FitConfig, interrupt: Interrupt) -> bool:
    """Train every stream asked for. Returns False when interrupted. Raises ValueError or OSError for bad input."""
    with open_processes(config.device) as processes:
        return fit_here(config, interrupt, processes)


def fit_here(config: FitConfig, interrupt: Interrupt, processes: Processes) -> bool:
    """Train in one of the processes of a run."""
    preset, streams = preset_of(config), config.stream_names
    check_settings(config, preset, processes)
    hardware = choose_hardware(str(processes.device or config.device), config.precision, config.workers)
    say = print if processes.writer else _silent
    source, starts = find_source(config, preset), find_starts(config, preset)
    files = {stream: RunFiles(config.out, stream) for stream in streams}
    if processes.writer:
        require_writable(config.out, keep=False)  # whatever is wrong besides leaves no folder
        for own in () if config.overwrite or config.resume else files.values():
            own.check_free()
        model = empty_model(presets.with_streams(preset, streams))
        own_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
        host_memory().require(own_bytes, f"Preset {preset.name!r} by itself", "choose a smaller --preset")
        needed = disk_needed(config, model, files.values(), own_encoders(config, preset, source))
        free = require_space(config.out, needed)
        if config.dry_run:
            say(f"disk: {config.out} can be written, {needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free")
    processes.wait()
    with processes.writer_first():
        training, validation = open_data(config, say)
    batches = make_batches(config, training, processes)
    if config.dry_run:
        whole = presets.with_streams(preset, streams)
        rehearse(
            config, lambda: start_model(config, whole, source, starts), batches, validation, hardware, processes, say
        )
        return True
    config.out.mkdir(parents=True, exist_ok=True)
    sets = [(d.name, len(d)) for d in training]
    if processes.writer and own_encoders(config, preset, source):
        copy_encoders(source, config.out)

    def evaluation(model: MFuser, stream: str) -> dict[str, Any]:
        return evaluate_all(model, stream, validation, hardware, config.batch, processes)

    for stream in streams:
        identity = config.identity(sets, stream)
        if stream in starts:
            identity["start"] = digest(starts[stream])
        if not config.overwrite and files[stream].finished(identity):
            say(f"{files[stream].weights} is finished: {stream} skipped (--overwrite trains it again)")
            continue
        model = start_model(config, presets.with_streams(preset, [stream]), source, starts)
        model = model.to(hardware.device)
        board = Board(config.out, stream, config.tensorboard) if processes.writer else None
        trainer = StreamTrainer(
            model,
            stream,
            batches,
            config,
            hardware,
            files[stream],
            identity,
            evaluation if validation else None,
            processes,
            board,
        )
        if config.overwrite and processes.writer and stream == streams[0]:  # nothing can be wrong any more
            for every in files.values():
                every.clear()
        start = trainer.resume() if config.resume else 0
        count = sum(p.numel() for p in trainer.parameters.values())
        several = f"{processes.count} processes, " if processes.count > 1 else ""
        say(
            f"{stream}: {count / 1e6:.2f} M parameters, {sum(map(len, training))} images, steps {start} to "
            f"{config.iterations}, {several}{hardware.device} {hardware.precision}, {hardware.workers} workers"
        )
        if board is not None and board.why_not and stream == streams[0]:
            say(f"TensorBoard is {board.why_not}; curves and pictures are in {config.out}.")
        finished = trainer.run(interrupt)
        if board is not None:
            board.close()
        if not finished:
            return False
        say(f"{files[stream].weights} written")
    if processes.writer:
        say(f"{write_report(config.out, streams, config.recipe())} written")
    return True


def _silent(*_: object) -> None:
    """What other processes than the writer say."""


def preset_of(config: FitConfig) -> config_module.Preset:
    """The preset that a run trains, with another fusion when one is asked for."""
    preset = presets.get(config.preset)
    return presets.with_fusion(preset, config.fusion) if config.fusion else preset


def find_source(config: FitConfig, preset: config_module.Preset) -> Path | None:
    """Folder of the frozen encoders: the one named, else that of the weights to start from where it has some, else
    --out or the preset's own. None when they are random or public and no folder is named.

    Raises WeightsError when they are in no folder, or a folder that is named is not there.
    """
    own, start = weights_folder(config.encoders, "--encoders"), weights_folder(config.start, "--start")
    if config.random_encoders or has_public_encoders(preset):
        if own is not None and not own.is_dir():  # else what it lacks would come from the hub unnoticed
            raise weight_files.WeightsError(
                f"There is no folder {own}: name another --encoders, or none to use the hub."
            )
        return own
    folders = [f for f in (own or start, own or config.out, preset.weights) if f is not None]
    return find_encoders(preset, folders[:1] if own else folders)


def find_starts(config: FitConfig, preset: config_module.Preset) -> dict[str, Path]:
    """Files of the weights that the streams start from; empty when they are random.

    Raises WeightsError for one that is missing.
    """
    folder = weights_folder(config.start, "--start")
    starts = {} if folder is None else {s: folder / f"stream-{s}.safetensors" for s in config.stream_names}
    for stream, path in starts.items():
        if not path.is_file():
            raise weight_files.WeightsError(
                f"There is no {path} to start from: name a folder that has it, or leave {stream!r} out of --streams."
            )
    return starts


def start_model(
    config: FitConfig, preset: config_module.Preset, source: Path | None, starts: Mapping[str, Path] | None = None
) -> MFuser:
    """A model before its training; a stream starts from the same weights whichever others are trained."""
    torch.manual_seed(config.seed)
    if config.random_encoders:
        model = MFuser.from_preset(preset, pretrained=False)
    else:
        model = load_encoders(preset, [] if source is None else [source])
    for stream, path in (starts or {}).items():
        if stream in model.heads:
            folder_module.load_stream(model, stream, path)
    return model


def own_encoders(config: FitConfig, preset: config_module.Preset, source: Path | None) -> list[Path]:
    """Files of frozen encoders that --out lacks and that a run copies there, to make it complete."""
    if source is None or has_public_encoders(preset) or config.random_encoders:
        return []
    return [source / name for name in ENCODERS if not (config.out / name).exists()]


def empty_model(preset: config_module.Preset) -> MFuser:
    """A model without memory, to count what its streams would store."""
    with torch.device("meta"):
        return MFuser(preset)


def disk_needed(config: FitConfig, model: MFuser, files: Iterable[RunFiles], copied: Sequence[Path]) -> int:
    """Most bytes that a run adds to --out. copied: files that come there besides; what it replaces counts as room."""
    numbers = [sum(p.numel() for p in model.trainable(stream).values()) for stream in config.stream_names]
    there = (path for own in files for path in (own.weights, own.state) if path.exists())
    needed = checkpoint_bytes(numbers, config.ema > 0, config.half) + sum(path.stat().st_size for path in copied)
    return max(0, needed - sum(path.stat().st_size for path in there))


def check_settings(config: FitConfig, preset: config_module.Preset, processes: Processes) -> None:
    """Raise ValueError for settings that do not fit each other."""
    parts = processes.count * config.accumulate
    if config.batch % parts:
        raise ValueError(
            f"--batch {config.batch} cannot be divided by {processes.count} processes x {config.accumulate} parts: "
            f"choose a multiple of {parts}."
        )
    PointSampling(config.points, kind=config.sampling)
    if preset.exact and config.crop % preset.divisor:
        near = max(preset.divisor, round(config.crop / preset.divisor) * preset.divisor)
        raise ValueError(f"--crop must be a multiple of {preset.divisor} for {preset.name!r}: {near} is.")
    if config.min_lr > config.lr:
        raise ValueError(f"--min-lr {config.min_lr:g} lies above --lr {config.lr:g}: the rate decays to it; lower it.")
    if config.warmup >= max(config.iterations, 2):
        raise ValueError(
            f"--warmup {config.warmup} leaves nothing of --iterations {config.iterations}: warm up for fewer steps."
        )
    if not config.data:
        raise ValueError("No data to train on: pass --data, for example --data camvid:PATH.")
    if config.resume and config.overwrite:
        raise ValueError("--resume and --overwrite contradict each other: pass one of them.")
    if config.start is not None and config.random_encoders:
        raise ValueError(
            "--start and --random-encoders contradict each other: streams go on with the encoders that they know."
        )


def open_data(
    config: FitConfig, say: Callable[[str], None] = print
) -> tuple[list[SegmentationData], list[SegmentationData]]:
    """The sets to train on, and those to evaluate on: what is held out of the former, or else the ones named, or else
    the val split of each root that has one."""

    def opened(spec: str, split: str, limit: int | None = None) -> SegmentationData:
        skip = config.broken == "skip"
        dataset = open_dataset(spec, split, limit=limit, cache_bytes=int(config.cache * 2**30), skip_broken=skip)
        for fault in dataset.faults:
            say(f"left out: {fault}")
        return dataset

    training = [opened(spec, "train") for spec in config.data]
    if config.holdout:
        return hold_out(training, config.holdout, config.eval_limit)
    return training, [opened(spec, "val", config.eval_limit or None) for spec in validation_specs(config)]


def validation_specs(config: FitConfig) -> tuple[str, ...]:
    """The sets to evaluate on: those named, else each set that is trained on and has a split val."""
    return config.val or tuple(spec for spec in config.data if has_split(spec, "val"))


def make_batches(
    config: FitConfig, training: Sequence[SegmentationData], processes: Processes | None = None
) -> TrainingBatches:
    """Sampling and augmentation as configured."""
    augmentation = Augmentation(
        crop=config.crop,
        base=config.base or None,
        scale=config.scale,
        category_cap=config.category_cap,
        flip=config.flip,
        camera=config.camera,
        photometric=config.photometric,
        weather=config.weather,
        conditions=config.conditions,
        apart=config.apart,
    )
    counts = [d.counts for d in training]
    sampler = Sampler(counts, config.batch, config.seed, config.mix or None, config.rare or None)
    share = None if processes is None else processes.share(config.batch)
    return TrainingBatches(training, sampler, augmentation, config.seed, share)


def evaluate_all(
    model: MFuser,
    stream: str,
    sets: Sequence[SegmentationData],
    hardware: Hardware,
    batch: int,
    processes: Processes | None = None,
) -> dict[str, Any]:
    """Scores of one stream on every set, in the set's own space, by the set's name."""
    report = {}
    for dataset in sets:
        space = dataset.kind.space
        matrices = evaluate(model, (stream,), dataset, space, hardware, View(batch), processes)
        report[dataset.name] = {"space": space, "images": len(dataset), **summary(matrices)[stream]}
    return report
