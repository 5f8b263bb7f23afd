"""The camera behind the windscreen: where it stands, how it sees, and what its lens and sensor do to the light."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Camera:
    """height in metres; pitch (down positive), yaw, roll and field of view across in degrees; speed in m/s and
    exposure in s for motion blur; vignette: light lost in the corners; noise: deviation at middle grey; brightness:
    of the mean."""

    height: float = 1.4
    pitch: float = 2.0
    yaw: float = 0.0
    roll: float = 0.0
    view: float = 66.0
    speed: float = 8.0
    exposure: float = 0.008
    vignette: float = 0.25
    noise: float = 0.008
    brightness: float = 1.0
    warmth: float = 0.0

    def card(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}

    def focal(self, width: int) -> float:
        """Pixels."""
        return width / 2 / np.tan(np.radians(self.view) / 2)

    def rotation(self) -> np.ndarray:
        """(3, 3): columns are the directions of right, up and backwards of the camera in the world."""
        p, y, r = np.radians([90 - self.pitch, self.yaw, self.roll])
        about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
        about_z = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
        # The sensor rolls about its own axis first.
        roll = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
        return about_z @ about_x @ roll

    def rays(self, width: int, height: int) -> np.ndarray:
        """Directions of the pixels' middles in the world, (H, W, 3) float32, one metre deep each."""
        f = self.focal(width)
        x = (np.arange(width) + 0.5 - width / 2) / f
        y = (height / 2 - np.arange(height) - 0.5) / f
        local = np.stack(np.broadcast_arrays(x[None], y[:, None], -1.0), axis=-1)
        return (local @ self.rotation().T).astype(np.float32)


def sample(seed: int) -> Camera:
    """A camera from a seed."""
    rng = np.random.default_rng([seed, 5])
    return Camera(
        height=rng.uniform(1.2, 1.6),
        pitch=rng.uniform(1.0, 6.0),
        yaw=rng.uniform(-2.5, 2.5),
        roll=rng.normal(scale=0.5),
        view=rng.uniform(52, 78),
        speed=rng.uniform(0, 13),
        exposure=rng.uniform(0.002, 0.012),
        vignette=rng.uniform(0.05, 0.4),
        noise=rng.uniform(0.003, 0.014),
        brightness=float(np.exp(rng.normal(scale=0.16))),
        warmth=rng.normal(scale=0.05),
    )


def travel_blur(light: np.ndarray, depth: np.ndarray, camera: Camera, steps: int = 8) -> np.ndarray:
    """Motion blur of driving straight on: each pixel is smeared along its own flow. light (H, W, 3), depth (H, W)."""
    h, w = depth.shape
    way = camera.speed * camera.exposure
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    focal = camera.focal(w)
    expand_x = w / 2 + focal * np.tan(np.radians(camera.yaw))
    expand_y = h / 2 - focal * np.tan(np.radians(camera.pitch))
    rate = (way / np.maximum(depth, 1.5)).astype(np.float32)
    if float((rate * np.hypot(x - w / 2, y - h / 2)).max()) < 0.7:
        return light
    expand_x, expand_y = np.float32(expand_x), np.float32(expand_y)
    total = np.zeros_like(light)
    for k in np.linspace(-0.5, 0.5, steps):
        s = rate * np.float32(k)
        total += cv2.remap(
            light, x + (x - expand_x) * s, y + (y - expand_y) * s, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return total / steps


def develop(
    light: np.ndarray, camera: Camera, seed: int, mean: float = 0.2, bloom: float = 0.04, balance: float = 0.8
) -> np.ndarray:
    """From linear light to the picture: bloom, vignette, exposure, tone curve, noise.

    light: (H, W, 3) float32, any unit. mean: what the average luminance is exposed to. Returns: (H, W, 3) uint8.
    """
    h, w = light.shape[:2]
    rng = np.random.default_rng([seed, 6])
    luminance = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    # A meter that neither a bright sky nor a few lamps can fool much.
    metered = float(
        np.exp(np.log(luminance + 1e-3).mean()) * 0.6 + np.minimum(luminance, np.quantile(luminance, 0.97)).mean() * 0.4
    )
    light = light * (mean * camera.brightness / max(metered, 1e-4))
    # Automatic white balance goes most of the way to a grey average.
    average = np.minimum(light, 1.0).mean(axis=(0, 1))
    light = light * (average.mean() / average) ** np.float32(balance)
    if bloom:
        excess = np.clip(light - 1.0, 0, 12)
        for sigma, share in ((0.004, 1.0), (0.016, 0.7), (0.05, 0.4)):
            light = light + bloom * share * cv2.GaussianBlur(excess, (0, 0), sigma * w)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    radius = np.hypot((x - w / 2) / (w / 2), (y - h / 2) / (w / 2))
    light = light * (1 - camera.vignette * np.clip(radius, 0, 1.3) ** 2.5)[..., None]
    light = light * np.array([1 + camera.warmth, 1.0, 1 - camera.warmth], np.float32)
    picture = tone(light)
    grain = rng.standard_normal((h, w, 3)).astype(np.float32) * 0.6 + rng.standard_normal((h, w, 1)).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.55)
    picture = picture + camera.noise * grain * (0.6 + 0.8 * np.sqrt(np.clip(1 - picture, 0, 1)))
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def tone(light: np.ndarray) -> np.ndarray:
    """A camera's curve: straight in the shadows, a soft shoulder, then the sRGB transfer function."""
    x = np.clip(light, 0, None)
    knee = 0.55
    over = np.maximum(x - knee, 0)
    x = np.where(x > knee, knee + (1 - knee) * (1 - np.exp(-over / (1 - knee) * 0.8)), x)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(np.maximum(x, 1e-8), 1 / 2.4) - 0.055)
