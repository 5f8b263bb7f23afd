"""One analysed picture as one file for the browser, which then answers hover, click, swipe and zoom by itself.

Layout: the bytes "MFB1"; the length of the header as a little-endian uint32; the header, JSON in UTF-8; then the parts.
`header["parts"][name]` is {"at": offset from the first part in bytes, "bytes": length, "type": "image", "uint8", "int8"
or "float32", "shape": [...], "deflated": true where zlib packed it}. Parts start at multiples of 4 bytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from mfuser import images
from mfuser.cityscapes import IGNORE
from mfuser.inference.analysis import Analysis
from mfuser.pictures import visualize
from mfuser.stage.projection import Projection, project, unit_rows

MAGIC = b"MFB1"
# Dimensions and smallest steps of the projected embeddings, by measurement on nano at 1280 x 720: the mean error of a
# cosine is 0.006 at most, 91 % of the 20 nearest patches stay (64 dimensions: 89 %), and the file stays below 700 kB.
TOKENS, DENSE = (80, 0.006), (64, 0.008)
PHOTO_QUALITY = 88  # JPEG, 1 to 100


@dataclass
class Bundle:
    """An encoded picture.

    Attributes:
        data: the file.
        text_bases: stream -> (C_t, D) float32, which projects a unit text embedding to what the file's patches of that
            stream are multiplied with.
    """

    data: bytes
    text_bases: dict[str, np.ndarray] = field(repr=False, default_factory=dict)


def encode(analysis: Analysis, truth: np.ndarray | None = None, extra: Mapping[str, Any] | None = None) -> Bundle:
    """Put all that the stage shows of a picture into one file.

    Args:
        analysis: of `Segmenter.analyse`; H, W: size of its image, h, w: its patch grid.
        truth: (H, W) uint8 indices of the classes, 255 where unlabelled; None when it is not known.
        extra: further entries of the header.

    Returns:
        The bundle. Patch embeddings are projected to at most 80 dimensions and rounded to 8 bits
        (`mfuser.stage.projection`), so that cosines are approximate. Everything else is exact, the photograph excepted.
    """
    # Small products and eigenvectors: with more threads, BLAS waits for them longer than it computes, on a busy machine
    # ten times as long.
    with threadpool_limits(1, user_api="blas"):
        return _encode(analysis, truth, extra or {})


def _encode(analysis: Analysis, truth: np.ndarray | None, extra: Mapping[str, Any]) -> Bundle:
    parts = _Parts()
    parts.add_image("photo", images.encode(analysis.image, ".jpg", PHOTO_QUALITY), analysis.size)
    grid = next(iter(analysis.tokens.values())).shape[:2]
    for stream in analysis.streams:
        parts.add(f"mask.{stream}", analysis.masks[stream], deflate=True)
        parts.add(f"confidence.{stream}", _reduced_confidence(analysis.confidence[stream], grid), deflate=True)
    for stream, tokens in analysis.tokens.items():
        parts.add(f"features.{stream}", visualize.pca_rgb(tokens, grid), deflate=True)
        parts.add_projection(f"tokens.{stream}", project(unit_rows(tokens), *TOKENS))
    bases = {}
    for stream, dense in analysis.dense.items():
        projection = project(unit_rows(dense), *DENSE)
        parts.add_projection(f"dense.{stream}", projection)
        bases[stream] = projection.basis
    header = {
        "version": 1,
        "size": list(analysis.size),
        "grid": list(grid),
        "classes": list(analysis.classes),
        "colours": analysis.palette.tolist(),
        "streams": list(analysis.streams),
        "titles": {s: analysis.title(s) for s in analysis.streams},
        "made": dict(analysis.made),
        "ran": analysis.ran,
        "disagreement": disagreement(analysis.masks),
        **extra,
    }
    if truth is not None:
        parts.add("truth", truth, deflate=True)
        header["iou"] = {s: class_iou(analysis.masks[s], truth, len(analysis.classes)) for s in analysis.streams}
    return Bundle(parts.file(header), bases)


def pack(
    header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], projections: Mapping[str, Projection] | None = None
) -> bytes:
    """A file of the same layout with other parts.

    Args:
        header: its entries; "parts" is added.
        arrays: name -> uint8, int8 or float32 of any shape.
        projections: name -> projected rows; the steps of each lie in the part "name.scale".

    Returns:
        The file, for `decode`.
    """
    parts = _Parts()
    for name, array in arrays.items():
        parts.add(name, array, deflate=True)
    for name, projection in (projections or {}).items():
        parts.add_projection(name, projection)
    return parts.file(header)


def decode(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a bundle back.

    Args:
        data: a file of `encode`.

    Returns:
        The header, and the parts by name: arrays of their shape, images as encoded bytes.

    Raises:
        ValueError: not a bundle, or one that is cut short.
    """
    if data[:4] != MAGIC or len(data) < 8:
        raise ValueError("This is not a bundle of the stage: it does not begin with MFB1.")
    (length,) = struct.unpack("<I", data[4:8])
    header = json.loads(data[8 : 8 + length])
    start, found = _aligned(8 + length), {}
    for name, part in header["parts"].items():
        raw = data[start + part["at"] : start + part["at"] + part["bytes"]]
        if len(raw) != part["bytes"]:
            raise ValueError(f"The bundle is cut short: its part {name!r} is not whole.")
        if part["type"] == "image":
            found[name] = raw
        else:
            raw = zlib.decompress(raw) if part["deflated"] else raw
            found[name] = np.frombuffer(raw, part["type"]).reshape(part["shape"])
    return header, found


