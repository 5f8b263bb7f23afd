"""`python -m train fit`: data, model and streams put together."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import tyro

from mfuser import presets
from mfuser.model import MFuser
from train.augment import Augmentation
from train.config import FitConfig, Hardware, choose_hardware, defaults
from train.data import SegmentationData, open_dataset
from train.data.batches import TrainingBatches
from train.data.registry import parse
from train.data.sampling import Sampler
from train.evaluate import evaluate, summary
from train.interrupt import Interrupt
from train.loop import StreamTrainer
from train.points import PointSampling
from train.state import RunFiles, require_writable
from train.weights import copy_encoders, find_encoders, load_encoders

logger = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = parse_arguments(argv)
    with Interrupt() as interrupt:
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
    preset, streams = presets.get(config.preset), config.stream_names
    check_settings(config, preset)
    hardware = choose_hardware(config.device, config.precision, config.workers)
    require_writable(config.out)
    files = {stream: RunFiles(config.out, stream) for stream in streams}
    for own in files.values():
        if config.overwrite:
            own.clear()
        elif not config.resume:
            own.check_free()
    folders = [f for f in (config.encoders or config.out, preset.weights) if f is not None]
    source = find_encoders(preset, folders[:1] if config.encoders else folders)
    training, validation = open_data(config)
    batches = make_batches(config, training)
    identity = {**config.recipe(), "sets": [f"{d.name} ({len(d)} images)" for d in training]}
    if source.resolve() != config.out.resolve():
        copy_encoders(source, config.out)

    def evaluation(model: MFuser, stream: str) -> dict[str, Any]:
        return evaluate_all(model, stream, validation, hardware, config.batch)

    for stream in streams:
        if files[stream].finished(config.iterations):
            print(f"{files[stream].weights} is finished: {stream} skipped (--overwrite trains it again)")
            continue
        torch.manual_seed(config.seed)  # a stream starts from the same weights whichever others are trained
        model = load_encoders(preset, [source]).to(hardware.device)
        trainer = StreamTrainer(
            model, stream, batches, config, hardware, files[stream], identity, evaluation if validation else None
        )
        start = trainer.resume() if config.resume else 0
        count = sum(p.numel() for p in trainer.parameters.values())
        print(
            f"{stream}: {count / 1e6:.2f} M parameters, {sum(map(len, training))} images, steps {start} to "
            f"{config.iterations}, {hardware.device} {hardware.precision}, {hardware.workers} workers"
        )
        if not trainer.run(interrupt):
            return False
        print(f"{files[stream].weights} written")
    return True


def check_settings(config: FitConfig, preset: presets.Preset) -> None:
    """Raise ValueError for settings that do not fit each other."""
    PointSampling(config.points, kind=config.sampling)
    if preset.exact and config.crop % preset.divisor:
        near = max(preset.divisor, round(config.crop / preset.divisor) * preset.divisor)
        raise ValueError(f"--crop must be a multiple of {preset.divisor} for {preset.name!r}: {near} is.")
    if not config.data:
        raise ValueError("No data to train on: pass --data, for example --data camvid:PATH.")
    if config.resume and config.overwrite:
        raise ValueError("--resume and --overwrite contradict each other: pass one of them.")


def open_data(config: FitConfig) -> tuple[list[SegmentationData], list[SegmentationData]]:
    """The sets to train on, and those to evaluate on: the ones named, else the val split of each root that has one."""
    training = [open_dataset(spec, "train") for spec in config.data]
    named = config.val
    if not named:
        named = tuple(spec for spec in config.data if has_split(spec, "val"))
    return training, [open_dataset(spec, "val", limit=config.eval_limit or None) for spec in named]


def has_split(spec: str, split: str) -> bool:
    """True when a root is no split itself and holds this one."""
    root: Path = parse(spec)[1]
    return not (root / "images").is_dir() and (root / split / "images").is_dir()


def make_batches(config: FitConfig, training: Sequence[SegmentationData]) -> TrainingBatches:
    """Sampling and augmentation as configured."""
    augmentation = Augmentation(
        crop=config.crop,
        base=config.base or None,
        scale=config.scale,
        weather=config.weather,
        conditions=config.conditions,
    )
    counts = [d.counts for d in training]
    sampler = Sampler(counts, config.batch, config.seed, config.mix or None, config.rare or None)
    return TrainingBatches(training, sampler, augmentation, config.seed)


def evaluate_all(
    model: MFuser, stream: str, sets: Sequence[SegmentationData], hardware: Hardware, batch: int
) -> dict[str, Any]:
    """Scores of one stream on every set, in the set's own space, by the set's name."""
    report = {}
    for dataset in sets:
        space = dataset.kind.space
        matrices = evaluate(model, (stream,), dataset, space, hardware, batch)
        report[dataset.name] = {"space": space, **summary(matrices)[stream]}
    return report
