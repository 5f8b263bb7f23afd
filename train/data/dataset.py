"""An opened dataset: every file checked, photographs kept in memory when they fit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mfuser import images
from mfuser.cityscapes import IGNORE
from train.data import census
from train.data.files import Pair, say_once, upright_size
from train.data.groups import LabelGroups
from train.data.labels import LabelRule, check_encoding, raw_ids, read_label
from train.data.registry import DatasetType, locate, parse

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
        self.pairs = list(pairs)
        self.labelled = all(pair.label is not None for pair in self.pairs)
        self.counts: np.ndarray | None = None
        self._labels = self._images = None
        known = census.place(self.pairs, kind.rule)
        checked = census.recall(known)
        if checked is None:
            checked = self._without_faults(_map(self._check, self.pairs), skip_broken)
            if not self.faults:
                census.remember(known, checked)
        bytes_needed = sum(c.size[0] * c.size[1] for c in checked)
        if self.labelled:
            self.counts = np.stack([c.counts for c in checked])
            self._check_values([c.seen for c in checked])
            self._say_turned([pair.image for pair, c in zip(self.pairs, checked, strict=True) if c.turned])
        if 4 * bytes_needed <= cache_bytes or (self.labelled and bytes_needed <= cache_bytes):
            labels = [pair.label for pair in self.pairs]
            self._labels = _raise(_map(self._read_label, range(len(labels)))) if self.labelled else None
        if 4 * bytes_needed <= cache_bytes:
            read = _map(self._read_image, [pair.image for pair in self.pairs])
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
        return self._images[index] if self._images is not None else self._read_image(self.pairs[index].image)

    def label(self, index: int) -> np.ndarray:
        """(H, W) uint8 group indices, 255 = ignore; shared with the cache. Raises ValueError when unlabelled."""
        if self.pairs[index].label is None:
            raise ValueError(f"{self.name} has no labels.")
        return self._labels[index] if self._labels is not None else self._read_label(index)

    def reference(self, index: int) -> np.ndarray:
        """The same place in normal conditions, (H, W, 3) uint8 RGB. Raises ValueError when there is no such picture."""
        path = self.pairs[index].reference
        if path is None:
            raise ValueError(f"There is no reference frame for {self.pairs[index].image}.")
        return self._read_image(path)

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
            for error in _map(lambda pair: self._read_image(pair.image) is None, self.pairs):
                if isinstance(error, Exception):
                    raise ValueError(str(error)) from error

    def _check_values(self, seen: Sequence[np.ndarray]) -> None:
        """Raise ValueError when the labels are of another encoding, as far as the whole set can tell, or say nothing.

        seen: (256,) bool of each pair, which values its label holds.
        """
        by_rule: dict[int, tuple[LabelRule, np.ndarray]] = {}
        for pair, own in zip(self.pairs, seen, strict=True):
            rule = pair.rule or self.kind.rule
            by_rule[id(rule)] = rule, by_rule[id(rule)][1] | own if id(rule) in by_rule else own
        for rule, values in by_rule.values():
            check_encoding(values, rule, self.name)
        if not self.counts.any():
            raise ValueError(
                f"No pixel of {self.name} is labelled, all are void: check the files, or choose another set."
            )

    def _say_turned(self, paths: Sequence[Path]) -> None:
        """Name photographs whose orientation leaves their size, so that no size shows on which pixels labels lie."""
        if paths:
            count = "1 photograph" if len(paths) == 1 else f"{len(paths)} photographs"
            say_once(
                f"{count} of {self.name}, {paths[0]} for one, lie upside down, mirrored or turned by an orientation in "
                "EXIF or XMP that keeps their size: make sure that the labels are drawn on the upright picture."
            )

    def _check(self, pair: Pair) -> census.Checked:
        """Size of an image, from its header where that is possible; what its label holds."""
        if missing := pair.missing():
            raise ValueError(missing)
        size, orientation = upright_size(pair.image)
        if pair.label is None:
            return census.Checked(size, None, None, False)
        rule = pair.rule or self.kind.rule
        raw = raw_ids(pair.label, rule)
        label = read_label(pair.label, rule, raw)
        if label.shape != size:
            (h, w), (ih, iw) = label.shape, size
            turned = " when its orientation turns it upright, as it is read here" if orientation >= 5 else ""
            raise ValueError(
                f"The label {pair.label} is {w}x{h} pixels, its image {iw}x{ih}{turned}: they must be equal."
            )
        seen = np.bincount(raw.ravel(), minlength=256) > 0
        counts = np.bincount(label.ravel(), minlength=IGNORE + 1)[: len(self.kind.groups)]
        return census.Checked(size, counts, seen, orientation in (2, 3, 4) or (orientation > 4 and size[0] == size[1]))

    def _read_label(self, index: int) -> np.ndarray:
        pair = self.pairs[index]
        return read_label(pair.label, pair.rule or self.kind.rule)

    @staticmethod
    def _read_image(path: Path) -> np.ndarray:
        return images.load(path)


def open_dataset(
    spec: str,
    split: str = "train",
    labelled: bool = True,
    limit: int | None = None,
    cache_bytes: int = CACHE_BYTES,
    skip_broken: bool = False,
) -> SegmentationData:
    """Open `[name:]ROOT[/split]`.

    Args:
        spec: as of `--data`.
        split: folder looked for when ROOT itself holds no `images`.
        labelled: False reads photographs only.
        limit: at most so many images, spread evenly over the set; None for all.
        cache_bytes: larger sets are read from disk when needed.
        skip_broken: leave out pairs that cannot be read or lack their label, and name them in `faults`.

    Returns:
        The set.

    Raises:
        ValueError: nothing there, a label missing, sizes that differ, illegal ids; the first faulty file is named.
    """
    pairs = pairs_of(spec, split, labelled, complete=not skip_broken)
    if limit is not None:
        if limit < 1:
            raise ValueError(f"A limit of {limit} images leaves nothing: choose 1 or more.")
        pairs = [pairs[i] for i in spread(len(pairs), limit)]
    kind, name = name_of(spec, split)
    return SegmentationData(kind, pairs, name, cache_bytes, skip_broken)


def spread(count: int, limit: int) -> list[int]:
    """Indices of at most `limit` of `count` images, spread evenly."""
    few = min(limit, count)
    return [i * count // few for i in range(few)]


def pairs_of(spec: str, split: str, labelled: bool = True, complete: bool = True) -> list[Pair]:
    """All files of `[name:]ROOT[/split]`; arguments and errors as of `DatasetType.pairs`."""
    kind, root = parse(spec)
    return kind.pairs(root, split, labelled, complete)


def name_of(spec: str, split: str) -> tuple[DatasetType, str]:
    """The edition that lies at `[name:]ROOT[/split]`, and what an opened set is called."""
    kind, root = parse(spec)
    root, split = locate(root, split)
    kind = kind.at(root)
    inside = "" if kind.pair is None and (root / "images").is_dir() else f"/{split}"
    return kind, f"{kind.name}:{root.name}{inside}"


def open_datasets(specs: Sequence[str], split: str, limit: int | None = None) -> list[SegmentationData]:
    """Open sets side by side, each with a name of its own, also as part of a file's name.

    Sets that would be called alike take as many of the folders above them as tell them apart, the same set again a
    number.

    Args:
        specs: as of `--data`.
        split: as of `open_dataset`.
        limit: as of `open_dataset`.

    Returns:
        The sets in their order.

    Raises:
        ValueError: as of `open_dataset`.
    """
    datasets = [open_dataset(spec, split, limit=limit) for spec in specs]
    paths = []
    for spec, dataset in zip(specs, datasets, strict=True):
        kind, _, name = dataset.name.partition(":")
        above = locate(parse(spec)[1], split)[0].resolve().parent
        paths.append((kind, (*above.parts[1:], name)))

    def plain(path: tuple[str, tuple[str, ...]], folders: int) -> str:  # as part of a file's name
        return "-".join((path[0], *path[1][-folders:])).replace("/", "-")

    for i, (dataset, path) in enumerate(zip(datasets, paths, strict=True)):
        kind, parts = path
        lengths = range(1, len(parts))
        enough = (n for n in lengths if all(plain(p, n) != plain(path, n) for p in paths if p != path))
        dataset.name = f"{kind}:{'/'.join(parts[-next(enough, len(parts)) :])}"
        if before := paths[:i].count(path):
            dataset.name += f" ({before + 1})"
    return datasets


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
