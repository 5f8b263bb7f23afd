"""Files of a dataset: which image belongs to which label, and reading both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from mfuser.cityscapes import CLASSES
from train.data.encodings import (
    ILLEGAL,
    LabelError,
    from_colours,
    from_instances,
    from_panoptic,
    from_polygons,
    from_segments,
    guess,
    read_array,
)
from train.data.tables import CAMVID_TUTORIAL, CITYSCAPES_COLOURS

__all__ = ["ILLEGAL", "LabelError", "LabelRule", "Pair", "image_size", "pair_folders", "read_label"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SEGNET_ONLY = (3, 6, 9)  # train ids that CamVid never has: wall, traffic light, terrain
LABEL_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # lossless ones


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


@dataclass(frozen=True)
class Pair:
    """An image and its label, None for an unlabelled photograph.

    rule: how the label is read, where it differs from the set's. condition: weather or time of day that the set names.
    reference: photograph of the same place in normal conditions.
    """

    image: Path
    label: Path | None
    rule: LabelRule | None = None
    condition: str = ""
    reference: Path | None = None


def pair_folders(root: Path, labels: str | None, images: str = "images") -> list[Pair]:
    """Pair `root/images/*` with `root/<labels>/*` of the same stem, sorted by name; no labels when `labels` is None.

    Raises ValueError when there are no images, or an image has no label.
    """
    found = find_images(root / images)
    if not found:
        raise ValueError(f"The folder {root / images} is empty: photographs (.jpg, .png) belong there.")
    if labels is None:
        return [Pair(path, None) for path in found]
    folder = root / labels
    if not folder.is_dir():
        raise ValueError(f"There is no label folder {folder}: every image needs a label file of the same stem there.")
    by_stem = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in LABEL_SUFFIXES}
    require_labels([p for p in found if p.stem not in by_stem], lambda p: folder / f"{p.stem}.png")
    return [Pair(path, by_stem[path.stem]) for path in found]


def find_images(folder: Path) -> list[Path]:
    """Image files of a folder, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def require_labels(missing: Iterable[Path], expected) -> None:
    """Raise ValueError naming the first image without a label, and where it was looked for."""
    missing = list(missing)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"No label for {missing[0]}{more}: expected {expected(missing[0])}.")


def with_condition(pairs: Iterable[Pair], condition: str) -> list[Pair]:
    """The same pairs under a condition."""
    return [replace(pair, condition=condition) for pair in pairs]


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header, after EXIF rotation. Raises ValueError for an unreadable file."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Asking a PNG without EXIF data would decode all of it.
            plain = image.format == "PNG" and "exif" not in image.info
            turned = not plain and image.getexif().get(0x0112, 1) >= 5  # orientation: transposed
    except (OSError, SyntaxError) as error:
        raise ValueError(f"The image {path} cannot be read ({error}): replace or remove it.") from error
    return (width, height) if turned else (height, width)


def read_label(path: Path, rule: LabelRule, raw: np.ndarray | None = None) -> np.ndarray:
    """Read a label file and map its values. raw: what `raw_ids` gave, when it was called already.

    Returns: (H, W) uint8 group indices. Raises LabelError (a ValueError) for an unreadable file, or values that the
    label set does not have, saying what they look like.
    """
    raw = raw_ids(path, rule) if raw is None else raw
    mapped = rule.table[raw]
    if (mapped == ILLEGAL).any():
        ids = ", ".join(map(str, np.unique(raw[mapped == ILLEGAL])[:8].tolist()))
        raise LabelError(f"The label {path} holds ids that {rule.title} does not have ({ids}){_advice(raw)}.")
    return mapped


def raw_ids(path: Path, rule: LabelRule) -> np.ndarray:
    """(H, W) uint8 ids of a label file, decoded but not mapped. Raises LabelError when its encoding is another one."""
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
    elif rule.divisor and array.dtype != np.uint8 and array.dtype != bool:
        array = from_instances(array, rule.divisor)
    if array.dtype != np.uint8:
        if array.min() < 0 or array.max() > 255:
            raise LabelError(f"The label {path} holds ids above 255, not those of {rule.title}{_advice(array)}.")
        array = array.astype(np.uint8)
    return array


def check_encoding(seen: np.ndarray, rule: LabelRule, name: str) -> None:
    """Raise ValueError when the values of a whole set, (256,) bool which occur, show that it is of another encoding."""
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
    told = guess(array, CITYSCAPES_COLOURS)
    return f": {told}" if told else ": convert the labels first"
