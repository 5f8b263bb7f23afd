"""Rain: a dimmed scene, a wet road that mirrors it, streaks in the air, drops on the lens."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser.weather.descriptions import DESCRIPTIONS
from mfuser.weather.fog import veil
from mfuser.weather.patterns import falling, field, road_noise
from mfuser.weather.scene import CAMERA_HEIGHT, Scene, ramp

# Physics: extinction by rain in 1/m, as a power of the rainfall R in mm/h. With the drop sizes of Marshall and Palmer
# (1948), N0 = 8000 per m3 and mm and Lambda = 4.1 R ^ -0.21 per mm, it is pi N0 / Lambda ^ 3 = 0.365e-3 R ^ 0.63 when a
# drop takes twice its cross-section out of the light. These two numbers stay within 11 % of that from 3 to 70 mm/h.
EXTINCTION, EXTINCTION_EXPONENT = 0.312e-3, 0.67
# Physics: reflectance of water from straight above, ((n - 1) / (n + 1)) ^ 2 with n = 1.33, and the exponent of the
# approximation of Fresnel's law by Schlick (1994).
WATER_REFLECTANCE, SCHLICK_EXPONENT = 0.02, 5
ROUGH_ASPHALT = 0.65  # taste: share of the mirror image that rough asphalt keeps
WET_ABSORPTION = 0.4  # taste: wet asphalt is darker by this share. That it is darker is physics (Angstrom 1925)
# Taste: (metres away, streaks at full share, opacity, blur of its own width) of four distances.
STREAKS = ((1.5, 60, 0.22, 0.9), (4, 400, 0.28, 0.4), (10, 2000, 0.4, 0.3), (25, 5000, 0.4, 0.3))
FULL_RATE, STREAK_EXPONENT = 70, 0.6  # mm/h at which all streaks fall, and how their number grows; taste
DROP_SIZE = 0.003  # metres, taste: the large drops, which are those that can be seen
# Metres that a drop falls while the shutter is open. Physics: a drop of 3 mm falls at 8.1 m/s (Gunn and Kinzer 1949).
# Taste: the exposure, about 1/60 s.
DROP_FALL = 0.14
# Physics: a drop collects light from a wide field, so that it is brighter than what is behind it (Garg and Nayar 2007).
# Taste: by how much, relative to the clouds.
STREAK_BRIGHTNESS = 1.15
LENS_DROPS = (0, 0, 0, 18, 45)  # drops on the lens at severity 1 to 5, taste


def render(light: np.ndarray, scene: Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Clouds, wet road, haze, streaks and drops on the lens, in this order.

    Args:
        light: (H, W, 3) float32 linear RGB.
        scene: of the picture. Its haze grows.
        severity: 1 to 5.
        rng: places clouds, puddles, streaks and drops.

    Returns:
        (H, W, 3) float32 linear RGB.
    """
    h, w = scene.depth.shape
    rate = DESCRIPTIONS["rain"].values[severity - 1]
    strength = severity / 5
    cloud = scene.airlight.mean() * 0.8
    clouds = cloud * np.maximum(1 + 0.12 * field(rng, (h, w), 5) + 0.06 * field(rng, (h, w), 14), 0.5)
    light = light + (scene.sky * (0.4 + 0.5 * strength))[..., None] * (clouds[..., None] - light)
    grey = cv2.cvtColor(light, cv2.COLOR_RGB2GRAY)[..., None]
    light = (light + 0.3 * strength * (grey - light)) / (1 + 0.7 * strength * grey)  # no sun: highlights and colour go
    light = light * (1 - 0.25 * strength)
    cloud *= (1 - 0.25 * strength) / (1 + 0.7 * strength * cloud)

    # Wet road: darker by itself, and a mirror by Fresnel's law (Schlick), blurred along the line of sight by roughness.
    noise, _ = road_noise(rng, scene, 0.7, 2.0)
    wet = scene.ground * (0.35 + 0.65 * strength) * ramp(noise, -1.6 - strength, 0.4 - strength)
    sine = CAMERA_HEIGHT / np.hypot(CAMERA_HEIGHT, scene.depth)
    mirror = ROUGH_ASPHALT * wet * (WATER_REFLECTANCE + (1 - WATER_REFLECTANCE) * (1 - sine) ** SCHLICK_EXPONENT)
    rough = cv2.resize(light, (min(w, 480), max(8, min(h, 480 * h // w))), interpolation=cv2.INTER_AREA)
    rows = np.abs(2 * scene.vanishing[1] / h * len(rough) - np.arange(len(rough))).astype(int).clip(0, len(rough) - 1)
    flipped = cv2.GaussianBlur(rough[rows], (0, 0), sigmaX=len(rough) / 150, sigmaY=len(rough) / 35)
    flipped = cv2.resize(flipped, (w, h))
    light = light * (1 - WET_ABSORPTION * wet)[..., None]
    light += mirror[..., None] * (flipped - light)

    light = veil(light, scene, EXTINCTION * rate**EXTINCTION_EXPONENT, np.float32(cloud))
    opacity = falling(rng, scene, (rate / FULL_RATE) ** STREAK_EXPONENT, STREAKS, size=DROP_SIZE, fall=DROP_FALL)
    light += opacity[..., None] * (np.float32(STREAK_BRIGHTNESS * cloud) - light)
    return _lens_drops(light, rng, LENS_DROPS[severity - 1])


def _lens_drops(light: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Drops on the lens: each shows the scene around it small, upside down, and has a dark rim.

    That is physics, as a drop is a wide-angle lens (Garg and Nayar 2007). The sizes and tones are taste.
    """
    h, w = light.shape[:2]
    calm = cv2.resize(light, (max(2, w // 4), max(2, h // 4)), interpolation=cv2.INTER_AREA)
    for x, y, size in rng.uniform(0, 1, (60, 3))[:count]:
        r = max(2, round(h * (0.006 + 0.024 * size**3)))
        cx, cy = round(x * w), round(y * h)
        x0, x1, y0, y1 = max(0, cx - r), min(w, cx + r), max(0, cy - r), min(h, cy + r)
        reach = 7 * r
        near = calm[max(0, cy - reach) // 4 : (cy + reach) // 4 + 1, max(0, cx - reach) // 4 : (cx + reach) // 4 + 1]
        seen = cv2.resize(near[::-1, ::-1], (2 * r, 2 * r), interpolation=cv2.INTER_LINEAR)
        v, u = np.mgrid[-r:r, -r:r].astype(np.float32) / r
        radius = np.hypot(u * 1.08, v * (1 + 0.1 * u))
        seen = seen * (1.08 - 0.4 * ramp(radius, 0.3, 1.0))[..., None]
        inside = (1 - ramp(radius, 0.6, 1.0))[..., None] * 0.85
        cut = np.s_[y0 - cy + r : y1 - cy + r, x0 - cx + r : x1 - cx + r]
        light[y0:y1, x0:x1] += inside[cut] * (seen[cut] - light[y0:y1, x0:x1])
    return light
