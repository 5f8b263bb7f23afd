"""How label files hold their values: ids, colours, ids and instances in 16 bits, panoptic RGB, polygons."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageOps

ILLEGAL = 254  # in a label table: a value that this label set does not have
CITYSCAPES_DIVISOR, VISTAS_DIVISOR = 1000, 256  # instance files hold class x divisor + instance


class LabelError(ValueError):
    """A label file that cannot be what it should be."""


def read_array(path: Path) -> np.ndarray:
    """Decode a label file that is an image.

    Args:
        path: the file. Its orientation is applied, as to photographs.

    Returns:
        (H, W) or (H, W, 3) RGB, 8 or 16 bits; of a palette the indices, without its colours.

    Raises:
        LabelError: the file cannot be read.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
            ImageOps.exif_transpose(image, in_place=True)
            if mode in ("L", "P", "1") or mode.startswith("I"):
                return np.asarray(image)
            if mode in ("RGB", "RGBA") and not _is_deep(path):
                return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise LabelError(f"The label {path} cannot be read ({error}): replace or remove it.") from error
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)  # Pillow clips colours of 16 bits to 8
    if array is None or array.ndim < 2:
        raise LabelError(f"The label {path} cannot be read (mode {mode}): replace or remove it.")
    return array[..., 2::-1] if array.ndim == 3 and array.shape[2] >= 3 else array


def _is_deep(path: Path) -> bool:
    """A PNG of 16 bits a channel, by its header."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24] == 16


def from_colours(array: np.ndarray, colours: Mapping[int, tuple[int, int, int]], path: Path) -> np.ndarray:
    """Ids of a label that is painted in the colours of a palette.

    Args:
        array: (H, W, 3) uint8 RGB.
        colours: id -> RGB.
        path: of the label, for the message.

    Returns:
        (H, W) uint8 ids.

    Raises:
        LabelError: a colour that the palette does not have.
    """
    keys = pack(array)
    table = {r + (g << 8) + (b << 16): value for value, (r, g, b) in colours.items()}
    found, inverse = np.unique(keys, return_inverse=True)
    unknown = [key for key in found.tolist() if key not in table]
    if unknown:
        key = unknown[0]
        raise LabelError(
            f"The label {path} holds the colour ({key & 255}, {key >> 8 & 255}, {key >> 16}), which the palette of its "
            "set does not have: pictures in lossy formats or of blended colours are no labels."
        )
    return np.array([table[key] for key in found.tolist()], np.uint8)[inverse].reshape(keys.shape)


def from_panoptic(array: np.ndarray) -> np.ndarray:
    """Ids of Cityscapes' panoptic colours.

    Args:
        array: (H, W, 3) uint8 RGB; R + 256 G + 65536 B is an id, or id x 1000 + instance.

    Returns:
        (H, W) int64 ids.
    """
    return from_instances(pack(array), CITYSCAPES_DIVISOR)


def from_instances(values: np.ndarray, divisor: int) -> np.ndarray:
    """Ids of labels that hold instances.

    Args:
        values: (H, W) integers, class x divisor + instance.
        divisor: 1000 of Cityscapes, which leaves classes without instances undivided, or 256 of Vistas.

    Returns:
        (H, W) int64 ids.
    """
    values = values.astype(np.int64)
    return values // divisor if divisor == VISTAS_DIVISOR else np.where(values < divisor, values, values // divisor)


def from_segments(array: np.ndarray, path: Path, listing: Path, names: tuple[str, ...]) -> np.ndarray:
    """Ids of panoptic colours whose segments a COCO-style JSON names.

    Args:
        array: (H, W, 3) uint8 RGB of segment ids, R + 256 G + 65536 B.
        path: of the label; the listing knows it by its name.
        listing: the JSON file.
        names: class names in the order of their ids; the last one is the class of unlabelled pixels.

    Returns:
        (H, W) uint8 ids, ILLEGAL where the listing names no class that is known.

    Raises:
        LabelError: the listing is none.
    """
    segments, keys = read_segments(listing).get(path.name, {}), pack(array)
    found, inverse = np.unique(keys, return_inverse=True)
    order = {name: index for index, name in enumerate(names)}
    unlabelled = len(names) - 1  # the last class of Vistas
    ids = [unlabelled if key == 0 else order.get(segments.get(key, ""), ILLEGAL) for key in found.tolist()]
    return np.array(ids, np.uint8)[inverse].reshape(keys.shape)


@lru_cache(maxsize=4)
def read_segments(listing: Path) -> dict[str, dict[int, str]]:
    """Read a panoptic JSON.

    Args:
        listing: the file.

    Returns:
        {file name: {segment id: class name}}.

    Raises:
        LabelError: it is no such file.
    """
    try:
        content = json.loads(listing.read_text())
        categories = {c["id"]: c["name"] for c in content["categories"]}
        return {
            entry["file_name"]: {s["id"]: categories[s["category_id"]] for s in entry["segments_info"]}
            for entry in content["annotations"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabelError(f"{listing} is no panoptic listing ({error!r}): replace it by the set's own.") from error


def from_polygons(path: Path, ids: Mapping[str, int], background: int) -> np.ndarray:
    """Paint the polygons of Cityscapes and IDD in their order.

    Args:
        path: the JSON file.
        ids: class name -> id; names ending in "group" stand for crowds of a class.
        background: id of pixels outside all polygons.

    Returns:
        (H, W) uint8 ids.

    Raises:
        LabelError: a damaged file or an unknown class.
    """
    try:
        content = json.loads(path.read_text())
        canvas = Image.new("L", (content["imgWidth"], content["imgHeight"]), background)
        draw = ImageDraw.Draw(canvas)
        for item in content["objects"]:
            name = item["label"]
            if item.get("deleted") or len(item["polygon"]) < 3:
                continue
            known = name if name in ids else name.removesuffix("group")
            if known not in ids:
                raise LabelError(f"The label {path} names a class {name!r} that its set does not have.")
            draw.polygon([tuple(point) for point in item["polygon"]], fill=ids[known])
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise LabelError(f"The label {path} cannot be read ({error!r}): replace or remove it.") from error
    return np.asarray(canvas)


def pack(array: np.ndarray) -> np.ndarray:
    """Colours as numbers: (H, W, 3) -> (H, W) int64, R + 256 G + 65536 B."""
    array = array.astype(np.int64)
    return array[..., 0] + (array[..., 1] << 8) + (array[..., 2] << 16)
