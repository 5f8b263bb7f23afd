"""Rain falls upright, dims the scene, wets the road and the lens."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser import weather
from mfuser.weather.rain import _lens_drops

H, W, HORIZON = 240, 320, 110


def luminance(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def test_rain_streaks_fall_and_the_scene_dims(draw_street):
    flat = np.full((360, 480, 3), 60, np.uint8)
    thin = []
    for severity in (1, 3):
        rainy = weather.apply(flat, "rain", severity)[:170, :, 1]
        fine = rainy.astype(np.float32) - cv2.medianBlur(rainy, 5)
        thin.append((fine > 4).mean())
    assert 0.001 < thin[0] < thin[1] < 0.3, "more streaks in heavier rain"
    assert np.abs(np.diff(fine, axis=1)).mean() > 1.5 * np.abs(np.diff(fine, axis=0)).mean(), "streaks are upright"
    bright = draw_street()
    dimmed = [luminance(weather.apply(bright, "rain", severity)).mean() for severity in (1, 3, 5)]
    assert luminance(bright).mean() > dimmed[0] > dimmed[1] > dimmed[2]


def test_wet_road_mirrors_the_scene(street):
    """Paint the fronts on one side green: the wet road on that side must turn greener than the dry one did."""
    painted = street.copy()
    painted[60:HORIZON, W // 2 + 25 :] = (40, 220, 60)
    wet, other = (weather.apply(image, "rain", 4).astype(np.float32) for image in (painted, street))
    patch = np.s_[125:150, 175:200]
    greener = (wet - other)[patch][..., 1].mean() - (wet - other)[patch][..., [0, 2]].mean()
    assert greener > 2 and np.array_equal(painted[patch], street[patch])


def test_lens_drops_come_with_heavy_rain():
    light = np.random.default_rng(0).random((120, 160, 3), dtype=np.float32)
    none = _lens_drops(light.copy(), np.random.default_rng(0), 0)
    some = _lens_drops(light.copy(), np.random.default_rng(0), 40)
    assert np.array_equal(none, light)
    assert 0.01 < (np.abs(some - light).max(axis=2) > 0.02).mean() < 0.5
