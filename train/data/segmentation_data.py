"""A set in use: every file checked, photographs and labels kept in memory when they fit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from mfuser import images
from train.data import census
from train.data.files import Pair, say_once
from train.data.groups import LabelGroups
from train.data.labels import LabelRule, check_encoding, read_label
from train.data.registry import DatasetType

CACHE_BYTES = 3 << 30  # photographs and labels of a set together; forked workers share them
THREADS = 8  # decoders release the interpreter


class SegmentationData:
    """Photographs with label maps of group indices. `data[i]` -> ((H, W, 3) uint8 RGB, (H, W) uint8, 255 = ignore).

    counts: (N, G) int64, pixels of each group in each label; None for an unlabelled set. faults: what was wrong with
    pairs that were left out.

    Args:
        kind: type of the set.
        pairs: its files.
        name: what it is called.
        cache_bytes: larger sets are read from disk when needed.
        skip_broken: leave out pairs that cannot be read.

    Raises:
        ValueError: the first faulty file, unless `skip_broken`; nothing is left; labels of another encoding, or void
            everywhere.
    """

    def __init__(
        self,
        kind: DatasetType,
        pairs: Sequence[Pair],
        name: str,
        cache_bytes: int = CACHE_BYTES,
        skip_broken: bool = False,
    ):
        self.kind, self.name, self.faults = kind, name, []
        self.pairs = [replace(pair, rule=pair.rule or kind.rule) for pair in pairs]
        self.labelled = all(pair.label is not None for pair in self.pairs)
        self.counts: np.ndarray | None = None
        self._labels = self._images = None
        known = census.place(self.pairs, kind.rule)
        checked = census.recall(known)
        if checked is None:
            checked = self._without_faults(
                _map(lambda pair: census.check_pair(pair, len(kind.groups)), self.pairs), skip_broken
            )
            if not self.faults:
                census.remember(known, checked)
        bytes_needed = sum(c.size[0] * c.size[1] for c in checked)
        if self.labelled:
            self.counts = np.stack([c.counts for c in checked])
            self._check_values(checked)
        if 4 * bytes_needed <= cache_bytes or (self.labelled and bytes_needed <= cache_bytes):
            labels = [pair.label for pair in self.pairs]
            self._labels = _raise(_map(self._read_label, range(len(labels)))) if self.labelled else None
        if 4 * bytes_needed <= cache_bytes:
            read = _map(images.load, [pair.image for pair in self.pairs])
            broken = any(isinstance(image, Exception) for image in read)
            self._images = self._without_faults(read, skip_broken)
            if broken and self._labels is not None:
                self._labels = _raise(_map(self._read_label, range(len(self.pairs))))

    def _without_faults(self, found: list, skip_broken: bool) -> list:
        """Results of every pair; pairs that gave an error are left out, or the error is raised."""
        errors = [(i, e) for i, e in enumerate(found) if isinstance(e, Exception)]
        if errors and (not skip_broken or len(errors) == len(found)):
            first, more = errors[0][1], len(errors) - 1
            raise ValueError(f"{first} ({more} more files are faulty, too.)" if more else str(first)) from first
        self.faults += [str(error) for _, error in errors]
        gone = {i for i, _ in errors}
        self.pairs = [pair for i, pair in enumerate(self.pairs) if i not in gone]
        if self.counts is not None:
            self.counts = self.counts[[i for i in range(len(found)) if i not in gone]]
        return [item for i, item in enumerate(found) if i not in gone]

    @property
    def groups(self) -> LabelGroups:
        """What the labels can tell apart."""
        return self.kind.groups

    @property
    def representatives(self) -> tuple[int, ...]:
        """The train id that names each group."""
        return self.kind.groups.representatives

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.image(index), self.label(index)

    def first(self, count: int) -> SegmentationData:
        """The first images, at most so many, as a set of their own that shares what is in memory."""
        return self.part(range(min(count, len(self))))

    def part(self, indices: Sequence[int]) -> SegmentationData:
        """These images as a set of their own that shares what is in memory."""
        part = copy.copy(self)
        part.counts = None if self.counts is None else self.counts[list(indices)]
        for name in ("pairs", "_images", "_labels"):
            held = getattr(self, name)
            setattr(part, name, None if held is None else [held[i] for i in indices])
        return part

    def image(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB; shared with the cache, so never write into it."""
        return self._images[index] if self._images is not None else images.load(self.pairs[index].image)

    def label(self, index: int) -> np.ndarray:
        """(H, W) uint8 group indices, 255 = ignore; shared with the cache. Raises ValueError when unlabelled."""
        if self.pairs[index].label is None:
            raise ValueError(f"{self.name} has no labels.")
        return self._labels[index] if self._labels is not None else self._read_label(index)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Condition of every pair, "" where the set names none."""
        return tuple(pair.condition for pair in self.pairs)

    def stamp(self) -> str:
        """Stands for the files as they are now: another when one is replaced or edited."""
        return census.stamp(self.pairs).hex()[:32]

    def read_all(self) -> None:
        """Decode every file that is not in memory. Raises ValueError naming the first that cannot be read."""
        if self._images is None:
            for error in _map(lambda pair: images.load(pair.image) is None, self.pairs):
                if isinstance(error, Exception):
                    raise ValueError(str(error)) from error

    def _check_values(self, checked: Sequence[census.Checked]) -> None:
        """Raise ValueError when the labels are of another encoding, as far as the whole set can tell, or say nothing;
        name photographs whose orientation leaves their size, so that no size shows on which pixels labels lie."""
        by_rule: dict[int, tuple[LabelRule, np.ndarray]] = {}
        for pair, own in zip(self.pairs, checked, strict=True):
            rule, seen = by_rule.get(id(pair.rule), (pair.rule, np.zeros(256, bool)))
            by_rule[id(rule)] = rule, seen | own.seen
        for rule, values in by_rule.values():
            check_encoding(values, rule, self.name)
        if not self.counts.any():
            raise ValueError(
                f"No pixel of {self.name} is labelled, all are void: check the files, or choose another set."
            )
        turned = [pair.image for pair, own in zip(self.pairs, checked, strict=True) if own.turned]
        if turned:
            say_once(
                f"{len(turned)} photograph{'s' if turned[1:] else ''} of {self.name}, {turned[0]} for one, lie upside "
                "down, mirrored or turned by an orientation in EXIF or XMP that keeps the size: make sure that the "
                "labels are drawn on the upright picture."
            )

    def _read_label(self, index: int) -> np.ndarray:
        return read_label(self.pairs[index].label, self.pairs[index].rule)


def _map(function: Callable, items: Sequence) -> list:
    """Thread-parallel map; a ValueError or OSError takes the place of a result."""

    def attempt(item: Any) -> Any:
        try:
            return function(item)
        except (ValueError, OSError) as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(attempt, items))


def _raise(found: list) -> list:
    for item in found:
        if isinstance(item, Exception):
            raise item
    return found
