"""Snow brightens, cools and settles, and its flakes grow in number."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser import weather
from mfuser.weather.patterns import falling
from mfuser.weather.scene import estimate_scene

H, W, HORIZON = 240, 320, 110


def luminance(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def test_snow_brightens_cools_and_settles(street):
    light, heavy = (weather.apply(street, "snow", severity) for severity in (1, 5))
    assert luminance(street).mean() < luminance(light).mean() < luminance(heavy).mean()

    def saturation(image: np.ndarray) -> float:
        return float((image.max(axis=2) - image.min(axis=2))[HORIZON:].mean())

    assert saturation(heavy) < 0.6 * saturation(street)
    cooled = weather.apply(np.full((240, 320, 3), 128, np.uint8), "snow", 3).reshape(-1, 3).mean(axis=0)
    assert cooled[2] > cooled[1] > cooled[0]
    road = np.s_[200:238, 20:300]
    settled = luminance(heavy)[road].mean() - luminance(street)[road].mean()
    assert settled > 40 and luminance(light)[road].mean() - luminance(street)[road].mean() < 20


def test_more_flakes_with_severity():
    dark = np.full((240, 320, 3), 30, np.uint8)
    scene = estimate_scene(dark)
    layers = ((3, 400, 0.9, 0.3),)
    few, many = (falling(np.random.default_rng(0), scene, share, layers, size=0.02, fall=0.02) for share in (0.2, 1.0))
    assert 2 * (few > 0.3).sum() < (many > 0.3).sum()
    assert np.all(many >= few - 0.35), "heavier snow keeps the flakes of lighter snow"
