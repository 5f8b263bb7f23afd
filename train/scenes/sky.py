"""Sky and light: where the sun stands, how the sky shines in each direction, which clouds drift in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from train.scenes.textures import fractal


@dataclass(frozen=True)
class Sky:
    """elevation, azimuth of the sun in degrees (azimuth clockwise from ahead). cover: share of clouds, 1 is overcast.
    haze: how milky the air is. level: brightness of the whole. night: 1 after sunset. seed: of the clouds."""

    elevation: float
    azimuth: float
    cover: float
    haze: float = 0.3
    level: float = 1.0
    night: float = 0.0
    seed: int = 0

    @property
    def sun(self) -> np.ndarray:
        e, a = np.radians([self.elevation, self.azimuth])
        return np.array([np.cos(e) * np.sin(a), np.cos(e) * np.cos(a), np.sin(e)])

    @property
    def sun_colour(self) -> np.ndarray:
        """Redder when low."""
        path = 1 / max(np.sin(np.radians(self.elevation)), 0.06)
        return np.exp(-np.array([0.06, 0.12, 0.25]) * path) / np.exp(-0.06)

    @property
    def sun_strength(self) -> float:
        """Irradiance in the unit in which an open sky has a radiance of about 0.3; none below clouds."""
        return self.level * (1 - self.night) * 3.6 * max(0.0, 1 - self.cover * 1.25) if self.cover < 0.8 else 0.0


def radiance(sky: Sky, directions: np.ndarray) -> np.ndarray:
    """Linear light of the sky in (..., 3) directions of any length, (..., 3) float32."""
    d = np.asarray(directions, np.float32)
    d = d / np.linalg.norm(d, axis=-1, keepdims=True)
    up = d[..., 2].clip(0, 1)[..., None]
    sunny = np.clip(sky.elevation / 25, 0.12, 1)
    zenith = np.array([0.075, 0.155, 0.335], np.float32) * (0.4 + 0.6 * sunny)
    rim = np.array([0.43, 0.50, 0.60], np.float32) * (0.45 + 0.55 * sunny)
    warm = np.array([1.25, 0.85, 0.5], np.float32)
    low = np.clip(1 - sky.elevation / 22, 0, 1)
    towards = (d @ sky.sun.astype(np.float32))[..., None]
    rim = rim * (1 - 0.5 * low + 0.5 * low * warm) if low > 0 else rim
    blend = np.exp(-up * (5.5 - 3.0 * sky.haze))
    light = zenith * (1 - blend) + rim * blend
    glow = np.clip(towards, 0, 1)
    light = (
        light
        + sky.sun_colour.astype(np.float32)
        * (0.5 * glow**8 + 1.6 * glow**60 + 6.0 * glow**900)
        * (0.35 + sky.haze)
        * 0.6
    )
    if sky.cover > 0.02:
        light = _clouds(sky, d, up, light, towards)
    dark = np.array([0.0032, 0.0046, 0.0088], np.float32) + np.array([0.020, 0.013, 0.007], np.float32) * np.exp(
        -up * 5
    )
    return (light * (1 - sky.night) * sky.level + dark * sky.night).astype(np.float32)


def _clouds(sky: Sky, d: np.ndarray, up: np.ndarray, light: np.ndarray, towards: np.ndarray) -> np.ndarray:
    field = _field(sky.seed)
    size = field.shape[0]
    # A layer overhead, seen in perspective.
    scale = 0.62 / (up[..., 0] + 0.12)
    u, v = d[..., 0] * scale, d[..., 1] * scale

    def look(shift: float) -> np.ndarray:
        x, y = ((u + shift * sky.sun[0]) * size * 0.22) % size, ((v + shift * sky.sun[1]) * size * 0.22) % size
        width = u.shape[-1] if u.ndim > 1 else 1
        flat = (np.reshape(x, (-1, width)).astype(np.float32), np.reshape(y, (-1, width)).astype(np.float32))
        return cv2.remap(field, *flat, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).reshape(u.shape)

    here, sunward = look(0.0)[..., None], look(0.10)[..., None]
    edge = 1.9 - 3.4 * sky.cover
    density = _smooth((here - edge) / 1.1)
    thick = np.clip((here - edge) / 2.2, 0, 1)
    shade = np.clip(0.5 + 0.5 * (here - sunward), 0, 1)  # bright on the side of the sun
    open_sky = 1 - 0.55 * sky.cover
    bright = np.array([1.08, 1.04, 1.0], np.float32) * (0.5 + 0.7 * open_sky) * (1 + 0.5 * np.clip(towards, 0, 1) ** 6)
    base = np.array([0.52, 0.56, 0.62], np.float32) * (0.65 + 0.35 * open_sky)
    cloud = base + (bright - base) * np.clip(shade * 0.75 + (1 - thick) * 0.45, 0, 1)
    low = np.clip(1 - sky.elevation / 18, 0, 1)
    cloud = cloud * (1 - 0.45 * low + 0.45 * low * np.array([1.2, 0.82, 0.62], np.float32))
    fade = np.exp(-0.12 / np.maximum(up, 0.02)) * 0.75 + 0.25  # towards the horizon they melt into the haze
    grey = np.array([0.74, 0.77, 0.81], np.float32) * (0.92 - 0.12 * up)
    full = np.clip((sky.cover - 0.72) / 0.25, 0, 1)
    mixed = light + (cloud - light) * density * fade
    return mixed * (1 - full) + (grey * (0.94 + 0.06 * np.tanh(here))) * full


@lru_cache(maxsize=4)
def _field(seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 7])
    return fractal(rng, 1.75, 2, 256, 512) + 0.25 * fractal(rng, 1.2, 12, 256, 512)


def panorama(sky: Sky, width: int = 512) -> np.ndarray:
    """The whole sky as an equirectangular picture, (width / 2, width, 3), row 0 lowest, for lighting; the ground's half
    is grey. Columns lie as `longitude` says."""
    lon, lat = np.meshgrid(longitude(width), (np.arange(width // 2) + 0.5) / (width // 2) * np.pi - np.pi / 2)
    d = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    light = np.minimum(radiance(sky, d), 4.0)
    below = d[..., 2:] < 0
    ground = light[width // 4 + 1 :].mean(axis=(0, 1)) * 0.35
    return np.where(below, ground, light).astype(np.float32)


def longitude(width: int) -> np.ndarray:
    """Angle from +x, counter-clockwise, of each column of Blender's equirectangular layout."""
    return -((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi


def _smooth(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
