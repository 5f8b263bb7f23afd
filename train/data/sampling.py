"""Which photograph fills which place of which batch: a pure function of seed and step, so that runs resume exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# Rare-class sampling asks for 3000 pixels of a class in a Cityscapes photograph of 2048 x 1024.
RARE_SHARE = 3000 / (2048 * 1024)


@dataclass(frozen=True)
class Choice:
    """One place of a batch: which dataset, which of its images, and the group that the crop should show, if any."""

    dataset: int
    index: int
    group: int | None = None


class Sampler:
    """Fills batches from one or several sets.

    counts: per set, (N, G) pixels of each group in each label. mix: share of every batch that each set gets; None for
    equal shares. rare: choose a class first, then an image that shows it (Hoyer et al. 2022, DAFormer), at the given
    temperature; None goes through each set in a new random order every epoch.
    Raises ValueError when the batch is too small to hold a place of every set.
    """

    def __init__(
        self,
        counts: Sequence[np.ndarray],
        batch: int,
        seed: int,
        mix: Sequence[float] | None = None,
        rare: float | None = None,
    ):
        self.seed, self.rare = seed, rare
        self.sizes = [len(c) for c in counts]
        places = share_places(batch, [1.0] * len(counts) if mix is None else mix, len(counts))
        self.places = [(d, place, n) for d, n in enumerate(places) for place in range(n)]
        self.showing = [_images_showing(c) for c in counts] if rare is not None else []
        self.odds = [_class_odds(c, s, rare) for c, s in zip(counts, self.showing, strict=True)] if self.showing else []

    def choose(self, step: int, slot: int, rng: np.random.Generator) -> Choice:
        """Place `slot` of batch `step`; `rng` is the sample's own generator."""
        dataset, place, share = self.places[slot]
        if self.rare is None:
            epoch, position = divmod(step * share + place, self.sizes[dataset])
            return Choice(dataset, int(_order(self.seed, dataset, epoch, self.sizes[dataset])[position]))
        group = int(rng.choice(len(self.odds[dataset]), p=self.odds[dataset]))
        shown = self.showing[dataset][group]
        return Choice(dataset, int(shown[rng.integers(len(shown))]), group)


def share_places(batch: int, mix: Sequence[float], sets: int) -> list[int]:
    """Divide the places of a batch by largest remainder.

    Args:
        batch: number of places.
        mix: share of each set, in any unit.
        sets: number of sets.

    Returns:
        Places of each set.

    Raises:
        ValueError: a set would get none, or a share is not positive.
    """
    if len(mix) != sets or not all(0 < share < np.inf for share in mix):
        raise ValueError(f"The mix needs one positive share for each of the {sets} sets, got {tuple(mix)}.")
    exact = np.asarray(mix, float) / sum(mix) * batch
    places = np.floor(exact).astype(int)
    for d in np.argsort(places - exact, kind="stable")[: batch - places.sum()]:
        places[d] += 1
    if places.min() < 1:
        raise ValueError(f"A batch of {batch} cannot hold {sets} sets at {tuple(mix)}: choose a larger --batch.")
    return places.tolist()


@lru_cache(maxsize=16)
def _order(seed: int, dataset: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng((seed, dataset, epoch)).permutation(size)


def _images_showing(counts: np.ndarray) -> list[np.ndarray]:
    """Per group, the images with enough pixels of it; those with any when none has enough."""
    enough = counts > RARE_SHARE * counts.sum(1, keepdims=True)
    return [
        np.flatnonzero(enough[:, g]) if enough[:, g].any() else np.flatnonzero(counts[:, g])
        for g in range(counts.shape[1])
    ]


def _class_odds(counts: np.ndarray, showing: list[np.ndarray], temperature: float) -> np.ndarray:
    """Probability of each group: softmax((1 - frequency) / temperature) over the groups that occur."""
    frequency = counts.sum(0) / counts.sum()
    odds = np.exp((1 - frequency) / temperature - ((1 - frequency) / temperature).max())
    odds *= [len(shown) > 0 for shown in showing]
    return odds / odds.sum()
