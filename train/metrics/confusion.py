"""Confusion matrix and intersection over union."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mfuser.cityscapes import IGNORE


class ConfusionMatrix:
    """Pixel counts, (G, G) int64: rows are the truth, columns the prediction."""

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.counts = np.zeros((len(self.names), len(self.names)), np.int64)
        self.missed = np.zeros(len(self.names), np.int64)  # pixels predicted as something outside the space

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Count one image; arguments and errors as of `count_pairs`."""
        self.add(count_pairs(truth, prediction, len(self.names)))

    def add(self, counted: np.ndarray) -> None:
        """Take in what `count_pairs` gave, (G, G + 1)."""
        self.counts += counted[:, :-1]
        self.missed += counted[:, -1]

    @property
    def present(self) -> np.ndarray:
        """Groups that occur in the truth, (G,) bool."""
        return self.counts.sum(1) + self.missed > 0

    def iou(self) -> np.ndarray:
        """Intersection over union of each group, (G,) float64 in 0..1; NaN where it does not occur in the truth."""
        hit = np.diag(self.counts).astype(float)
        union = self.counts.sum(0) + self.counts.sum(1) + self.missed - hit
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.present, hit / union, np.nan)

    def mean_iou(self) -> float:
        """Mean over the groups that occur in the truth. Raises ValueError when none does."""
        if not self.present.any():
            raise ValueError("There is nothing to score: every label pixel is ignored.")
        return float(np.nanmean(self.iou()))

    def accuracy(self) -> float:
        """Share of right pixels."""
        return float(np.trace(self.counts) / (self.counts.sum() + self.missed.sum()))


def count_pairs(truth: np.ndarray, prediction: np.ndarray, groups: int) -> np.ndarray:
    """Confusion counts of one image.

    Args:
        truth: (H, W) uint8 group indices; pixels of 255 are left out.
        prediction: (H, W) uint8 group indices; 255, a class that the space does not have, is wrong.
        groups: G, how many groups the space has.

    Returns:
        (G, G + 1) int64: rows are the truth, columns the prediction, and the last column is outside the space.

    Raises:
        ValueError: the shapes differ, or an index is too high.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"Truth {truth.shape} and prediction {prediction.shape} must have the same shape.")
    valid = truth != IGNORE
    rows, columns = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
    columns[columns == IGNORE] = groups
    if rows.size and max(rows.max(), columns.max() - 1) >= groups:
        raise ValueError(f"Group indices must be below {groups} or {IGNORE}.")
    return np.bincount(rows * (groups + 1) + columns, minlength=groups * (groups + 1)).reshape(groups, groups + 1)


def summary(scores: Mapping[str, ConfusionMatrix]) -> dict[str, dict[str, Any]]:
    """Scores as files store them, in per cent: {"fused": {"miou", "accuracy", "iou": {class: IoU or None}}}."""
    return {
        stream: {
            "miou": round(100 * matrix.mean_iou(), 3),
            "accuracy": round(100 * matrix.accuracy(), 3),
            "iou": {
                name: None if np.isnan(value) else round(100 * float(value), 3)
                for name, value in zip(matrix.names, matrix.iou(), strict=True)
            },
        }
        for stream, matrix in scores.items()
    }
