"""Files of a dataset: which image belongs to which label, and reading both."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
LABEL_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # lossless ones
ILLEGAL = 254  # in a label table: a value that this label set does not have


class Pair(NamedTuple):
    """An image and its label, None for an unlabelled photograph."""

    image: Path
    label: Path | None


def pair_folders(root: Path, labels: str | None) -> list[Pair]:
    """Pair `root/images/*` with `root/<labels>/*` of the same stem, sorted by name; no labels when `labels` is None.

    Raises ValueError when there are no images, or an image has no label.
    """
    found = sorted(p for p in (root / "images").iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not found:
        raise ValueError(f"The folder {root / 'images'} is empty: photographs (.jpg, .png) belong there.")
    if labels is None:
        return [Pair(path, None) for path in found]
    folder = root / labels
    if not folder.is_dir():
        raise ValueError(f"There is no label folder {folder}: every image needs a label file of the same stem there.")
    by_stem = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in LABEL_SUFFIXES}
    missing = [p for p in found if p.stem not in by_stem]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"No label for {missing[0]}{more}: expected {folder / missing[0].stem}.png.")
    return [Pair(path, by_stem[path.stem]) for path in found]


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header, after EXIF rotation. Raises ValueError for an unreadable file."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) >= 5  # orientation: transposed
    except OSError as error:
        raise ValueError(f"The image {path} cannot be read ({error}): replace or remove it.") from error
    return (width, height) if turned else (height, width)


def read_label(path: Path, table: np.ndarray, title: str) -> np.ndarray:
    """Read a label file and map its values.

    table: (256,) uint8, raw value -> group index, 255 = ignore, `ILLEGAL` = no such value.
    Returns: (H, W) uint8 group indices. Raises ValueError for an unreadable file, colours instead of ids, or ids that
    the label set does not have.
    """
    try:
        with Image.open(path) as image:
            mode, raw = image.mode, np.asarray(image)  # palette images give their indices
    except OSError as error:
        raise ValueError(f"The label {path} cannot be read ({error}): replace or remove it.") from error
    if mode not in ("L", "P", "1") and not mode.startswith("I"):
        raise ValueError(f"The label {path} holds colours (mode {mode}), not ids: convert it to 8-bit ids first.")
    if raw.dtype != np.uint8:
        if raw.min() < 0 or raw.max() > 255:
            raise ValueError(f"The label {path} holds ids above 255: convert it to 8-bit ids of {title} first.")
        raw = raw.astype(np.uint8)
    mapped = table[raw]
    if (mapped == ILLEGAL).any():
        ids = ", ".join(map(str, np.unique(raw[mapped == ILLEGAL])[:8]))
        raise ValueError(f"The label {path} holds ids that {title} does not have ({ids}): convert the labels first.")
    return mapped
