"""Label files as group indices: what their values mean, and what is said about values that cannot be right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfuser.cityscapes import CLASSES, IGNORE
from train.data.encodings import (
    CITYSCAPES_DIVISOR,
    ILLEGAL,
    LabelError,
    from_colours,
    from_instances,
    from_panoptic,
    from_polygons,
    from_segments,
    pack,
    read_array,
)
from train.data.tables import CAMVID_TUTORIAL, CITYSCAPES_COLOURS

SEGNET_ONLY = (3, 6, 9)  # train ids that CamVid never has: wall, traffic light, terrain
LIKENESSES = (  # highest value, what it is called, the set to name; only the first has a value 255
    (18, "Cityscapes trainIds", "trainids"),
    (33, "Cityscapes labelIds", "labelids"),
    (65, "ids of Mapillary Vistas v1.2", "mapillary"),
    (123, "ids of Mapillary Vistas v2.0", "mapillary-v2"),
)
DEEP_VOIDS = (65535, -1)  # what files of more than 8 bits hold where 8-bit files hold 255


@dataclass(frozen=True)
class LabelRule:
    """How the label files of a set are read, and what their values mean.

    title: for messages. table: value -> group index, (256,) uint8, 255 = ignore, `ILLEGAL` = no such value. colours:
    palette id -> RGB for files that hold colours; None when this set has none. panoptic: three channels are panoptic
    ids. divisor: of 16-bit class x divisor + instance; 0 when this set has none. deep: 16-bit files hold the class in
    their first channel. polygons: class name -> id, of JSON files. segments, names: listing of panoptic segments, and
    the classes it names. above: some value of a whole set must exceed this, or the files are of another encoding.
    segnet: these are CamVid's classes, whose files exist in SegNet's ids, too.
    """

    title: str
    table: np.ndarray
    colours: Mapping[int, tuple[int, int, int]] | None = None
    panoptic: bool = False
    divisor: int = 0
    deep: bool = False
    polygons: Mapping[str, int] | None = None
    background: int = 0
    segments: Path | None = None
    names: tuple[str, ...] = ()
    above: int = -1
    segnet: bool = False


def read_label(path: Path, rule: LabelRule, raw: np.ndarray | None = None) -> np.ndarray:
    """Read a label file and map its values.

    Args:
        path: the file.
        rule: how it is read.
        raw: what `raw_ids` gave, when it was called already.

    Returns:
        (H, W) uint8 group indices, 255 = ignore.

    Raises:
        LabelError: an unreadable file, or values that the label set does not have; the message says what they look
            like.
    """
    raw = raw_ids(path, rule) if raw is None else raw
    mapped = rule.table[raw]
    if (mapped == ILLEGAL).any():
        ids = ", ".join(map(str, np.unique(raw[mapped == ILLEGAL])[:8].tolist()))
        raise LabelError(f"The label {path} holds ids that {rule.title} does not have ({ids}){_advice(raw)}.")
    return mapped


def raw_ids(path: Path, rule: LabelRule) -> np.ndarray:
    """Decode a label file without mapping its values.

    Args:
        path: the file.
        rule: how it is read.

    Returns:
        (H, W) uint8 ids. 65535 and -1 of deeper files become the first id that the set has for void.

    Raises:
        LabelError: an unreadable file, or one of another encoding.
    """
    if path.suffix.lower() == ".json":
        if rule.polygons is None:
            raise LabelError(f"The label {path} holds polygons, which {rule.title} does not have.")
        return from_polygons(path, rule.polygons, rule.background)
    array = read_array(path)
    if array.ndim == 3:
        if rule.deep:
            if array.dtype == np.uint8:
                raise LabelError(
                    f"The label {path} holds three channels of 8 bits; {rule.title} come in 16: use the files of "
                    "GT/LABELS, not pictures of them."
                )
            array = array[..., 0]
        elif rule.segments is not None and array.dtype == np.uint8:
            return from_segments(array, path, rule.segments, rule.names)
        elif rule.panoptic and array.dtype == np.uint8:
            array = from_panoptic(array)
        elif rule.colours is not None and array.dtype == np.uint8:
            return from_colours(array, rule.colours, path)
        else:
            mode = "RGB" if array.dtype == np.uint8 else "RGB of 16 bits"
            raise LabelError(f"The label {path} holds colours (mode {mode}), not ids{_advice(array)}.")
    if array.dtype in (np.uint8, bool):
        return array.astype(np.uint8, copy=False)
    void = next(iter(np.flatnonzero(rule.table == IGNORE)), IGNORE)
    ids = np.where(np.isin(array, DEEP_VOIDS), void, array.astype(np.int64))
    if rule.divisor:
        ids = from_instances(ids, rule.divisor)
    if ids.min() < 0 or ids.max() > 255:
        raise LabelError(f"The label {path} holds ids above 255, not those of {rule.title}{_advice(array)}.")
    return ids.astype(np.uint8)


def check_encoding(seen: np.ndarray, rule: LabelRule, name: str) -> None:
    """Judge the values of a whole set.

    Args:
        seen: (256,) bool, which values occur in its labels.
        rule: how they are read.
        name: of the set, for the message.

    Raises:
        ValueError: the values are those of another encoding.
    """
    values = np.flatnonzero(seen[:255]).tolist()
    if not values:
        return
    highest = values[-1]
    if highest <= rule.above:
        train_ids = highest < len(CLASSES)
        like = "Cityscapes trainIds" if train_ids else "another encoding"
        way = "Name the set trainids:ROOT, or use" if train_ids else "Use"
        raise ValueError(
            f"No label of {name} has a value above {highest}: they look like {like}, not {rule.title}. "
            f"{way} the files of that encoding."
        )
    strange = sorted({*values} & {*SEGNET_ONLY}) if rule.segnet and highest < len(CAMVID_TUTORIAL) else []
    if strange:
        raise ValueError(
            f"The labels of {name} hold {', '.join(map(str, strange))} and nothing above {highest}: they look like the "
            f"ids of SegNet's edition (0 sky, 1 building ... 11 void), not {rule.title}. Lay them out as that edition "
            "does, photographs in ROOT/train and labels in ROOT/trainannot, or convert them."
        )


def _advice(array: np.ndarray) -> str:
    """What values that do not fit look like, with the way out."""
    like = _likeness(array)
    return f": {like}" if like else ": convert the labels first"


def _likeness(array: np.ndarray) -> str:
    if array.ndim == 3:
        if array.dtype != np.uint8:
            return "three channels of 16 bits look like SYNTHIA: name the set synthia:ROOT"
        if set(np.unique(pack(array)).tolist()) <= {
            r + (g << 8) + (b << 16) for r, g, b in CITYSCAPES_COLOURS.values()
        }:
            return "they look like Cityscapes colours: name the set colours:ROOT"
        return "they look like panoptic ids: name the set panoptic:ROOT" if from_panoptic(array).max() <= 33 else ""
    rest = array[~np.isin(array, (255, *DEEP_VOIDS))]
    low, top = (int(rest.min()), int(rest.max())) if rest.size else (0, 0)
    voids = np.setdiff1d(array, rest).tolist()
    span = " and ".join([f"values {low}-{top}", *map(str, voids)])
    if top > 255:
        if from_instances(rest, CITYSCAPES_DIVISOR).max() <= 33:
            return f"{span} look like Cityscapes instanceIds: name the set labelids:ROOT"
        return f"{span} look like Vistas instances: name the set mapillary:ROOT"
    for highest, kind, name in LIKENESSES[: 1 if 255 in voids else None]:
        if top <= highest:
            return f"{span} look like {kind}: name the set {name}:ROOT"
    return ""
