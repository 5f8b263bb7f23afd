"""The bundled street scenes: pictures with ground truth that the project rendered itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from mfuser import images
from mfuser.config import ASSETS

FOLDER = ASSETS / "examples"


@dataclass(frozen=True)
class Rendered:
    """The scene of an example in another weather. text: what that weather is, for people."""

    path: Path
    text: str


@dataclass(frozen=True)
class Example:
    """title: for the gallery. alt: what the picture shows. labels: (H, W) uint8 trainIds, 255 = unlabelled, or None.
    weather: condition -> the same scene, with the same labels, rendered in it."""

    path: Path
    title: str
    alt: str
    labels: np.ndarray | None = None
    weather: dict[str, Rendered] = field(default_factory=dict)


def find(folder: Path = FOLDER) -> list[Example]:
    """Examples that `examples.json` of the folder lists, in its order; an empty list when there is no such file.

    An entry has "file", "title", "alt", and perhaps "label" and "weather": {condition: {"file": ..., "text": ...}}.
    Raises images.ImageError for unreadable labels.
    """
    listing = folder / "examples.json"
    if not listing.is_file():
        return []
    return [
        Example(
            folder / entry["file"],
            entry["title"],
            entry["alt"],
            _labels(folder / entry["label"]) if entry.get("label") else None,
            {name: Rendered(folder / w["file"], w["text"]) for name, w in entry.get("weather", {}).items()},
        )
        for entry in json.loads(listing.read_text(encoding="utf-8"))
    ]


def _labels(path: Path) -> np.ndarray:
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
        raise images.ImageError(f"Labels {path.name} must be an 8-bit PNG of trainIds: render the examples again.")
    return labels


def fitted(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels at (H, W) of a smaller or larger copy of their picture, without inventing classes."""
    return labels if labels.shape == size else cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
