"""From tallies to scores: top-1 of the class means, AUROC of the maxima, average precision of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from train.data.groups import LabelGroups
from train.texts.probe import KINDS, Phrase
from train.words.measure import Tally


def average_precision(histogram: np.ndarray) -> float:
    """Area under precision over recall, sum of precision times the step in recall; equal scores are one threshold.

    histogram: (2, B) counts of negatives and positives, by rising score. NaN without a positive.
    """
    negatives, positives = np.cumsum(histogram[:, ::-1], axis=1, dtype=np.float64)
    if not positives[-1]:
        return float("nan")
    precision = positives / np.maximum(positives + negatives, 1)
    return float((np.diff(positives, prepend=0) * precision).sum() / positives[-1])


def found_groups(means: np.ndarray) -> np.ndarray:
    """(P,) the group whose pixels are most similar to each phrase."""
    return means.argmax(1)


def wanted_groups(phrases: Sequence[Phrase], space: LabelGroups) -> np.ndarray:
    """(P, G) bool: groups that a phrase should find."""
    matrix = space.matrix()  # (G, 19)
    return np.array([[bool(matrix[g, list(p.classes)].any()) for g in range(len(space))] for p in phrases])


def top1(guess: np.ndarray, wanted: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(P,) float: 1 right, 0 wrong, NaN where no pixel of the set is of a wanted group.

    guess: (P,) group indices. wanted: (P, G) bool. there: (G,) bool, groups that occur in the set.
    """
    right = wanted[np.arange(len(guess)), guess].astype(float)
    return np.where((wanted & there).any(1), right, np.nan)


def by_kind(right: np.ndarray, phrases: Sequence[Phrase]) -> dict[str, tuple[float, int]]:
    """Share of right phrases in per cent and how many there are: of all, of each kind, of those of several words."""
    kinds = np.array([p.kind for p in phrases])
    words = np.array([len(p.text.split()) for p in phrases])
    masks = {"all": kinds != "", **{k: kinds == k for k in KINDS if k != "object"}, "several words": words > 1}
    scored = {name: right[mask & ~np.isnan(right)] for name, mask in masks.items()}
    return {name: (round(100 * float(r.mean()), 2), len(r)) for name, r in scored.items() if len(r)}


def presence(
    tally: Tally, phrases: Sequence[Phrase], wanted: np.ndarray, minimum: float, names: Sequence[str] = ("all",)
) -> dict[str, float]:
    """AUROC of the highest similarity in a picture, of phrases whose class is labelled there against those without.

    wanted: (P, G) bool. minimum: share of a picture's labelled pixels above which a class is present; one that has
    fewer, yet some, is neither. Absent are "all", only the "objects" of no street, or only the "classes" that are not
    in that picture. NaN where one side is empty.
    """
    counts, peaks = np.stack(tally.counts), np.stack(tally.peaks)  # (N, G), (N, P)
    pixels = counts @ wanted.T.astype(np.int64)  # (N, P)
    share = pixels / np.maximum(counts.sum(1, keepdims=True), 1)
    present, absent = (share >= minimum) & (pixels > 0), pixels == 0
    objects = np.array([not p.classes for p in phrases])
    scores = {}
    for name in names:
        these = {"all": absent, "objects": absent & objects, "classes": absent & ~objects}[name]
        scores[name] = _auroc(peaks[present], peaks[these])
    return scores


def _auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    if not len(positive) or not len(negative):
        return float("nan")
    truth = np.repeat([1, 0], [len(positive), len(negative)])
    return float(roc_auc_score(truth, np.concatenate([positive, negative])))
