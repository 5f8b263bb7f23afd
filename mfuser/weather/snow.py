"""Snow: cooler colours, snow that settles, a white veil, flakes in the air."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser.weather.descriptions import DESCRIPTIONS
from mfuser.weather.fog import veil
from mfuser.weather.patterns import falling, field, road_noise
from mfuser.weather.scene import Scene, ramp


def render(light: np.ndarray, scene: Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Settled snow first, then the air before it. light: (H, W, 3) float32 linear RGB; returns the same."""
    h, w = scene.depth.shape
    strength = severity / 5
    white = np.clip(1.3 * scene.airlight.mean(), 0.6, 0.85) * np.float32([0.96, 0.99, 1.03])
    light = light * (1 + strength * np.float32([-0.10, -0.02, 0.08]))  # a cooler scene

    # Settled snow: patches on the road (fewer in the wheel tracks), on green, and on what ends in a level edge.
    noise, right = road_noise(rng, scene, 0.14, 0.5)
    tracks = np.exp(-(((np.abs(right) - 0.8) / 0.3) ** 2))
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

    light = veil(light, scene, 3.912 / DESCRIPTIONS["snow"].values[severity - 1], white)
    layers = ((0.8, 40, 0.4, 0.6), (2.5, 240, 0.8, 0.45), (7, 1500, 0.9, 0.3), (18, 6000, 0.85, 0.3))
    opacity = falling(rng, scene, strength**1.3, layers, size=0.008, fall=0.012)
    return light + opacity[..., None] * (np.minimum(1.25 * white, 1) - light)
