"""From what is kept of a set to scores: top-1 of the class means, AUROC of the maxima, average precision of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from train.data.groups import LabelGroups
from train.texts.evaluation_phrases import KINDS, Phrase
from train.words.similarity_maps import Tally


def average_precision(histogram: np.ndarray) -> float:
    """Average precision of pixels; equal scores are one threshold. NaN without a positive.

    Args:
        histogram: (2, B) counts of negatives and positives, by rising score.
    """
    if not histogram[1].any():
        return float("nan")
    truth, bins = np.indices(histogram.shape).reshape(2, -1)
    return float(average_precision_score(truth, bins, sample_weight=histogram.ravel()))


def expected_groups(phrases: Sequence[Phrase], space: LabelGroups) -> np.ndarray:
    """(P, G) bool: groups that a phrase should find."""
    matrix = space.matrix()  # (G, 19)
    return np.array([matrix[:, list(p.classes)].any(1) for p in phrases])


def top1(guess: np.ndarray, expected: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Which phrases are right.

    Args:
        guess: (P,) group indices.
        expected: (P, G) bool, groups that a phrase should find.
        there: (G,) bool, groups that occur in the set.

    Returns:
        (P,) float: 1 right, 0 wrong, NaN where no pixel of the set is of an expected group.
    """
    right = expected[np.arange(len(guess)), guess].astype(float)
    return np.where((expected & there).any(1), right, np.nan)


def by_kind(right: np.ndarray, phrases: Sequence[Phrase]) -> dict[str, tuple[float, int]]:
    """Share of right phrases in per cent and how many there are: of all, of each kind, of those of several words.

    Args:
        right: (P,) of `top1`.
        phrases: P of them.
    """
    kinds = np.array([p.kind for p in phrases])
    words = np.array([len(p.text.split()) for p in phrases])
    masks = {"all": kinds != "", **{k: kinds == k for k in KINDS if k != "object"}, "several words": words > 1}
    scored = {name: right[mask & ~np.isnan(right)] for name, mask in masks.items()}
    return {name: (round(100 * float(r.mean()), 2), len(r)) for name, r in scored.items() if len(r)}


def presence(tally: Tally, phrases: Sequence[Phrase], expected: np.ndarray, minimum: float) -> dict[str, float]:
    """AUROC of the highest similarity in a picture, of phrases whose class is labelled there against those without.

    Args:
        tally: of N pictures.
        phrases: P of them.
        expected: (P, G) bool.
        minimum: share of a picture's labelled pixels from which a class is present. One that has fewer, yet some, is
            neither present nor absent.

    Returns:
        By what is absent: "all", only the "objects" of no street, only the "classes" that are not in that picture. NaN
        where one side is empty.
    """
    counts, peaks = np.stack(tally.counts), np.stack(tally.peaks)  # (N, G), (N, P)
    pixels = counts @ expected.T.astype(np.int64)  # (N, P)
    share = pixels / np.maximum(counts.sum(1, keepdims=True), 1)
    present, absent = (share >= minimum) & (pixels > 0), pixels == 0
    objects = np.array([not p.classes for p in phrases])
    scores = {}
    for name, phrase in (("all", True), ("objects", objects), ("classes", ~objects)):
        asked = present | (absent & phrase)
        both = len(np.unique(present[asked])) == 2
        scores[name] = float(roc_auc_score(present[asked], peaks[asked])) if both else float("nan")
    return scores
