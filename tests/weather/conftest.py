"""The street that weather is put on."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

H, W, HORIZON = 240, 320, 110


def _draw(brightness: float = 1.0) -> np.ndarray:
    """(240, 320, 3) uint8: blue sky, two rows of house fronts, a grey road with lane marks, one red car on the left."""
    rng = np.random.default_rng(3)
    image = np.zeros((H, W, 3), np.float32)
    image[:HORIZON] = (150, 195, 240)
    image[HORIZON:] = (95, 95, 98)
    for side, colour in ((0, (150, 100, 80)), (W, (120, 125, 110))):
        front = [(side, 10), (W // 2, HORIZON), (side, H - 60)]
        cv2.fillPoly(image, [np.array(front, np.int32)], colour)
        for part in np.linspace(0.05, 0.85, 9):  # windows, smaller with distance
            x = int(side + (W // 2 - side) * part)
            half = int(40 * (1 - part))
            corners = (x - half // 5, HORIZON - half), (x + half // 5, HORIZON - half // 4)
            cv2.rectangle(image, *corners, (40, 40, 45), -1)
    for near, far in ((0.95, 0.7), (0.6, 0.48), (0.4, 0.34), (0.28, 0.25)):  # lane marks
        ends = [(W // 2 + int(50 * part), HORIZON + int((H - HORIZON) * part)) for part in (near, far)]
        cv2.line(image, *ends, (230, 230, 225), 3)
    cv2.rectangle(image, (70, 125), (115, 165), (200, 30, 30), -1)
    image += rng.normal(0, 4, image.shape)
    return np.clip(image * brightness, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def draw_street() -> Callable[..., np.ndarray]:
    """Draws the street at a brightness, 1.0 by default."""
    return _draw


@pytest.fixture
def street() -> np.ndarray:
    return _draw()
