"""Fog, and the veil of scattered light that rain and snow lay over the scene as well."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser.weather.descriptions import DESCRIPTIONS
from mfuser.weather.patterns import field
from mfuser.weather.scene import Scene

# Physics: -ln 2 %, the contrast that an eye still sees at the visibility (Koschmieder 1924).
CONTRAST_THRESHOLD = 3.912
# Taste: (cells, share of the extinction) of the wide and of the small banks, and the least share that stays.
BANKS = ((3, 0.2), (9, 0.04))
LEAST_BANK = 0.4


def render(light: np.ndarray, scene: Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Koschmieder's law in slightly uneven banks.

    Args:
        light: (H, W, 3) float32 linear RGB.
        scene: of the picture. Its haze grows.
        severity: 1 to 5.
        rng: places the banks.

    Returns:
        (H, W, 3) float32 linear RGB.
    """
    (wide, much), (small, little) = BANKS
    shape = scene.depth.shape
    banks = np.maximum(1 + much * field(rng, shape, wide) + little * field(rng, shape, small), LEAST_BANK)
    visibility = DESCRIPTIONS["fog"].values[severity - 1]
    return veil(light, scene, banks * (CONTRAST_THRESHOLD / visibility), scene.airlight)


def veil(light: np.ndarray, scene: Scene, extinction: np.ndarray | float, colour: np.ndarray) -> np.ndarray:
    """Koschmieder's law (1924): light * t + colour * (1 - t), with t = exp(-extinction * depth).

    Args:
        light: (H, W, 3) float32 linear RGB.
        scene: of the picture. The veil is added to its haze.
        extinction: (H, W) or one number, in 1/m.
        colour: linear RGB of the scattered light.

    Returns:
        (H, W, 3) float32 linear RGB.
    """
    t = cv2.exp(-extinction * scene.depth)
    scene.haze = 1 - (1 - scene.haze) * t
    return (light - colour) * t[..., None] + colour
