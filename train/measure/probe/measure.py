"""Two passes over photographs: features of the training set for the probes, then their scores on the other set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from mfuser.config import Preset
from mfuser.inference.masks import upsampled_argmax
from train.data import SegmentationData
from train.data.batches import worker_options
from train.measure.probe.boundary import BoundaryIoU
from train.measure.probe.features import BOTH, PAIR, Seen, row_of
from train.measure.probe.linear import Probe, fit, patch_shares
from train.measure.probe.retrieval import Regions
from train.measure.probe.similarity import Likeness
from train.metrics.confusion import ConfusionMatrix
from train.metrics.scoring import EvaluationItems, readable, same_size_batches
from train.runtime.free_memory import host_memory
from train.runtime.hardware import Hardware


class Source(Protocol):
    """`features.Encoders`, `features.ImageNetTrunk`."""

    rows: tuple[str, ...]

    def look(self, pixels: Tensor, closely: bool = False) -> Seen: ...


@dataclass(frozen=True)
class View:
    """How the photographs of both passes are read.

    soften: those that score are shrunk to this share and enlarged again; 0 leaves them as they are.
    """

    preset: Preset
    hardware: Hardware
    batch: int = 4
    soften: float = 0.0


@dataclass(frozen=True)
class Names:
    """What the probes' groups are called, and which groups of the scored set they are.

    table: (256,) uint8, from groups of the set that taught to those of the set that scores. taught, scored: unit
    embeddings (G, C_t) of the groups' names of either set; None where there is no text space.
    """

    table: np.ndarray
    taught: Tensor | None = None
    scored: Tensor | None = None


@dataclass
class Patches:
    """Labelled patches of a set: shares (n, G) float32 and, by row, features (n, C) float16, one entry a photograph."""

    shares: list[Tensor] = field(default_factory=list)
    rows: dict[str, list[Tensor]] = field(default_factory=dict)

    def matrix(self, row: str) -> Tensor:
        """Features of a row, (N, C) float32; of "vfm + vlm" those of both side by side."""
        parts = [self.rows[name] for name in (PAIR if row == BOTH else (row,))]
        filled = torch.empty(sum(map(len, self.shares)), sum(part[0].shape[1] for part in parts))
        place = 0
        for pieces in zip(*parts, strict=True):
            count = len(pieces[0])
            filled[place : place + count] = torch.cat(pieces, dim=1)
            place += count
        return filled


def photographs(
    dataset: SegmentationData, view: View, doing: str
) -> Iterator[tuple[Tensor, Sequence[int], np.ndarray]]:
    """Batches of equal size: pixels (B, 3, h, w) float on the device, indices, labels (B, H, W) uint8.

    Raises ValueError for a file that cannot be read: a probe that saw less could not be compared with others.
    """
    items = EvaluationItems(dataset, view.preset, "", 0, 0)
    loader = DataLoader(items, **worker_options(min(view.hardware.workers, len(dataset), 8)))
    faults: list[str] = []
    with tqdm(total=len(dataset), desc=f"{doing} {dataset.name}", leave=False, unit="img", mininterval=1) as progress:
        for indices, pixels, labels in same_size_batches(readable(loader, faults), view.batch):
            if faults:
                break
            yield pixels.to(view.hardware.device).float(), indices, labels.numpy()
            progress.update(len(indices))
    if faults:
        raise ValueError(faults[0])


def gather(source: Source, dataset: SegmentationData, view: View) -> Patches:
    """Features of all labelled patches. Raises ValueError when they need more memory than there is."""
    kept = Patches()
    rows = [row for row in source.rows if row != BOTH]
    for pixels, indices, labels in photographs(dataset, view, "read"):
        seen = source.look(pixels)
        for place in range(len(indices)):
            shares = patch_shares(labels[place], seen.grid, len(dataset.groups)).flatten(0, 1)
            labelled = shares.sum(1) > 0
            kept.shares.append(shares[labelled])
            for row in rows:
                features = seen.rows[row][place].flatten(0, 1).cpu()[labelled]
                kept.rows.setdefault(row, []).append(features.half())
        if len(kept.shares) == len(indices):
            require_memory(kept, len(dataset))
    return kept


def require_memory(first: Patches, count: int) -> None:
    """Raise ValueError when `count` photographs like the first ones, and float32 of the widest row, do not fit."""
    widths = {row: pieces[0].shape[1] for row, pieces in first.rows.items()}
    widest = max([*widths.values(), sum(widths.get(name, 0) for name in PAIR)])
    patches = count * sum(map(len, first.shares)) // len(first.shares)
    needed = patches * (2 * sum(widths.values()) + 4 * widest + 4 * first.shares[0].shape[1])
    host_memory().require(needed, f"Features of {count} photographs ({patches} patches)", "lower --limit")


def train(patches: Patches, rows: Sequence[str], hardware: Hardware) -> dict[str, Probe]:
    """A probe of every row."""
    shares = torch.cat(patches.shares).to(hardware.device)
    progress = tqdm(rows, desc="fit", leave=False, unit="probe")
    return {row: fit(patches.matrix(row).to(hardware.device), shares) for row in progress}


def score(
    source: Source,
    probes: Mapping[str, Probe],
    names: Names,
    dataset: SegmentationData,
    view: View,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """What is reported of a source: {"rows": scores by row, "cka": {what is compared: one value a place}, "samples":
    of patches for CKA}, scores in 0..1.

    A row with a text space has "zero-shot" too, the mIoU when each pixel gets the name nearest to it, without a probe.
    samples: patches of the whole set for CKA, the same ones whatever the source.
    """
    groups = dataset.groups
    matrices = {row: ConfusionMatrix(groups.names) for row in source.rows}
    zero_shot: dict[str, ConfusionMatrix] = {}
    contours = {row: BoundaryIoU(len(groups)) for row in source.rows}
    regions: dict[str, Regions] = {}
    compared: dict[str, Likeness] = {}
    for pixels, indices, labels in photographs(dataset, view, "score"):
        seen = source.look(softened(pixels, view.soften), closely=True)
        for row in source.rows:
            for guess, truth in guesses(probes[row](row_of(seen, row)), labels, names.table):
                matrices[row].update(truth, guess)
                contours[row].update(truth, guess)
        for row, embeddings in seen.texts.items():
            cosines = embeddings @ names.taught.to(embeddings.device).T
            for guess, truth in guesses(cosines, labels, names.table):
                zero_shot.setdefault(row, ConfusionMatrix(groups.names)).update(truth, guess)
        for place, index in enumerate(indices):
            shares = patch_shares(labels[place], seen.grid, len(groups))
            for row, embeddings in seen.texts.items():
                regions.setdefault(row, Regions(names.scored, groups.diverse)).update(embeddings[place], shares)
            chosen = sample(seen.grid[0] * seen.grid[1], -(-samples // len(dataset)), (seed, index))
            for name, sides in seen.compared.items():
                compared.setdefault(name, Likeness()).update(*([t[place][chosen] for t in side] for side in sides))
    found = {row: scores_of(matrices[row], contours[row], groups.names) for row in source.rows}
    for row, kept in regions.items():
        found[row] |= {"retrieval": kept.scores(), "zero-shot": zero_shot[row].mean_iou()}
    patches = max(map(len, compared.values()), default=0)
    return {"rows": found, "cka": {name: kept.values() for name, kept in compared.items()}, "samples": patches}


def guesses(scores: Tensor, labels: np.ndarray, table: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(guess, truth) of each picture, (H, W) uint8: the best of scores (B, h, w, G), enlarged, in scored groups."""
    best = upsampled_argmax(scores.permute(0, 3, 1, 2), labels.shape[1:]).cpu().numpy()
    return zip(table[best], labels, strict=True)


def softened(pixels: Tensor, share: float) -> Tensor:
    """Pictures (B, 3, h, w) shrunk to a share of their sides and enlarged again; 0 leaves them."""
    if not share:
        return pixels
    size = pixels.shape[-2:]
    small = F.interpolate(pixels, size=[max(1, round(side * share)) for side in size], mode="area")
    return F.interpolate(small, size=size, mode="bilinear", align_corners=False)


def sample(count: int, most: int, seed: tuple[int, int]) -> Tensor:
    """Indices of at most so many of `count` patches."""
    return torch.from_numpy(np.random.default_rng(seed).permutation(count)[:most])


def scores_of(matrix: ConfusionMatrix, contours: BoundaryIoU, names: Sequence[str]) -> dict[str, Any]:
    """What is written about one row."""

    def by_group(values: np.ndarray) -> dict[str, float | None]:
        return {name: None if np.isnan(v) else float(v) for name, v in zip(names, values, strict=True)}

    return {
        "miou": matrix.mean_iou(),
        "boundary": contours.mean_iou(),
        "iou by group": by_group(matrix.iou()),
        "boundary by group": by_group(contours.iou()),
    }
