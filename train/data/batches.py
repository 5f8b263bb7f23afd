"""Batches for training, made in worker processes, in an order that depends on seed and step alone."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from train.augment import Augmentation
from train.data.dataset import SegmentationData
from train.data.sampling import Sampler
from train.targets import Targets, make_targets


@dataclass
class Batch:
    """pixels: (B, 3, H, W) uint8 RGB, to be made float on the device. targets: of its labels."""

    pixels: Tensor
    targets: Targets

    def to(self, device: torch.device | str) -> Batch:
        """Copy to a device; does not wait when the memory is pinned."""
        return Batch(self.pixels.to(device, non_blocking=True), self.targets.to(device))

    def pin_memory(self) -> Batch:
        """Copy to page-locked memory; DataLoader calls this."""
        return Batch(self.pixels.pin_memory(), self.targets.pin_memory())


class TrainingBatches(Dataset):
    """`self[step]` is the whole batch of a step, whatever was asked for before. Endless: any step will do."""

    def __init__(self, datasets: Sequence[SegmentationData], sampler: Sampler, augmentation: Augmentation, seed: int):
        self.datasets, self.sampler, self.augmentation, self.seed = list(datasets), sampler, augmentation, seed

    def __getitem__(self, step: int) -> Batch:
        pictures, labels, groups = [], [], []
        for slot in range(len(self.sampler.places)):
            rng = np.random.default_rng((self.seed, step, slot))
            choice = self.sampler.choose(step, slot, rng)
            dataset = self.datasets[choice.dataset]
            image, label = self.augmentation(*dataset[choice.index], rng, choice.wanted)
            pictures.append(image)
            labels.append(label)
            groups.append(dataset.groups)
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
        return Batch(pixels, make_targets(np.stack(labels), groups))


def make_loader(batches: TrainingBatches, start: int, stop: int, workers: int, pin: bool) -> DataLoader:
    """Batches of steps start..stop-1, in order. workers: processes; 0 loads in this one."""
    return DataLoader(batches, sampler=range(start, stop), pin_memory=pin, **worker_options(workers))


def worker_options(workers: int) -> dict[str, Any]:
    """Arguments of a DataLoader whose dataset makes whole items: forked workers share the photographs in memory."""
    if workers == 0:
        return {"batch_size": None, "num_workers": 0}
    return {
        "batch_size": None,
        "num_workers": workers,
        "persistent_workers": True,
        "prefetch_factor": 4,
        "worker_init_fn": _start_worker,
        "multiprocessing_context": "fork" if "fork" in multiprocessing.get_all_start_methods() else None,
    }


def _start_worker(worker: int) -> None:
    """One core each; an interrupt is the parent's to handle, which then ends its workers."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