def add_to_header(data: bytes, more: Mapping[str, Any]) -> bytes:
    """The same bundle with further entries of the header. Raises ValueError for what is no bundle."""
    header, _ = decode(data)
    (length,) = struct.unpack("<I", data[4:8])
    return _with_header({**header, **more}) + data[_aligned(8 + length) :]


def _with_header(header: Mapping[str, Any]) -> bytes:
    """All of a file that stands before its parts."""
    text = json.dumps(header, separators=(",", ":"), default=_plain).encode()
    start = MAGIC + struct.pack("<I", len(text)) + text
    return start.ljust(_aligned(len(start)), b"\0")


def disagreement(masks: Mapping[str, np.ndarray]) -> float:
    """Fraction of the pixels in which the masks are not all of one class, 0 to 1."""
    first, *others = masks.values()
    differs = np.zeros(first.shape, bool)
    for other in others:
        differs |= other != first
    return float(differs.mean())


def class_iou(mask: np.ndarray, truth: np.ndarray, classes: int) -> list[float | None]:
    """Intersection over union of each class, 0 to 1; None for a class that is in neither.

    Args:
        mask: (H, W) uint8 class indices.
        truth: (H, W) uint8 class indices; pixels of 255 are left out.
        classes: K, the number of classes.
    """
    known = truth != IGNORE
    pairs = np.bincount(truth[known].astype(np.int64) * classes + mask[known], minlength=classes * classes)
    counts = pairs.reshape(classes, classes)
    both = counts.diagonal()
    either = counts.sum(0) + counts.sum(1) - both
    return [float(b / e) if e else None for b, e in zip(both, either, strict=True)]


def _reduced_confidence(confidence: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 in 0..1 -> (4h, 4w) uint8: the decoder's own resolution, as what is finer is interpolation."""
    height, width = (min(4 * g, side) for g, side in zip(grid, confidence.shape, strict=True))
    small = cv2.resize(confidence, (width, height), interpolation=cv2.INTER_AREA)
    return np.round(255 * small.clip(0, 1)).astype(np.uint8)


class _Parts:
    """Collects parts and writes the file."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self.blobs: list[bytes] = []
        self.at = 0

    def add(self, name: str, array: np.ndarray, deflate: bool = False) -> None:
        raw = np.ascontiguousarray(array).tobytes()
        packed = zlib.compress(raw, 6) if deflate else raw
        self._append(name, packed, {"type": array.dtype.name, "shape": list(array.shape), "deflated": deflate})

    def add_image(self, name: str, data: bytes, size: tuple[int, int]) -> None:
        self._append(name, data, {"type": "image", "shape": list(size), "deflated": False})

    def add_projection(self, name: str, projection: Projection) -> None:
        self.add(name, projection.values, deflate=True)
        self.add(f"{name}.scale", projection.scale)
        self.entries[name]["error"] = round(projection.error, 5)

    def file(self, header: Mapping[str, Any]) -> bytes:
        return b"".join([_with_header({**header, "parts": self.entries}), *self.blobs])

    def _append(self, name: str, data: bytes, entry: dict[str, Any]) -> None:
        self.entries[name] = {"at": self.at, "bytes": len(data), **entry}
        self.blobs.append(data.ljust(_aligned(len(data)), b"\0"))
        self.at += len(self.blobs[-1])


def _aligned(length: int) -> int:
    return -(-length // 4) * 4


def _plain(value: Any) -> Any:
    """numpy's numbers as JSON knows them."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong in a header.")
