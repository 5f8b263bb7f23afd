"""What hangs in the air and on the lens: fog by the depth of each pixel, streaks of rain, flakes, drops on the glass.

Everything works on linear light, (H, W, 3) float32, and on distances in metres, (H, W) float32, infinite in the sky.
"""

from __future__ import annotations

import cv2
import numpy as np

from train.scenes.camera import Camera
from train.scenes.weather import Weather


def veil(light: np.ndarray, distance: np.ndarray, extinction: float, airlight: np.ndarray) -> np.ndarray:
    """Koschmieder's law: light * t + airlight * (1 - t), t = exp(-extinction * distance)."""
    t = np.exp(-np.float32(extinction) * distance)[..., None]
    return light * t + airlight.astype(np.float32) * (1 - t)


def fall(
    light: np.ndarray, depth: np.ndarray, camera: Camera, weather: Weather, airlight: np.ndarray, seed: int
) -> np.ndarray:
    """Add the streaks or flakes of the weather; those behind something stay hidden."""
    rng = np.random.default_rng([seed, 9])
    if weather.streaks:
        light = _streaks(light, depth, camera, weather, airlight, rng)
    if weather.flakes:
        light = _flakes(light, depth, camera, weather, airlight, rng)
    return light


def _points(rng: np.random.Generator, count: int, camera: Camera, shape: tuple[int, int], near: float, far: float):
    """Random points of the camera's view, uniform in space: pixel x, y and metres z."""
    h, w = shape
    z = (rng.uniform(near**3, far**3, count)) ** (1 / 3)
    return rng.uniform(-0.05, 1.05, count) * w, rng.uniform(-0.05, 1.05, count) * h, z


def _streaks(light, depth, camera, weather, airlight, rng) -> np.ndarray:
    h, w = depth.shape
    focal = camera.focal(w)
    x, y, z = _points(rng, int(weather.streaks * 1500), camera, (h, w), 1.2, 24)
    length = 7.5 * 0.014  # metres fallen while the shutter is open
    slant = weather.wind / 7.5 + rng.normal(scale=0.03, size=len(z))
    layers = np.zeros((h, w), np.float32)
    for px, py, pz, lean in zip(x, y, z, slant, strict=True):
        ix, iy = int(np.clip(px, 0, w - 1)), int(np.clip(py, 0, h - 1))
        if depth[iy, ix] < pz:
            continue
        long = focal * length / pz
        wide = max(1, int(round(focal * 0.0016 / pz)))
        strength = min(0.30, 0.05 + 0.5 * focal * 0.0016 / pz)
        a = (int((px - lean * long / 2) * 16), int((py - long / 2) * 16))
        b = (int((px + lean * long / 2) * 16), int((py + long / 2) * 16))
        cv2.line(layers, a, b, float(strength), wide, cv2.LINE_AA, 4)
    layers = cv2.GaussianBlur(layers, (0, 0), 0.6 * w / 1024 + 0.25)[..., None]
    return light * (1 - layers) + airlight.astype(np.float32) * 1.15 * layers


def _flakes(light, depth, camera, weather, airlight, rng) -> np.ndarray:
    h, w = depth.shape
    focal = camera.focal(w)
    x, y, z = _points(rng, int(weather.flakes * 1700), camera, (h, w), 1.0, 34)
    order = np.argsort(-z)
    size = rng.uniform(0.003, 0.0065, len(z))
    fine, soft = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
    for i in order:
        ix, iy = int(np.clip(x[i], 0, w - 1)), int(np.clip(y[i], 0, h - 1))
        if depth[iy, ix] < z[i]:
            continue
        radius = focal * size[i] / z[i]
        blurred = radius > 0.006 * w
        strength = float(np.clip(radius * 1.6, 0.15, 0.55 if blurred else 0.9))
        smear = radius * 1.5 + 1.0
        a = (int((x[i] - weather.wind * smear * 0.3) * 16), int((y[i] - smear) * 16))
        b = (int((x[i] + weather.wind * smear * 0.3) * 16), int((y[i] + smear * 0.4) * 16))
        cv2.line(soft if blurred else fine, a, b, strength, max(1, int(round(2 * radius))), cv2.LINE_AA, 4)
    fine = cv2.GaussianBlur(fine, (0, 0), 0.5 * w / 1024 + 0.3)
    soft = cv2.GaussianBlur(soft, (0, 0), 5.0 * w / 1024)
    cover = (1 - (1 - fine) * (1 - soft))[..., None].clip(0, 0.95)
    return light * (1 - cover) + airlight.astype(np.float32) * 1.25 * cover


def lens_drops(light: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Drops on the windscreen: each shows the street upside down and out of focus."""
    h, w = light.shape[:2]
    rng = np.random.default_rng([seed, 10])
    map_x, map_y = (a.astype(np.float32) for a in np.meshgrid(np.arange(w), np.arange(h)))
    mask, shade = np.zeros((h, w), np.float32), np.ones((h, w), np.float32)
    for _ in range(count):
        cx, cy = rng.uniform(0, w), rng.uniform(0, h)
        radius = w * 0.0045 * np.exp(rng.normal(scale=0.55)) + 1.2
        x0, x1 = int(max(cx - radius * 1.3, 0)), int(min(cx + radius * 1.3 + 1, w))
        y0, y1 = int(max(cy - radius * 1.6, 0)), int(min(cy + radius * 1.6 + 1, h))
        if x1 <= x0 or y1 <= y0:
            continue
        y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        stretch = rng.uniform(1.0, 1.35)
        wobble = 1 + 0.12 * np.sin(3 * np.arctan2(y - cy, x - cx) + rng.uniform(0, 6))
        r = np.hypot(x - cx, (y - cy) / stretch) / (radius * wobble)
        inside = np.clip((1.08 - r) / 0.3, 0, 1)
        window = np.s_[y0:y1, x0:x1]
        reach = rng.uniform(6, 12)
        map_x[window] = np.where(inside > 0, np.clip(cx - (x - cx) * reach * (0.6 + r), 0, w - 1), map_x[window])
        map_y[window] = np.where(inside > 0, np.clip(cy - (y - cy) * reach * (0.6 + r), 0, h - 1), map_y[window])
        mask[window] = np.maximum(mask[window], inside)
        lit = 1.02 + 0.25 * np.clip((cy - y) / (radius * stretch), -1, 1) * r - 0.3 * np.clip(r - 0.75, 0, 1) / 0.25
        shade[window] = np.where(inside > 0, lit, shade[window])
    seen = cv2.remap(
        cv2.GaussianBlur(light, (0, 0), 0.004 * w), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    alpha = (mask * 0.75)[..., None]
    return light * (1 - alpha) + seen * shade[..., None] * alpha
