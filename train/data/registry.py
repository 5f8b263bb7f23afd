"""The register of dataset types, and the reading of `[name:]ROOT[/split]`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.data.files import Pair, pair_folders
from train.data.groups import LabelGroups


@dataclass(frozen=True)
class DatasetType:
    """One kind of dataset.

    name: what stands before the colon in `--data`. title: what it is, for messages and the log. groups: what its
    labels can tell apart. space: key of `groups.SPACES` in which it is scored by default. table: raw label value ->
    group index, (256,) uint8, 255 = ignore, `files.ILLEGAL` = no such value in this set. labels: folder of labels
    beside `images`. pair: (root, split, labelled) -> pairs, for sets laid out otherwise.
    """

    name: str
    title: str
    groups: LabelGroups
    space: str
    table: np.ndarray
    labels: str = "labels"
    pair: Callable[[Path, str, bool], list[Pair]] | None = None

    def pairs(self, root: Path, split: str, labelled: bool) -> list[Pair]:
        """Image and label files of a split. Raises ValueError when there is none, or a label is missing."""
        if not root.is_dir():
            raise ValueError(f"There is no folder {root}: check the path given for the data.")
        if self.pair is not None:
            return self.pair(root, split, labelled)
        return pair_folders(find_split(root, split), self.labels if labelled else None)


DATASETS: dict[str, DatasetType] = {}
DEFAULT = "folder"


def register(kind: DatasetType) -> DatasetType:
    """Make a type known by its name. Raises ValueError when the name is taken."""
    if kind.name in DATASETS:
        raise ValueError(f"A dataset type {kind.name!r} is registered already.")
    DATASETS[kind.name] = kind
    return kind


def parse(spec: str) -> tuple[DatasetType, Path]:
    """`[name:]ROOT[/split]` -> type and folder. Raises ValueError for an unknown name or an empty root."""
    name, colon, rest = spec.partition(":")
    if not colon or len(name) < 2 or "/" in name or "\\" in name:  # no name; a drive letter is none
        name, rest = DEFAULT, spec
    if name not in DATASETS:
        raise ValueError(f"Unknown dataset {name!r} in {spec!r}; choose one of {', '.join(sorted(DATASETS))}.")
    if not rest:
        raise ValueError(f"No folder in {spec!r}: write {name}:PATH.")
    return DATASETS[name], Path(rest).expanduser()


def find_split(root: Path, split: str) -> Path:
    """The folder that holds `images`: root itself, or root/split. Raises ValueError when neither does."""
    for folder in (root, root / split):
        if (folder / "images").is_dir():
            return folder
    raise ValueError(f"No photographs in {root}: expected {root / 'images'} or {root / split / 'images'}.")
