"""The bundled street scenes: pictures with ground truth that the project rendered itself."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from mfuser import images
from mfuser.config import ASSETS

FOLDER = ASSETS / "examples"
_AGAIN = "fetch the project's examples again, or render them again"


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

    @property
    def files(self) -> list[Path]:
        """Its pictures: the scene, and the same one in each weather."""
        return [self.path, *(rendered.path for rendered in self.weather.values())]


def find(folder: Path = FOLDER) -> list[Example]:
    """Examples that `examples.json` of the folder lists, in its order; an empty list when there is no such file.

    An entry has "file", "title", "alt", and perhaps "label" and "weather": {condition: {"file": ..., "text": ...}}.

    Raises:
        ImageError: the list is damaged, or a picture or its labels are missing or damaged; the message names the file.
    """
    listing = folder / "examples.json"
    if not listing.is_file():
        return []
    try:
        examples = [_example(folder, entry) for entry in json.loads(listing.read_text(encoding="utf-8"))]
    except images.ImageError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise images.ImageError(f"The list of examples {listing} is damaged ({what}): {_AGAIN}.") from error
    with ThreadPoolExecutor() as pool:
        list(pool.map(_check, [path for example in examples for path in example.files]))
    return examples


def _check(path: Path) -> None:
    try:
        images.load(path)
    except images.ImageError as error:
        raise images.ImageError(f"The example {path} cannot be used: {error}") from error


def _example(folder: Path, entry: dict) -> Example:
    return Example(
        folder / entry["file"],
        entry["title"],
        entry["alt"],
        _labels(folder / entry["label"]) if entry.get("label") else None,
        {name: Rendered(folder / w["file"], w["text"]) for name, w in entry.get("weather", {}).items()},
    )


def _labels(path: Path) -> np.ndarray:
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
        raise images.ImageError(f"Labels {path} must be an 8-bit PNG of trainIds: {_AGAIN}.")
    return labels


def fitted(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels at (H, W) of a smaller or larger copy of their picture, without inventing classes."""
    return labels if labels.shape == size else cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
