"""Labelled images as an evaluation feeds them to a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mfuser import config, images, weather
from mfuser.inference.windows import network_size
from train.data import SegmentationData
from train.data.batches import items_of

Item = tuple[int, Tensor, Tensor]  # index, image (3, h, w) uint8 at working size, label (H, W) uint8 at full size


@dataclass(frozen=True)
class View:
    """How a model sees the images of a set."""

    batch: int = 4  # images per forward pass
    condition: str = ""  # weather rendered first; "" for none
    severity: int = 3  # of the weather, 1 to 5
    resolution: int = 0  # short side in pixels; 0 for the preset's
    windows: Literal["single", "sliding"] = "single"  # whole images, or the paper's windows of 512 pixels


class EvaluationItems(Dataset):
    """Items of a set; an image that cannot be read is (index, the reason, None).

    Args:
        dataset: labelled photographs.
        preset: of the model, for the working size.
        condition, severity, resolution, windows: as in `View`. The weather is seeded by the index.
        indices: which images of the set; None for all.

    Raises:
        ValueError: the weather is unknown, or the resolution impossible.
    """

    def __init__(
        self,
        dataset: SegmentationData,
        preset: config.Preset,
        condition: str,
        severity: int,
        resolution: int,
        indices: Sequence[int] | None = None,
        windows: str = "single",
    ):
        self.dataset, self.preset, self.resolution = dataset, preset, resolution or None
        self.condition, self.severity, self.windows = condition, severity, windows
        self.indices = range(len(dataset)) if indices is None else indices
        if condition:  # both calls raise at once
            weather.apply(np.zeros((32, 32, 3), np.uint8), condition, severity)
        network_size((preset.divisor,) * 2, preset, windows, self.resolution)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Item | tuple[int, str, None]:
        index = self.indices[place]
        try:
            picture, label = self.dataset[index]
        except (ValueError, OSError) as error:  # one bad file is no reason to lose the rest
            return index, str(error), None
        if self.condition:
            picture = weather.apply(picture, self.condition, self.severity, seed=index)
        size = network_size(picture.shape[:2], self.preset, self.windows, self.resolution)
        resized = images.resize(picture, *size)
        return index, torch.from_numpy(resized).permute(2, 0, 1), torch.from_numpy(label.copy())


def readable(loader: DataLoader, faults: list[str]) -> Iterator[Item]:
    """Items that could be read; what is wrong with the others is appended to `faults`."""
    for index, picture, label in items_of(loader):
        if label is None:
            faults.append(picture)
        else:
            yield index, picture, label


def same_size_batches(items: Iterator[Item], batch: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Stack neighbours of equal size.

    Args:
        items: in any order.
        batch: how many at most.

    Returns:
        (indices, images (B, 3, h, w) uint8, labels (B, H, W) uint8) of each batch.
    """
    for _, run in groupby(items, key=lambda item: (item[1].shape, item[2].shape)):
        while held := list(islice(run, batch)):
            indices, pictures, labels = zip(*held, strict=True)
            yield list(indices), torch.stack(pictures), torch.stack(labels)
