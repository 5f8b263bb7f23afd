"""The course of the road: a line with bends and rises, and positions beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BEHIND, AHEAD = -40.0, 260.0


@dataclass
class Road:
    """bend: curvature in 1/m of the two halves of the road. rise: height in metres gained at 200 m.

    (s, t) are metres along the middle line from the camera, and to its right.
    """

    bend: tuple[float, float] = (0.0, 0.0)
    turn_at: float = 60.0
    rise: float = 0.0

    def __post_init__(self) -> None:
        self._s = np.arange(BEHIND, AHEAD + 0.5, 0.5)
        # The bend begins ahead of the camera and changes smoothly: a road is no circle.
        first, second = self.bend
        grown = _smooth((self._s - 5) / 40)
        change = _smooth((self._s - self.turn_at) / 60)
        heading = np.cumsum(-(first * grown + (second - first) * change)) * 0.5
        heading -= np.interp(0.0, self._s, heading)
        self._heading = heading
        x, y = np.cumsum(-np.sin(heading)) * 0.5, np.cumsum(np.cos(heading)) * 0.5
        self._x, self._y = x - np.interp(0.0, self._s, x), y - np.interp(0.0, self._s, y)

    def heading(self, s):
        """Direction of the road in radians, counter-clockwise from +y."""
        return np.interp(s, self._s, self._heading)

    def height(self, s):
        """Metres above the camera's road."""
        return self.rise * _smooth((np.asarray(s, np.float64) - 20) / 200)

    def at(self, s, t, z=0.0) -> np.ndarray:
        """World position of (s, t) at z metres above the road there; broadcasts, (..., 3)."""
        s, t, z = np.broadcast_arrays(np.asarray(s, np.float64), np.asarray(t, np.float64), np.asarray(z, np.float64))
        h = self.heading(s)
        x = np.interp(s, self._s, self._x) + t * np.cos(h)
        y = np.interp(s, self._s, self._y) + t * np.sin(h)
        return np.stack([x, y, z + self.height(s)], axis=-1)


def _smooth(x):
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
