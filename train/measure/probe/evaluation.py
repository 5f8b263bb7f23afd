"""Two passes over photographs: features of one set train the probes, and the other set scores them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from train.measure.probe.boundary_iou import count_bands
from train.measure.probe.cka import cka
from train.measure.probe.features import Source, features_of
from train.measure.probe.linear_probe import Probe, fit
from train.measure.probe.retrieval import regions_of, retrieval_scores
from train.metrics.confusion import ConfusionMatrix
from train.metrics.scoring import EvaluationItems, readable, same_size_batches
from train.pretrain.vlm import cell_coverage
from train.runtime.free_memory import host_memory
from train.runtime.hardware import Hardware

ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class View:
    """How the photographs of both passes are read.

    Args:
        preset: gives the size at which the encoders read them.
        hardware: device and loading processes.
        batch: images at once.
        soften: those that score are shrunk to this share and enlarged again; 0 leaves them as they are.
    """

    preset: Preset
    hardware: Hardware
    batch: int = 4
    soften: float = 0.0


@dataclass(frozen=True)
class Names:
    """What the probes' groups are called, and which groups of the scored set they are.

    Args:
        table: (256,) uint8, from groups of the set that trains to those of the set that scores.
        trained: (G, C_t) unit embeddings of the groups' names of the set that trains; None without a text space.
        scored: the same of the set that scores.
    """

    table: np.ndarray
    trained: Tensor | None = None
    scored: Tensor | None = None


def photographs(dataset: SegmentationData, view: View, title: str) -> Iterator[tuple[Tensor, Sequence[int], Tensor]]:
    """Batches of one size.

    Args:
        dataset: labelled photographs.
        view: how they are read.
        title: of the progress bar.

    Yields:
        Pixels (B, 3, h, w) float on the device, indices, labels (B, H, W) uint8.

    Raises:
        ValueError: a file cannot be read. A probe that saw less could not be compared with others.
    """
    items = EvaluationItems(dataset, view.preset, "", 0, 0)
    loader = DataLoader(items, **worker_options(min(view.hardware.workers, len(dataset), 8)))
    shown = tqdm(loader, f"{title} {dataset.name}", len(dataset), leave=False, unit="img", mininterval=1)
    faults: list[str] = []
    for indices, pixels, labels in same_size_batches(readable(shown, faults), view.batch):
        if faults:
            break
        yield pixels.to(view.hardware.device).float(), indices, labels
    if faults:
        raise ValueError(faults[0])


def gather(source: Source, dataset: SegmentationData, view: View) -> tuple[Tensor, dict[str, Tensor]]:
    """All labelled patches of a set.

    Args:
        source: of the features.
        dataset: labelled photographs.
        view: how they are read.

    Returns:
        Shares of the groups (N, G) float32, and features (N, C) float16 by row.

    Raises:
        ValueError: they and the training of the widest probe need more memory than there is, or a file is unreadable.
    """
    shares, features = [], defaultdict(list)
    for pixels, indices, labels in photographs(dataset, view, "read"):
        seen = source.features(pixels)
        covered = cell_coverage(labels, len(dataset.groups), seen.grid).movedim(1, -1)  # (B, h, w, G)
        labelled = covered.sum(-1) > 0
        shares.append(covered[labelled])
        for row, found in seen.rows.items():
            features[row].append(found.cpu()[labelled].half())
        if len(shares) == 1:
            widths = [found.shape[-1] for found in seen.rows.values()]
            patches = len(shares[0]) * len(dataset) // len(indices)
            widest = max(features_of(seen.rows, row).shape[-1] for row in source.rows)
            needed = patches * (2 * sum(widths) + 12 * widest)  # float16, then float32 of a probe, with its samples
            what = f"Features of {len(dataset)} photographs ({patches} patches)"
            host_memory().require(needed, what, "lower --limit")
    return torch.cat(shares), {row: torch.cat(parts) for row, parts in features.items()}


def train(shares: Tensor, features: Mapping[str, Tensor], rows: Sequence[str]) -> dict[str, Probe]:
    """A probe of every row.

    Args:
        shares: (N, G) of `gather`.
        features: (N, C) by row, of `gather`.
        rows: names of the rows.
    """
    progress = tqdm(rows, desc="fit", leave=False, unit="probe")
    return {row: fit(features_of(features, row).float(), shares) for row in progress}


def score(
    source: Source,
    probes: Mapping[str, Probe],
    names: Names,
    dataset: SegmentationData,
    view: View,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Score the probes of a source, and what needs no probe.

    Args:
        source: whose features they are.
        probes: by row.
        names: of the groups.
        dataset: labelled photographs.
        view: how they are read.
        samples: patches of the whole set for CKA, the same ones whatever the source.
        seed: of these patches.

    Returns:
        {"rows": scores by row in 0..1, "cka": {what is compared: one value a place}, "samples": patches for CKA}. A row
        with a text space has "zero-shot" too, the mIoU when each pixel gets the name nearest to it.
    """
    groups, most = dataset.groups, -(-samples // len(dataset))
    matrices = defaultdict(lambda: ConfusionMatrix(groups.names))
    bands = defaultdict(lambda: np.zeros((2, len(groups)), np.int64))
    regions, compared = defaultdict(list), defaultdict(list)
    for pixels, indices, labels in photographs(dataset, view, "score"):
        seen = source.features(softened(pixels, view.soften), compare=True)
        scores = {row: probe(features_of(seen.rows, row)) for row, probe in probes.items()}
        scores |= {(row, ZERO_SHOT): x @ names.trained.to(x.device).T for row, x in seen.texts.items()}
        for key, values in scores.items():
            best = upsampled_argmax(values.permute(0, 3, 1, 2), labels.shape[1:]).cpu().numpy()
            for truth, guess in zip(labels.numpy(), names.table[best], strict=True):
                matrices[key].update(truth, guess)
                if key in probes:
                    bands[key] += count_bands(truth, guess, len(groups))
        covered = cell_coverage(labels, len(groups), seen.grid).movedim(1, -1)
        for place, index in enumerate(indices):
            for row, embeddings in seen.texts.items():
                regions[row].append(regions_of(embeddings[place].cpu(), covered[place]))
            chosen = sample(seen.grid[0] * seen.grid[1], most, (seed, index))
            for name, pair in seen.compared.items():
                compared[name].append([torch.stack([step[place].cpu()[chosen] for step in side]) for side in pair])
    rows = {row: row_scores(matrices[row], bands[row]) for row in probes}
    for row, found in regions.items():
        embeddings, own = map(torch.cat, zip(*found, strict=True))
        rows[row]["retrieval"] = retrieval_scores(embeddings, own, names.scored, groups.diverse)
        rows[row][ZERO_SHOT] = matrices[row, ZERO_SHOT].mean_iou()
    sides = {name: [torch.cat(side, dim=1) for side in zip(*kept, strict=True)] for name, kept in compared.items()}
    alike = {name: [cka(x, y) for x, y in zip(*pair, strict=True)] for name, pair in sides.items()}
    return {"rows": rows, "cka": alike, "samples": max((a.shape[1] for a, _ in sides.values()), default=0)}


def softened(pixels: Tensor, share: float) -> Tensor:
    """Pictures (B, 3, h, w) shrunk to a share of their sides and enlarged again; 0 leaves them."""
    if not share:
        return pixels
    size = pixels.shape[-2:]
    small = F.interpolate(pixels, size=[max(1, round(side * share)) for side in size], mode="area")
    return F.interpolate(small, size=size, mode="bilinear", align_corners=False)


def sample(count: int, most: int, seed: tuple[int, int]) -> Tensor:
    """Indices of at most `most` of `count` patches."""
    return torch.from_numpy(np.random.default_rng(seed).permutation(count)[:most])


def row_scores(matrix: ConfusionMatrix, bands: np.ndarray) -> dict[str, Any]:
    """What is written about one row; None for a group that is not in the truth.

    Args:
        matrix: confusion counts of the set.
        bands: (2, G), `count_bands` summed over the set.
    """
    scores = {}
    boundary = np.where(matrix.present, bands[0] / np.maximum(bands[1], 1), np.nan)
    for name, values, mean in (("iou", matrix.iou(), "miou"), ("boundary", boundary, "boundary")):
        by_group = zip(matrix.names, values, strict=True)
        scores[f"{name} by group"] = {group: None if np.isnan(v) else float(v) for group, v in by_group}
        scores[mean] = float(np.nanmean(values)) if matrix.present.any() else matrix.mean_iou()
    return scores
