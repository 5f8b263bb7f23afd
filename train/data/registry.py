"""The register of dataset types, and the reading of `[name:]ROOT[/split]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.data.encodings import ILLEGAL
from train.data.files import Pair, pair_files
from train.data.groups import LabelGroups
from train.data.labels import LabelRule

SPLITS = ("train", "val", "test", "training", "validation", "testing")


class NoSuchSplit(ValueError):
    """A root that does not hold the split asked for."""


@dataclass(frozen=True)
class DatasetType:
    """One kind of dataset.

    name: what stands before the colon in `--data`. groups: what its labels can tell apart. space: key of
    `groups.SPACES` in which it is scored by default. rule: how its label files are read. labels: folder of labels
    beside `images`. pair: (root, split, labelled) -> pairs, for sets laid out otherwise; raises `NoSuchSplit`.
    edition: (root) -> the type that lies there, for sets that come in several editions; None for this very one.
    """

    name: str
    groups: LabelGroups
    space: str
    rule: LabelRule
    labels: str = "labels"
    pair: Callable[[Path, str, bool], list[Pair]] | None = None
    edition: Callable[[Path], DatasetType | None] | None = None

    def at(self, root: Path) -> DatasetType:
        """The edition that lies in a folder."""
        return (self.edition(root) if self.edition is not None else None) or self

    def pairs(self, root: Path, split: str, labelled: bool, complete: bool = True) -> list[Pair]:
        """Find the files of a split.

        Args:
            root: folder of the set, or of one of its splits.
            split: "train", "val" or "test".
            labelled: False takes photographs only.
            complete: refuse photographs without a label; else their pairs name the file that is missing.

        Returns:
            The pairs in the natural order of the photographs.

        Raises:
            ValueError: no such folder or split, no photographs, or a missing label.
        """
        root, split = locate(root, split)
        kind = self.at(root)
        if kind.pair is not None:
            found = kind.pair(root, split, labelled)
        else:
            folder = find_split(root, split)
            found = pair_files(folder / "images", folder / kind.labels if labelled else None)
        if complete and (missing := [text for pair in found if (text := pair.missing())]):
            more = f" ({len(missing) - 1} more photographs have none, too.)" if missing[1:] else ""
            raise ValueError(missing[0] + more)
        return found


DATASETS: dict[str, DatasetType] = {}
DEFAULT = "folder"


def register(kind: DatasetType) -> DatasetType:
    """Make a type known by its name. Raises ValueError when the name is taken."""
    if kind.name in DATASETS:
        raise ValueError(f"A dataset type {kind.name!r} is registered already.")
    DATASETS[kind.name] = kind
    return kind


def parse(spec: str) -> tuple[DatasetType, Path]:
    """Read a `--data` argument.

    Args:
        spec: `[name:]ROOT[/split]`.

    Returns:
        Type and folder, the split still part of it.

    Raises:
        ValueError: an unknown name or an empty root.
    """
    name, colon, rest = spec.partition(":")
    if not colon or len(name) < 2 or "/" in name or "\\" in name:  # no name; a drive letter is none
        name, rest = DEFAULT, spec
    if name not in DATASETS:
        raise ValueError(f"Unknown dataset {name!r} in {spec!r}; choose one of {', '.join(sorted(DATASETS))}.")
    if not rest:
        raise ValueError(f"No folder in {spec!r}: write {name}:PATH.")
    return DATASETS[name], Path(rest).expanduser()


def locate(root: Path, split: str) -> tuple[Path, str]:
    """Tell a root from its split: "ROOT/val", where official layouts have no such folder, means the split val of ROOT.

    Args:
        root: as `parse` gives it.
        split: that holds when the root names none.

    Returns:
        Folder of the set, and split.

    Raises:
        ValueError: there is no such folder.
    """
    if root.is_dir():
        return root, split
    if root.name in SPLITS and root.parent.is_dir():
        return root.parent, root.name
    raise ValueError(f"There is no folder {root}: check the path given for the data.")


def find_split(root: Path, split: str) -> Path:
    """The folder that holds `images`: root itself, or root/split. Raises ValueError when neither does."""
    for folder in (root, root / split):
        if (folder / "images").is_dir():
            return folder
    raise NoSuchSplit(f"No photographs in {root}: expected {root / 'images'} or {root / split / 'images'}.")


def has_split(spec: str, split: str) -> bool:
    """True when a root is no split itself and holds this one."""
    kind, root = parse(spec)
    if not root.is_dir():
        return False
    kind = kind.at(root)
    if kind.pair is None:
        return not (root / "images").is_dir() and (root / split / "images").is_dir()
    try:
        return bool(kind.pair(root, split, False))
    except NoSuchSplit:
        return False


def make_table(ids: Mapping[int, int], groups: np.ndarray | None = None) -> np.ndarray:
    """Make the label table of a set.

    Args:
        ids: value -> train id, or 255.
        groups: (256,) train id -> group index; None for a group a class.

    Returns:
        (256,) uint8: value -> group index, 255 = ignore, `ILLEGAL` = no such value.
    """
    table = np.full(256, ILLEGAL, np.uint8)
    for value, train_id in ids.items():
        table[value] = train_id if groups is None else groups[train_id]
    return table


def shown_spec(spec: str) -> str:
    """A `--data` argument without its folder: camvid:CAMVID/val."""
    kind, root = parse(spec)
    return f"{kind.name}:{kind.name.upper()}" + (f"/{root.name}" if root.name in SPLITS else "")
