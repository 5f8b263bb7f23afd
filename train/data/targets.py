"""Targets of a batch, made where the labels are loaded, so that the loss needs no search and no synchronisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from mfuser.cityscapes import IGNORE
from train.data.groups import LabelGroups

NO_OBJECT = 0.1  # weight of a query whose class is absent


@dataclass
class Targets:
    """What B label maps demand of K queries, query k belonging to class k. G is the most groups of any map."""

    labels: Tensor  # (B, H, W) uint8 group indices, 255 = ignore
    members: Tensor  # (B, G, K) bool, classes of each group; rows beyond a map's own groups are empty
    classes: Tensor  # (B, K, K+1) bool, answers that satisfy a query; the last one is "no object"
    weights: Tensor  # (B, K) float32 of the class loss: 1 matched, 0.1 absent, 0 unknown
    matched: Tensor  # (M, 3) int64: sample, query, group of each mask that must be drawn

    def to(self, device: torch.device | str) -> Targets:
        """Copy to a device; does not wait when the memory is pinned."""
        return Targets(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))

    def pin_memory(self) -> Targets:
        """Copy to page-locked memory; DataLoader calls this."""
        return Targets(*(getattr(self, f.name).pin_memory() for f in fields(self)))

    def part(self, first: int, stop: int) -> Targets:
        """Targets of samples first .. stop - 1."""
        inside = (self.matched[:, 0] >= first) & (self.matched[:, 0] < stop)
        matched = self.matched[inside] - torch.tensor([first, 0, 0])
        rows = (t[first:stop] for t in (self.labels, self.members, self.classes, self.weights))
        return Targets(*rows, matched)


def make_targets(labels: np.ndarray, groups: Sequence[LabelGroups]) -> Targets:
    """Targets of label maps whose values are indices into `groups[b]`.

    Query k of a map in which its group is present: the group's representative must name any member, and draw the
    group's mask; the other members are unknown to the labels, hence weight 0. Of an absent group every member must
    answer "no object". Classes in no group are unknown, and so are members of a present group that is `diverse`.

    Args:
        labels: (B, H, W) uint8.
        groups: of each map.

    Returns:
        The targets, on the CPU.

    Raises:
        ValueError: a value is neither 255 nor below the number of groups.
    """
    size = max(map(len, groups))
    matrices = [g.matrix() for g in groups]
    batch, count = len(labels), matrices[0].shape[1]
    members = np.zeros((batch, size, count), bool)
    classes = np.zeros((batch, count, count + 1), bool)
    weights = np.zeros((batch, count), np.float32)
    matched = []
    classes[..., count] = True  # with weight 0 where unknown
    for b, (own, matrix) in enumerate(zip(groups, matrices, strict=True)):
        members[b, : len(own)] = matrix
        found = np.flatnonzero(np.bincount(labels[b].ravel(), minlength=IGNORE)[:IGNORE])
        if len(found) and found[-1] >= len(own):
            raise ValueError(f"A label map holds group {found[-1]}, but its set has {len(own)} groups.")
        present = np.isin(np.arange(len(own)), found)
        weights[b, matrix[~present].any(0)] = NO_OBJECT
        for g in found:
            if g not in own.diverse:
                k = own.representatives[g]
                weights[b, k] = 1
                classes[b, k, :count], classes[b, k, count] = matrix[g], False
                matched.append((b, k, g))
    return Targets(
        labels=torch.from_numpy(np.ascontiguousarray(labels)),
        members=torch.from_numpy(members),
        classes=torch.from_numpy(classes),
        weights=torch.from_numpy(weights),
        matched=torch.tensor(matched, dtype=torch.int64).reshape(-1, 3),
    )
