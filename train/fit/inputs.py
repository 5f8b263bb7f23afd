"""What a run reads: sets to train and to evaluate on, and batches of augmented samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from train.data import SegmentationData, has_split, open_dataset
from train.data.augment import Augmentation
from train.data.batches import TrainingBatches
from train.data.holdout import hold_out
from train.data.sampling import Sampler
from train.fit.config import FitConfig
from train.runtime.distributed import Processes


def open_data(
    config: FitConfig, say: Callable[[str], None] = print
) -> tuple[list[SegmentationData], list[SegmentationData]]:
    """Find and check the sets of a run.

    Args:
        config: settings of the run.
        say: prints a line for each pair that `--broken skip` leaves out.

    Returns:
        The sets to train on, and those to evaluate on: what `--holdout` takes from the former, else the sets of
        `validation_specs`.

    Raises:
        ValueError: a set is not there, or a file of it cannot be used; the message names it.
    """

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
    """The sets to evaluate on, as `--val` names them; without it, each set of `--data` that has a val split."""
    return config.val or tuple(spec for spec in config.data if has_split(spec, "val"))


def make_batches(
    config: FitConfig, training: Sequence[SegmentationData], processes: Processes | None = None
) -> TrainingBatches:
    """Combine sampling and augmentation as the settings say.

    Args:
        config: settings of the run.
        training: the sets to train on.
        processes: those of the run; each one makes its share of every batch. None stands for a single one.

    Returns:
        Batches by step: `batches[0]`, `batches[1]`, ...

    Raises:
        ValueError: a setting of the augmentation or of `--mix` is impossible.
    """
    augmentation = Augmentation(
        crop=config.crop,
        base=config.base or None,
        scale=config.scale,
        camera=config.camera,
        weather=config.weather,
        conditions=config.conditions,
        apart=config.apart,
    )
    counts = [d.counts for d in training]
    sampler = Sampler(counts, config.batch, config.seed, config.mix or None, config.rare or None)
    share = None if processes is None else processes.share(config.batch)
    return TrainingBatches(training, sampler, augmentation, config.seed, share)
