"""What a label set can tell apart: groups of the 19 classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfuser.cityscapes import CLASSES, COMMON, IDD, IGNORE, group_table

COUNT = len(CLASSES)


@dataclass(frozen=True)
class LabelGroups:
    """Label values of a set, each standing for one or several of the 19 classes.

    names: one per group. members: train ids of each group; no class may be in two groups. representatives: the member
    whose query learns a group's mask; what a "vehicle" mostly is, say. diverse: indices of groups whose members look
    so unlike (walls and traffic lights) that no single query can stand for them; they teach the dense alignment only.

    Raises ValueError when the groups overlap or a representative is no member.
    """

    names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    representatives: tuple[int, ...]
    diverse: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        every = [c for group in self.members for c in group]
        if len(every) != len(set(every)) or not all(0 <= c < COUNT for c in every):
            raise ValueError(f"Label groups must be disjoint sets of train ids 0..{COUNT - 1}, got {self.members}.")
        if len(self.names) != len(self.members) or len(self.names) != len(self.representatives):
            raise ValueError("Label groups need one name and one representative each.")
        for name, group, one in zip(self.names, self.members, self.representatives, strict=True):
            if one not in group:
                raise ValueError(f"The representative {one} of {name!r} is not one of its members {group}.")

    def __len__(self) -> int:
        return len(self.names)

    def matrix(self) -> np.ndarray:
        """Membership, (G, 19) bool."""
        matrix = np.zeros((len(self), COUNT), bool)
        for index, group in enumerate(self.members):
            matrix[index, list(group)] = True
        return matrix

    def table(self) -> np.ndarray:
        """Lookup table train id -> group index, (256,) uint8; classes in no group, and 255, map to 255."""
        return group_table(dict(zip(self.names, self.members, strict=True)))

    def into(self, space: LabelGroups) -> np.ndarray:
        """Translate group indices to those of a coarser space.

        Args:
            space: the coarser groups.

        Returns:
            Lookup table (256,) uint8, 255 where there is none.

        Raises:
            ValueError: a group spans two of the space's.
        """
        coarse, table = space.table(), np.full(256, IGNORE, np.uint8)
        for index, (name, group) in enumerate(zip(self.names, self.members, strict=True)):
            targets = set(coarse[list(group)].tolist())
            if len(targets) > 1:
                spanned = " and ".join(space.names[t] if t != IGNORE else "nothing" for t in sorted(targets))
                raise ValueError(f"These labels cannot be scored there: their {name!r} spans {spanned}.")
            table[index] = targets.pop()
        return table


CITYSCAPES = LabelGroups(CLASSES, tuple((c,) for c in range(COUNT)), tuple(range(COUNT)))
# In CamVid garden walls are "building", traffic lights "sign", grass "vegetation"; a cyclist is one blob, rider and
# bicycle; vans and buses are "car". So the 11 classes are the groups of the common space.
COMMON_SPACE = LabelGroups(tuple(COMMON), tuple(COMMON.values()), (0, 1, 2, 4, 5, 7, 8, 10, 11, 12, 13))
IDD_SPACE = LabelGroups(tuple(IDD), tuple(IDD.values()), (0, 1, 11, 13, 4, 2, 10), frozenset({4, 5}))

SPACES: dict[str, LabelGroups] = {"cityscapes": CITYSCAPES, "common": COMMON_SPACE, "idd": IDD_SPACE}
