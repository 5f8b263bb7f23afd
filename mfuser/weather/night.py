"""Night: daylight taken away, the own headlights, lamps that glow, the noise of a sensor short of light."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser.weather.descriptions import DESCRIPTIONS
from mfuser.weather.scene import Scene, ramp


def render(light: np.ndarray, scene: Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Darkness over other weather. light: (H, W, 3) float32 linear RGB; returns the same, noise below 0 included."""
    h, w = scene.depth.shape
    x0, y0 = scene.vanishing
    rows, columns = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)[None]
    lamps, glow = _lamps(light, scene)

    daylight = 2.0 ** -DESCRIPTIONS["night"].values[severity - 1]
    bare = 1 - scene.haze  # lamps light surfaces; scattering air before them shows a soft cone instead
    ambient = daylight * (1 - 0.7 * scene.sky * bare)
    # Low beams: two lobes, cut off at the horizon, fading with distance.
    lobes = sum(np.exp(-((((columns - x0) / scene.focal - side) / 0.3) ** 2)) for side in (-0.15, 0.15))
    beam = lobes * (0.05 + 0.95 * ramp(rows, y0 - 0.01 * scene.focal, y0 + 0.05 * scene.focal))
    beam *= 0.8 * (0.35 + 0.13 * severity) / (1 + (scene.depth / 20) ** 2) * (1 - scene.sky)  # the iris opens at night
    across, up = (columns - x0) / scene.focal, (rows - y0) / scene.focal
    beam = beam * bare + 0.12 * (1 - bare) * np.exp(-((across / 0.4) ** 2)) * np.exp(-(((up - 0.1) / 0.25) ** 2))
    blue, warm = np.float32([0.72, 0.88, 1.25]), np.float32([1.0, 0.92, 0.76])
    town = 0.006 * np.exp(-np.maximum(y0 - rows, 0) / (0.15 * scene.focal)) * scene.sky  # lit haze over the roofs
    dark = light * (ambient[..., None] * blue + beam[..., None] * warm) + town[..., None] * warm
    dark += lamps[..., None] * 0.8 * light
    dark += glow

    noise = rng.standard_normal(light.shape, dtype=np.float32)
    gain = severity / 5
    return dark + noise * np.sqrt(np.maximum(dark, 0) * (6e-4 * gain) + (2e-3 * gain) ** 2)  # photons, electronics


def _lamps(light: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """What could be a lamp (small, brighter than its surroundings, off road and sky): (H, W) and its glow (H, W, 3)."""
    h, w = scene.depth.shape
    size = (min(w, 480), max(8, min(h, 480 * h // w)))
    small = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
    other = cv2.resize(np.maximum(scene.sky, scene.ground), size, interpolation=cv2.INTER_AREA)
    other = cv2.dilate(other, np.ones((5, 5), np.uint8))
    value = small.max(axis=2)
    reach = max(3, size[0] // 48)
    along, down = (
        cv2.morphologyEx(value, cv2.MORPH_OPEN, np.ones(kernel, np.uint8)) for kernel in ((1, reach), (reach, 1))
    )
    spot = value - np.maximum(along, down)  # small both ways: an edge or a line survives one of the openings
    vivid = ramp(small[..., :2].max(axis=2) - small[..., 2], 0.15, 0.4)  # red, amber, green; blue is sky
    # Colourless specks high up are sky between leaves; lower down they are head lamps and lit windows.
    low = np.arange(size[1], dtype=np.float32)[:, None] * h / size[1] - scene.vanishing[1]
    plausible = np.maximum(vivid, ramp(low / scene.focal, -0.12, -0.05) * 0.8)
    lamps = ramp(spot, 0.12, 0.35) * ramp(value, 0.3, 0.7) * plausible * (1 - other)
    lit = small * lamps[..., None] * np.float32([1.0, 0.85, 0.6])
    glow = sum(
        weight * cv2.GaussianBlur(lit, (0, 0), size[0] * sigma)
        for sigma, weight in ((0.004, 0.6), (0.012, 0.5), (0.04, 0.5))
    )
    return cv2.resize(lamps, (w, h)), cv2.resize(glow, (w, h))
