"""From what the renderer saw to the picture: sky behind, air between, glass and camera in front."""

from __future__ import annotations

import numpy as np

from train.scenes import air, camera, sky
from train.scenes.camera import Camera
from train.scenes.weather import Weather


def compose(
    light: np.ndarray, cover: np.ndarray, depth: np.ndarray, eye: Camera, weather: Weather, seed: int
) -> np.ndarray:
    """light: (H, W, 3) float32 premultiplied by cover (H, W). depth: (H, W) metres along the view, infinite in the sky.

    Returns: (H, W, 3) uint8.
    """
    height, width = depth.shape
    rays = eye.rays(width, height)
    behind = sky.radiance(weather.sky, rays)
    airlight = _airlight(weather, behind)
    near = np.where(np.isfinite(depth), depth, 5000.0).astype(np.float32)
    if weather.condition in ("fog", "rain", "snow"):
        # In thick air the sky near the horizon is the airlight itself: one looks through more and more of it.
        up = (rays[..., 2] / np.linalg.norm(rays, axis=-1)).clip(0, 1)
        reach = np.minimum(120.0 / (up + 0.03), 4000.0).astype(np.float32)
        behind = air.veil(behind, reach, weather.extinction, airlight)
    distance = near * np.linalg.norm(rays, axis=-1)
    solid = cover[..., None]
    front = air.veil(light, distance, weather.extinction, airlight * solid)  # both premultiplied
    seen = front + behind * (1 - solid)
    if weather.streaks or weather.flakes:
        seen = air.fall(seen, np.where(np.isfinite(depth), depth, 1e9), eye, weather, airlight, seed)
    seen = camera.travel_blur(seen, near, eye)
    if weather.drops:
        seen = air.lens_drops(seen, weather.drops, seed)
    return camera.develop(seen, eye, seed, weather.mean, weather.bloom)


def _airlight(weather: Weather, behind: np.ndarray) -> np.ndarray:
    """The colour of endless air: that of the sky at the horizon."""
    ring = np.array([(np.sin(a), np.cos(a), 0.06) for a in np.linspace(-0.6, 0.6, 7)])
    return sky.radiance(weather.sky, ring[None]).mean(axis=(0, 1))
