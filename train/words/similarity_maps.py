"""What is kept of each picture about many texts at once: sums, counts and maxima of their similarity maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from mfuser.cityscapes import IGNORE
from mfuser.config import encoders_of
from mfuser.loading import MFuser
from train.data import SegmentationData
from train.data.batches import worker_options
from train.data.groups import LabelGroups
from train.metrics.scoring import EvaluationItems, readable, same_size_batches
from train.runtime.hardware import Hardware

STREAMS = ("vlm", "fused")  # those with a text space
BINS = 4000  # of cosines in [-1, 1], for average precision without keeping every pixel


@dataclass
class Tally:
    """What is kept of N pictures, P texts and G label groups; one list entry for each picture.

    Args:
        counts: (G,) labelled pixels of each group.
        sums: (P, G) sum of the similarity over those pixels.
        peaks: (P,) highest cosine of any patch.
        histograms: word -> (2, BINS) pixels by cosine, those of other groups and of its own.
    """

    counts: list[np.ndarray] = field(default_factory=list)
    sums: list[np.ndarray] = field(default_factory=list)
    peaks: list[np.ndarray] = field(default_factory=list)
    histograms: dict[str, np.ndarray] = field(default_factory=dict)

    def class_means(self) -> np.ndarray:
        """(P, G) mean similarity over all labelled pixels of each group; -inf for a group that never occurs."""
        counts = np.sum(self.counts, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(counts > 0, np.sum(self.sums, axis=0) / counts, -np.inf)


@torch.no_grad()
def compare(
    model: MFuser,
    dataset: SegmentationData,
    space: LabelGroups,
    texts: Mapping[str, Tensor],
    regions: Mapping[str, tuple[int, Tensor]],
    hardware: Hardware,
    batch: int = 4,
    resolution: int = 0,
) -> tuple[dict[str, Tally], list[str]]:
    """Pass every picture once through the encoders, and compare it with all texts in one product.

    Similarities are those of `Analysis.similarity`: cosines of the patches, bilinearly enlarged to the size of the
    label.

    Args:
        model: with a text space.
        dataset: labelled photographs.
        space: groups in which the labels are read.
        texts: stream -> (P, C_t) unit embeddings.
        regions: word for average precision -> (its row of `texts`, (G,) bool, which groups' pixels it should find).
        hardware: device and loading processes.
        batch: images per forward pass.
        resolution: short side in pixels; 0 for the preset's.

    Returns:
        A tally per stream, and what was wrong with pictures that could not be read.
    """
    model.eval()
    table = dataset.groups.into(space)
    tallies = {stream: Tally() for stream in texts}
    items = EvaluationItems(dataset, model.preset, "", 0, resolution)
    loader = DataLoader(items, **worker_options(min(hardware.workers, len(dataset), 8)))
    faults: list[str] = []
    shown = tqdm(loader, f"words {dataset.name}", len(dataset), leave=False, unit="img", mininterval=1)
    for _, pixels, labels in same_size_batches(readable(shown, faults), batch):
        dense = dense_embeddings(model, list(texts), pixels.to(hardware.device).float(), hardware)
        for row, label in enumerate(labels):
            truth = torch.from_numpy(table[label.numpy()])
            weights, counts = patch_weights(truth, dense[next(iter(texts))].shape[1:3], len(space))
            for stream, tally in tallies.items():
                cosines = dense[stream][row].cpu() @ texts[stream].T  # (h, w, P)
                tally.counts.append(counts.numpy())
                tally.sums.append(torch.einsum("hwp, ghw -> pg", cosines.double(), weights).numpy())
                tally.peaks.append(cosines.flatten(0, 1).amax(0).numpy())
                for word, (place, expected) in regions.items():
                    histogram = region_histogram(cosines[..., place], truth, expected)
                    tally.histograms[word] = tally.histograms.get(word, 0) + histogram
    return tallies, faults


def dense_embeddings(model: MFuser, streams: Sequence[str], pixels: Tensor, hardware: Hardware) -> dict[str, Tensor]:
    """Unit embeddings of the patches in the text space.

    Args:
        model: with a text space.
        streams: "vlm", "fused" or both.
        pixels: (B, 3, H, W) float RGB 0..255.
        hardware: where it runs.

    Returns:
        (B, h, w, C_t) float32 for each stream.
    """
    with hardware.autocast():
        embedded = {}
        for name in dict.fromkeys(name for stream in streams for name in encoders_of(stream)):
            embedded |= model.embed(pixels, name)
        features = {stream: model.features(embedded, stream) for stream in streams}
    return {s: F.normalize(f.visual[:, 1:].float(), dim=-1).unflatten(1, f.grid) for s, f in features.items()}


def patch_weights(truth: Tensor, grid: tuple[int, int], groups: int) -> tuple[Tensor, Tensor]:
    """How much each patch counts in a sum over a group's pixels of a bilinearly enlarged map.

    A sum over enlarged values is linear in the patches, so no map is enlarged for it.

    Args:
        truth: (H, W) uint8 group indices, 255 = ignore.
        grid: (h, w) patches.
        groups: how many groups there are.

    Returns:
        (G, h, w) float64, and the groups' pixels (G,) int64.
    """
    one_hot = F.one_hot(truth.long().masked_fill(truth == IGNORE, groups), groups + 1)[..., :groups].double()
    down, across = (enlargement(n, side) for n, side in zip(grid, truth.shape, strict=True))
    return torch.einsum("yxg, hy, wx -> ghw", one_hot, down, across), one_hot.sum((0, 1)).long()


def enlargement(cells: int, side: int) -> Tensor:
    """Bilinear enlargement along one axis as a matrix (cells, side) float64."""
    return F.interpolate(torch.eye(cells, dtype=torch.double)[None], size=side, mode="linear", align_corners=False)[0]


def region_histogram(cosines: Tensor, truth: Tensor, expected: Tensor) -> np.ndarray:
    """Pixels by cosine, (2, BINS) int64: those of other groups, and of expected ones; without a label, of neither.

    Args:
        cosines: (h, w).
        truth: (H, W) uint8 group indices, 255 = ignore.
        expected: (G,) bool.
    """
    full = F.interpolate(cosines[None, None], size=truth.shape, mode="bilinear", align_corners=False)[0, 0]
    inside = truth != IGNORE
    bins = ((full[inside] + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
    return torch.bincount(bins + BINS * expected[truth[inside].long()].long(), minlength=2 * BINS).view(2, BINS).numpy()
