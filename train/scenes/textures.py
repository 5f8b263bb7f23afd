"""A texture under the brush: what facades, leaves, people and signs are painted on, in metres."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from train.scenes import HOLE, Colour, Texture


class Plane:
    """A texture under the brush, in metres from its lower left corner; unpainted texels stay see-through."""

    def __init__(self, width: float, height: float, scale: float, base: Colour, label: int = HOLE) -> None:
        self.scale, self.height = scale, height
        size = (max(2, round(height * scale)), max(2, round(width * scale)))
        self.colour = np.empty((*size, 3), np.uint8)
        self.colour[:] = np.clip(base, 0, 255).astype(np.uint8)
        self.label = np.full(size, label, np.uint8)

    def _pixels(self, points: Sequence[Sequence[float]]) -> np.ndarray:
        x, y = np.asarray(points, np.float64).T
        return np.rint(np.stack([x, self.height - y], axis=1) * self.scale * 16).astype(np.int32)

    def fill(self, points: Sequence[Sequence[float]], colour: Colour, label: int) -> None:
        cv2.fillPoly(self.colour, [self._pixels(points)], rgb(colour), cv2.LINE_AA, shift=4)
        cv2.fillPoly(self.label, [self._pixels(points)], label, shift=4)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, label: int) -> None:
        self.fill([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, label)

    def stroke(self, points: Sequence[Sequence[float]], width: float, colour: Colour, label: int) -> None:
        """A line with round ends."""
        thick = max(1, round(width * self.scale))
        cv2.polylines(self.colour, [self._pixels(points)], False, rgb(colour), thick, cv2.LINE_AA, shift=4)
        cv2.polylines(self.label, [self._pixels(points)], False, label, thick, shift=4)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour, label: int, ring: float = 0) -> None:
        centre = tuple(int(v) for v in self._pixels([(x, y)])[0])
        axes = (max(1, round(rx * self.scale * 16)), max(1, round(ry * self.scale * 16)))
        thick = max(1, round(ring * self.scale)) if ring else -1
        cv2.ellipse(self.colour, (*centre,), axes, 0, 0, 360, rgb(colour), thick, cv2.LINE_AA, shift=4)
        cv2.ellipse(self.label, (*centre,), axes, 0, 0, 360, label, thick, shift=4)

    def texture(self, rough: np.ndarray | None = None, shade: np.ndarray | None = None) -> Texture:
        """Finish: rough (h, w) adds grey levels, shade (h, w) or (1, w) multiplies."""
        colour = self.colour.astype(np.float32)
        if rough is not None:
            colour += rough[..., None]
        if shade is not None:
            colour *= shade[..., None]
        return Texture(colour.clip(0, 255).astype(np.uint8), self.label)


def rgb(colour: Colour) -> tuple[int, int, int]:
    """A colour as OpenCV takes it: whole numbers, cut to 0..255."""
    return tuple(min(255, max(0, int(c))) for c in colour)
