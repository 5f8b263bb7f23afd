"""What the files of a set hold, remembered between runs: reading 25 000 label files takes minutes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from mfuser.cityscapes import IGNORE
from train.data.files import Pair, upright_size
from train.data.labels import LabelRule, raw_ids, read_label

SMALLEST = 1000  # pairs from which remembering pays


class Checked(NamedTuple):
    """What was found out about a pair.

    size: (height, width) of the image. counts: pixels of each group in its label; None without a label. seen: (256,)
    bool, which values its label holds. turned: an orientation changes the image and not its size.
    """

    size: tuple[int, int]
    counts: np.ndarray | None
    seen: np.ndarray | None
    turned: bool


def check_pair(pair: Pair, groups: int) -> Checked:
    """Read a label, and of its photograph the header.

    Args:
        pair: with its rule.
        groups: number of groups that the labels tell apart.

    Returns:
        What was found out.

    Raises:
        ValueError: a missing or unreadable file, illegal ids, or a label of another size than the upright photograph.
    """
    if missing := pair.missing():
        raise ValueError(missing)
    size, orientation = upright_size(pair.image)
    if pair.label is None:
        return Checked(size, None, None, False)
    raw = raw_ids(pair.label, pair.rule)
    label = read_label(pair.label, pair.rule, raw)
    if label.shape != size:
        (h, w), (ih, iw) = label.shape, size
        turned = " when its orientation turns it upright, as it is read here" if orientation >= 5 else ""
        raise ValueError(f"The label {pair.label} is {w}x{h} pixels, its image {iw}x{ih}{turned}: they must be equal.")
    counts = np.bincount(label.ravel(), minlength=IGNORE + 1)[:groups]
    same_size = orientation in (2, 3, 4) or (orientation > 4 and size[0] == size[1])
    return Checked(size, counts, np.bincount(raw.ravel(), minlength=256) > 0, same_size)


def place(pairs: Sequence[Pair], rule: LabelRule) -> Path | None:
    """Find the file of a census.

    Args:
        pairs: of the set.
        rule: how its labels are read.

    Returns:
        Where the census of these very files lies, or would lie: names, sizes and times of all files go into the name.
        None for a small or unlabelled set, or when a file is gone.
    """
    if len(pairs) < SMALLEST or any(pair.label is None for pair in pairs):
        return None
    try:
        key = hashlib.sha256(rule.title.encode() + rule.table.tobytes() + stamp(pairs))
    except OSError:
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mfuser" / "labels"
    return folder / f"{key.hexdigest()[:32]}.npz"


def stamp(pairs: Sequence[Pair]) -> bytes:
    """Names, sizes and times of all files of these pairs, in a digest. Raises OSError for one that is gone."""
    key = hashlib.sha256()
    for pair in pairs:
        for path in (pair.image, pair.label):
            if path is not None:
                stat = path.stat()
                key.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} ".encode())
    return key.digest()


def recall(path: Path | None) -> list[Checked] | None:
    """What was remembered; None when nothing was, or it cannot be read."""
    if path is None or not path.is_file():
        return None
    try:
        with np.load(path) as stored:
            columns = [stored[name] for name in Checked._fields]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return [Checked((int(h), int(w)), *rest) for (h, w), *rest in zip(*columns, strict=True)]


def remember(path: Path | None, checked: Sequence[Checked]) -> None:
    """Store a census, written beside and renamed; a folder that cannot be written is no reason to stop."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
        np.savez(beside, **dict(zip(Checked._fields, map(np.array, zip(*checked, strict=True)), strict=True)))
        os.replace(beside, path)
    except OSError:
        return
