"""Night is dark, blue and noisy, and lit where lamps are."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser import weather


def luminance(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def test_night_is_dark_blue_and_lit_ahead(street):
    dusk, night = (weather.apply(street, "night", severity) for severity in (1, 5))
    assert luminance(street).mean() > 1.5 * luminance(dusk).mean() > 1.5 * luminance(night).mean()
    beam = luminance(night)[170:235, 110:210].mean() / luminance(street)[170:235, 110:210].mean()
    away = luminance(night)[10:100, 5:60].mean() / luminance(street)[10:100, 5:60].mean()
    assert beam > 2 * away, "the headlights reach the road ahead, not the roofs"
    grey = np.full((240, 320, 3), 128, np.uint8)
    above = weather.apply(grey, "night", 2)[:60].reshape(-1, 3).mean(axis=0)
    assert above[2] > 1.1 * above[0]


def test_night_noise_grows_with_severity():
    grey = np.full((240, 320, 3), 90, np.uint8)
    grain = []
    for severity in (1, 3, 5):
        top = weather.apply(grey, "night", severity)[:40].astype(np.float32)
        grain.append((top - cv2.blur(top, (5, 5))).std() / top.mean())
    assert 0 < grain[0] < grain[1] < grain[2]


def test_lamps_glow(street):
    lit = street.copy()
    cv2.circle(lit, (250, 122), 2, (255, 60, 40), -1)
    with_lamp, without = (weather.apply(image, "night", 4)[..., 0].astype(np.float32) for image in (lit, street))
    ring = np.s_[114:118, 244:257]
    assert with_lamp[122, 250] > 200 > 100 > without[122, 250], "a lamp is as bright as by day"
    assert with_lamp[ring].mean() > without[ring].mean() + 1
