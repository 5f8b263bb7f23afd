"""Photographs of a training set that teach nothing, so that settings can be chosen on them."""

from __future__ import annotations

from collections.abc import Sequence

from train.data.dataset import spread
from train.data.segmentation_data import SegmentationData

# Sets of video, such as CamVid, name their frames in the order in which they were taken, and neighbours are near copies
# of each other: single frames held out would be known by heart. So stretches are, as they come in the order of names.
STRETCH = 20  # photographs


def divided(count: int, every: int, name: str) -> tuple[list[int], list[int]]:
    """Indices of a set of `count` photographs that stay, and those of every so many-th stretch, which are held out.

    Args:
        count: photographs; stretches are shorter where the set would have too few.
        every: 2 or more.
        name: of the set, for the message.

    Returns:
        Indices that stay, and those that are held out.

    Raises:
        ValueError: the set has too few photographs.
    """
    if every < 2 or count < every:
        raise ValueError(f"--holdout {every} cannot divide the {count} photographs of {name}: choose 2 to {count}.")
    stretch = min(STRETCH, count // every)
    held = [i for i in range(count) if i // stretch % every == every - 1]
    return sorted(set(range(count)) - set(held)), held


def hold_out(
    datasets: Sequence[SegmentationData], every: int, limit: int = 0
) -> tuple[list[SegmentationData], list[SegmentationData]]:
    """Divide each set.

    Args:
        datasets: the sets.
        every: as of `divided`.
        limit: at most so many held-out photographs of each set, spread over them; 0 for all.

    Returns:
        What is left of each set to train on, and what was held out of each.

    Raises:
        ValueError: as of `divided`.
    """
    kept, held = [], []
    for dataset in datasets:
        stay, out = divided(len(dataset), every, dataset.name)
        kept.append(dataset.part(stay))
        held.append(dataset.part([out[i] for i in spread(len(out), limit or len(out))]))
        held[-1].name = held_name(dataset.name)
    return kept, held


def held_name(name: str) -> str:
    """What the held-out photographs of a set are called."""
    return f"{name}, held out"
