"""Confidences of the pixels, kept in 16 bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

STEPS = 65535


class Confidence(Mapping[str, np.ndarray]):
    """stream -> (H, W) float32 in [0, 1], within 1 / 131070 of what was computed. Every access makes a new array.

    Args:
        fields: stream -> (H, W) float in [0, 1].
    """

    def __init__(self, fields: Mapping[str, np.ndarray]):
        self._kept = {s: np.rint(STEPS * field.clip(0, 1)).astype(np.uint16) for s, field in fields.items()}

    def __getitem__(self, stream: str) -> np.ndarray:
        return self._kept[stream].astype(np.float32) / STEPS

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Size of the kept arrays in bytes."""
        return sum(kept.nbytes for kept in self._kept.values())
