"""Fog decays contrast with distance, at the rate that its visibility names."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser import weather
from mfuser.weather import fog
from mfuser.weather.scene import estimate_scene


def luminance(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def test_fog_takes_contrast_with_distance(street):
    foggy = weather.apply(street, "fog", severity=4)

    def kept(rows: slice, columns: slice) -> float:
        return float(luminance(foggy)[rows, columns].std() / luminance(street)[rows, columns].std())

    near, far = kept(np.s_[190:238], np.s_[165:215]), kept(np.s_[112:128], np.s_[150:180])
    assert far < 0.7 * near < 0.7
    sky = foggy[5:30, 140:180].reshape(-1, 3)
    assert np.ptp(sky.mean(axis=0)) < 25, "the airlight is nearly colourless"


def test_fog_follows_koschmieder(street):
    """Contrast transmitted by the fog at severity 5, by depth, must decay at the rate that its visibility names."""
    scene = estimate_scene(street)
    light = cv2.LUT(street, weather._TO_LINEAR)
    fogged = fog.render(light, scene, 5, np.random.default_rng(0))
    share = ((fogged - scene.airlight) / (light - scene.airlight)).mean(axis=2)
    visible = (share > 0.02) & (share < 0.98) & (np.abs(light - scene.airlight).min(axis=2) > 0.05)
    rate = np.median(-np.log(share[visible]) / scene.depth[visible])
    assert visible.sum() > 5000 and 0.7 < rate * weather.DESCRIPTIONS["fog"].values[4] / 3.912 < 1.3
