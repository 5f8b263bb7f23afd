"""Batches for training, made in worker processes, in an order that depends on seed and step alone."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mfuser.config import encoders_of
from train.data.augment import Augmentation
from train.data.sampling import Sampler
from train.data.segmentation_data import SegmentationData
from train.data.targets import Targets, make_targets


@dataclass
class Batch:
    """pixels: (B, 3, H, W) uint8 RGB, to be made float on the device, or (B, 2, 3, H, W), a view for each encoder.
    targets: of its labels."""

    pixels: Tensor
    targets: Targets
    faults: tuple[str, ...] = ()  # files that could not be read and were replaced by others

    def parts(self, count: int) -> list[Batch]:
        """Equal parts, for gradients that are accumulated."""
        size = len(self.pixels) // count
        bounds = [(i * size, (i + 1) * size) for i in range(count)]
        return [Batch(self.pixels[a:b], self.targets.part(a, b)) for a, b in bounds] if count > 1 else [self]

    def to(self, device: torch.device | str) -> Batch:
        """Copy to a device; does not wait when the memory is pinned."""
        return Batch(self.pixels.to(device, non_blocking=True), self.targets.to(device), self.faults)

    def pin_memory(self) -> Batch:
        """Copy to page-locked memory; DataLoader calls this."""
        return Batch(self.pixels.pin_memory(), self.targets.pin_memory(), self.faults)


ATTEMPTS = 8  # samples drawn for one place before a run of unreadable files ends the training


class TrainingBatches(Dataset):
    """`self[step]` is the whole batch of a step, whatever was asked for before. Endless: any step will do.

    share: the places of the batch that are this process's; each sample's random draws depend on seed, step and place
    alone, so that the samples are the same however many processes and workers make them.
    """

    def __init__(
        self,
        datasets: Sequence[SegmentationData],
        sampler: Sampler,
        augmentation: Augmentation,
        seed: int,
        share: Sequence[int] | None = None,
    ):
        self.datasets, self.sampler, self.augmentation, self.seed = list(datasets), sampler, augmentation, seed
        self.share = range(len(sampler.places)) if share is None else share

    def of(self, stream: str) -> TrainingBatches:
        """The same samples as a stream is shown them: in two views only where it has two encoders."""
        if len(tuple(encoders_of(stream))) > 1 or not self.augmentation.apart:
            return self
        augmentation = replace(self.augmentation, apart=0.0)
        return TrainingBatches(self.datasets, self.sampler, augmentation, self.seed, self.share)

    def __getitem__(self, step: int) -> Batch:
        pictures, labels, groups, faults = [], [], [], []
        for slot in self.share:
            image, label, dataset = self._sample(step, slot, faults)
            pictures.append(image)
            labels.append(label)
            groups.append(dataset.groups)
        pixels = torch.from_numpy(np.moveaxis(np.stack(pictures), -1, -3)).contiguous()
        return Batch(pixels, make_targets(np.stack(labels), groups), tuple(faults))

    def _sample(self, step: int, slot: int, faults: list[str]) -> tuple[np.ndarray, np.ndarray, SegmentationData]:
        """One augmented sample. A file that has become unreadable is named in `faults`, and another one drawn.

        Raises ValueError when several in a row cannot be read.
        """
        fault = ""
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng((self.seed, step, slot, attempt) if attempt else (self.seed, step, slot))
            choice = self.sampler.choose(step + attempt * FAR, slot, rng)
            dataset = self.datasets[choice.dataset]
            try:
                pair = dataset[choice.index]
            except (ValueError, OSError) as error:
                fault = str(error)
                faults.append(fault)
                continue
            return *self.augmentation(*pair, rng, choice.group), dataset
        raise ValueError(f"{ATTEMPTS} files in a row cannot be read; the last: {fault}")


FAR = 7919  # steps further on in the order of images, where a replacement is taken from


def make_loader(batches: TrainingBatches, start: int, stop: int, workers: int, pin: bool) -> DataLoader:
    """Batches of steps start..stop-1, in order. workers: processes; 0 loads in this one."""
    return DataLoader(batches, sampler=range(start, stop), pin_memory=pin, **worker_options(workers))


def items_of(loader: DataLoader) -> Iterator[Any]:
    """Iterate over a loader, and end its workers, which outlive signals, in any case.

    Args:
        loader: of whole items.

    Returns:
        What it gives. The workers end when it is through, when one of them fails, and when the caller stops before.
    """
    items = iter(loader)
    try:
        yield from items
    finally:
        getattr(items, "_shutdown_workers", lambda: None)()


def worker_options(workers: int) -> dict[str, Any]:
    """Arguments of a DataLoader whose dataset makes whole items: forked workers share the photographs in memory."""
    if workers == 0:
        return {"batch_size": None, "num_workers": 0}
    return {
        "batch_size": None,
        "num_workers": workers,
        "prefetch_factor": 4,
        "worker_init_fn": _start_worker,
        "multiprocessing_context": "fork" if "fork" in multiprocessing.get_all_start_methods() else None,
    }


def _start_worker(worker: int) -> None:
    """One core each. Ctrl-C and job schedulers signal all processes at once: that is the parent's to handle, which
    saves and then ends its workers; they end by themselves when it is gone."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
