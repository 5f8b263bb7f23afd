"""Fog, and the veil of scattered light that rain and snow hang over the scene as well."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser.weather.descriptions import DESCRIPTIONS
from mfuser.weather.patterns import field
from mfuser.weather.scene import Scene


def render(light: np.ndarray, scene: Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Koschmieder's law in slightly uneven banks. light: (H, W, 3) float32 linear RGB; returns the same."""
    banks = np.maximum(1 + 0.2 * field(rng, scene.depth.shape, 3) + 0.04 * field(rng, scene.depth.shape, 9), 0.4)
    visibility = DESCRIPTIONS["fog"].values[severity - 1]
    return veil(light, scene, banks * (3.912 / visibility), scene.airlight)  # 3.912 = -ln 2 %, the contrast threshold


def veil(light: np.ndarray, scene: Scene, extinction: np.ndarray | float, colour: np.ndarray) -> np.ndarray:
    """Koschmieder: light * t + colour * (1 - t), t = exp(-extinction [1/m] * depth). Adds to the scene's haze."""
    t = cv2.exp(-extinction * scene.depth)
    scene.haze = 1 - (1 - scene.haze) * t
    return (light - colour) * t[..., None] + colour
