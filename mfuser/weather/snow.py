"""Snow: cooler colours, settled snow, a white veil, flakes in the air."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser.weather.descriptions import DESCRIPTIONS
from mfuser.weather.fog import CONTRAST_THRESHOLD, veil
from mfuser.weather.patterns import falling, field, road_noise
from mfuser.weather.scene import Scene, ramp

# Taste: (metres away, flakes at full share, opacity, blur of its own width) of four distances.
FLAKES = ((0.8, 40, 0.4, 0.6), (2.5, 240, 0.8, 0.45), (7, 1500, 0.9, 0.3), (18, 6000, 0.85, 0.3))
FLAKE_SIZE = 0.008  # metres, taste: a cluster of crystals
FLAKE_FALL = 0.012  # metres while the shutter is open, taste: at 1/60 s a fall of 0.7 m/s
TINT = np.float32([-0.10, -0.02, 0.08])  # taste: a cooler scene, added to RGB factors of 1
WHITE = np.float32([0.96, 0.99, 1.03])  # taste: RGB of snow under a grey sky
WHEELS, WHEEL_WIDTH = 0.8, 0.3  # metres right and left of the camera, and half the width of a track; taste


def render(light: np.ndarray, scene: Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Settled snow first, then the air in front of it.

    Args:
        light: (H, W, 3) float32 linear RGB.
        scene: of the picture. Its haze grows.
        severity: 1 to 5.
        rng: places settled snow and flakes.

    Returns:
        (H, W, 3) float32 linear RGB.
    """
    h, w = scene.depth.shape
    strength = severity / 5
    white = np.clip(1.3 * scene.airlight.mean(), 0.6, 0.85) * WHITE
    light = light * (1 + strength * TINT)

    # Settled snow: patches on the road (fewer in the wheel tracks), on green, and on what ends in a level edge.
    noise, right = road_noise(rng, scene, 0.14, 0.5)
    tracks = np.exp(-(((np.abs(right) - WHEELS) / WHEEL_WIDTH) ** 2))
    cover = 1.3 * strength - 0.25
    grey = cv2.cvtColor(light, cv2.COLOR_RGB2GRAY)
    soft = cv2.GaussianBlur(grey, (0, 0), max(1.0, h / 300))
    level, upright = cv2.Sobel(soft, cv2.CV_32F, 0, 1), np.abs(cv2.Sobel(soft, cv2.CV_32F, 1, 0))
    ledge = ramp(level / (soft + 0.05) - upright / (soft + 0.05), 0.05, 0.6)
    green = ramp((light[..., 1] - 0.5 * (light[..., 0] + light[..., 2])) / (grey + 0.02), 0.05, 0.3)
    rough = field(rng, (h, w), 24) + field(rng, (h, w), 150)
    on_road = scene.ground * ramp(0.5 * noise + 0.1 * rough + 2.4 * cover - 1.1 * tracks, 0.4, 2.0)
    on_things = (1 - scene.ground) * np.maximum(0.8 * ledge, 0.6 * green) * ramp(0.3 * rough + 2 * cover, 0.2, 2.2)
    settled = ((on_road + on_things) * (1 - scene.sky) * 0.92)[..., None]
    shading = np.clip(grey / (cv2.GaussianBlur(soft, (0, 0), max(2.0, h / 60)) + 0.02), 0.65, 1.2)[..., None]
    light = light + settled * (0.95 * white * shading - light)

    light = veil(light, scene, CONTRAST_THRESHOLD / DESCRIPTIONS["snow"].values[severity - 1], white)
    opacity = falling(rng, scene, strength**1.3, FLAKES, size=FLAKE_SIZE, fall=FLAKE_FALL)
    return light + opacity[..., None] * (np.minimum(1.25 * white, 1) - light)
