"""Night: daylight taken away, the car's own headlights, lamps that glow, the noise of a sensor short of light."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser.weather.descriptions import DESCRIPTIONS
from mfuser.weather.scene import Scene, ramp

# Physics: light falls with the square of the distance. Taste: metres at which half of the headlights' light is left.
BEAM_REACH = 20
# Taste: where the two lobes of the headlights are and how wide, as tangents of the angle to the vanishing point.
LOBES, LOBE_WIDTH = (-0.15, 0.15), 0.3
MOONLIGHT = np.float32([0.72, 0.88, 1.25])  # taste: RGB factors of what is left of the daylight, bluer
LAMPLIGHT = np.float32([1.0, 0.92, 0.76])  # taste: RGB of headlights and lit haze, warm
TOWN = 0.006  # taste: linear intensity of the lit haze over the roofs
# Physics: the variance of photon noise is proportional to the light, that of the electronics is constant (Foi et al.
# 2008). Taste: both sizes, at severity 5.
PHOTON_NOISE, READ_NOISE = 6e-4, 2e-3
GLOW = ((0.004, 0.6), (0.012, 0.5), (0.04, 0.5))  # (width as a share of the picture's, weight) of a lamp's glow, taste


def render(light: np.ndarray, scene: Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Darkness over other weather.

    Args:
        light: (H, W, 3) float32 linear RGB.
        scene: of the picture.
        severity: 1 to 5.
        rng: makes the noise.

    Returns:
        (H, W, 3) float32 linear RGB, where noise may be below 0.
    """
    h, w = scene.depth.shape
    x0, y0 = scene.vanishing
    rows, columns = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)[None]
    lamps, glow = _lamps(light, scene)

    daylight = 2.0 ** -DESCRIPTIONS["night"].values[severity - 1]
    bare = 1 - scene.haze  # lamps light surfaces; scattering air before them shows a soft cone instead
    ambient = daylight * (1 - 0.7 * scene.sky * bare)
    # Low beams: two lobes, cut off at the horizon, fading with distance.
    lobes = sum(np.exp(-((((columns - x0) / scene.focal - side) / LOBE_WIDTH) ** 2)) for side in LOBES)
    beam = lobes * (0.05 + 0.95 * ramp(rows, y0 - 0.01 * scene.focal, y0 + 0.05 * scene.focal))
    beam *= (
        0.8 * (0.35 + 0.13 * severity) / (1 + (scene.depth / BEAM_REACH) ** 2) * (1 - scene.sky)
    )  # the iris opens at night
    across, up = (columns - x0) / scene.focal, (rows - y0) / scene.focal
    beam = beam * bare + 0.12 * (1 - bare) * np.exp(-((across / 0.4) ** 2)) * np.exp(-(((up - 0.1) / 0.25) ** 2))
    town = TOWN * np.exp(-np.maximum(y0 - rows, 0) / (0.15 * scene.focal)) * scene.sky
    dark = light * (ambient[..., None] * MOONLIGHT + beam[..., None] * LAMPLIGHT) + town[..., None] * LAMPLIGHT
    dark += lamps[..., None] * 0.8 * light
    dark += glow

    noise = rng.standard_normal(light.shape, dtype=np.float32)
    gain = severity / 5
    return dark + noise * np.sqrt(np.maximum(dark, 0) * (PHOTON_NOISE * gain) + (READ_NOISE * gain) ** 2)


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
    glow = sum(weight * cv2.GaussianBlur(lit, (0, 0), size[0] * sigma) for sigma, weight in GLOW)
    return cv2.resize(lamps, (w, h)), cv2.resize(glow, (w, h))
