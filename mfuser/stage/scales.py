"""The scale on which similarity is painted: fixed for a model and a stream, never that of the picture shown.

`python -m train similarity-scale` measures it and writes `similarity.json` beside the weights.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfuser.inference.analysis import TextEncoder

FILE = "similarity.json"
# What is subtracted from the cosine of a patch with a text: nothing, or the patch's mean or highest cosine with
# BACKGROUND.
SCORES = ("cosine", "above mean", "above highest")
BACKGROUND = (
    *("background", "something", "a photo", "texture", "thing", "object", "stuff", "surface", "nothing", "a picture"),
    *("other", "scene", "light", "shadow"),
)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scales:
    """Ranges of colours; at or below `low` of a range (low, high) nothing is painted.

    Attributes:
        text: stream -> range of a text's score.
        point: stream -> range of the cosine with a patch.
        scores: stream -> one of `SCORES`, of texts.
    """

    text: Mapping[str, tuple[float, float]]
    point: Mapping[str, tuple[float, float]]
    scores: Mapping[str, str]

    def background(self, encode_text: TextEncoder) -> dict[str, np.ndarray]:
        """What the score of a text subtracts.

        Args:
            encode_text: `Segmenter.encode_text`.

        Returns:
            stream -> (B, C_t) float32, of whose cosines with a patch the highest is subtracted; without the streams
            whose score is the cosine.
        """
        return {
            stream: background_vectors(encode_text(BACKGROUND, stream), score)
            for stream, score in self.scores.items()
            if score != "cosine"
        }


def background_vectors(embeddings: np.ndarray, score: str) -> np.ndarray:
    """Vectors of which the highest product with a patch is subtracted.

    Args:
        embeddings: (B, C_t) float32 of `BACKGROUND`.
        score: one of `SCORES`.

    Returns:
        (0, C_t) for "cosine", (1, C_t) for "above mean" (the mean of cosines is the cosine with the mean vector), all
        of them for "above highest".
    """
    if score == "above mean":
        return embeddings.mean(0, keepdims=True)
    return embeddings if score == "above highest" else embeddings[:0]


def read(folder: Path | None) -> Scales | None:
    """The scale of a folder of weights.

    Args:
        folder: of the weights, None where there is none.

    Returns:
        None when nobody measured one, or when the file is damaged, which the log says.
    """
    path = None if folder is None else folder / FILE
    if path is None or not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        text, point = (
            {stream: _range(entry["range"]) for stream, entry in content[kind].items()} for kind in ("text", "point")
        )
        scores = {stream: entry["score"] for stream, entry in content["text"].items()}
        if not set(scores.values()) <= set(SCORES):
            raise ValueError(f"unknown scores {sorted(set(scores.values()) - set(SCORES))}")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        logger.warning("%s cannot be used (%s): measure it again with `python -m train similarity-scale`.", path, error)
        return None
    return Scales(text, point, scores)


def header(scales: Scales | None) -> dict[str, Any]:
    """The entry "scales" of a bundle's header. Without a measured scale the browser takes the range of the picture."""
    if scales is None:
        return {"measured": False}
    return {"measured": True, "text": dict(scales.text), "point": dict(scales.point)}


def _range(pair: Any) -> tuple[float, float]:
    low, high = map(float, pair)
    if not -2 <= low < high <= 2:  # false for NaN as well
        raise ValueError(f"{pair} is no range of similarities")
    return low, high
