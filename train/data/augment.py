"""Augmentation of one sample: weather, scale, crop, flip, camera, colours. All draws come from the generator given.

Two encoders may be shown one sample apart: the very same crop, each in weather, camera and colours of its own. Both see
what they would see alone; but where the one is lost the other need not be, and what fuses them learns whom to trust.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mfuser import images, weather
from mfuser.cityscapes import IGNORE
from train.data.camera_effects import another_camera

# 255 x CLIP's mean, which the released code pads with: zero after its normalisation.
PADDING = (123, 117, 104)
CATEGORY_TRIES = 10


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training sample, in this order.

    weather: probability of a rendered condition from `conditions`, at a random severity 1..5. base: short side in
    pixels that scale 1 means; None keeps the native size. scale: range of the random resize. crop: side of the square
    crop. category_cap: a crop in which one group covers more than this share of the labelled pixels is drawn again.
    flip: probability of mirroring. camera: probability of another camera's softness, noise, tone and compression.
    photometric: random brightness, contrast, saturation and hue. apart: probability that two views of a sample differ
    in weather, camera and colours, 0 for one view only.
    """

    crop: int = 512
    base: int | None = None
    scale: tuple[float, float] = (0.5, 2.0)
    category_cap: float = 0.75
    flip: float = 0.5
    camera: float = 0.0
    photometric: bool = True
    weather: float = 0.0
    conditions: tuple[str, ...] = ("fog", "rain", "snow", "night")
    apart: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.scale
        if self.crop < 1 or not 0 < low <= high:
            raise ValueError(f"Crop {self.crop} and scale {self.scale} must be positive, the lower scale first.")
        if unknown := {c for name in self.conditions for c in name.split("+")} - set(weather.CONDITIONS):
            raise ValueError(f"Unknown weather {sorted(unknown)[0]!r}; choose from {', '.join(weather.CONDITIONS)}.")

    def __call__(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator, group: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment a sample.

        Args:
            image: (H, W, 3) uint8 RGB.
            label: (H, W) uint8 group indices, 255 = ignore.
            rng: source of every draw.
            group: of which the crop should show a fair number of pixels (rare-class sampling); None for any.

        Returns:
            (crop, crop, 3) uint8, or with `apart` two views of it, (2, crop, crop, 3), and (crop, crop) uint8; right
            and below the picture lie padding and 255.
        """
        apart = bool(self.apart) and rng.random() < self.apart  # 0 draws nothing: samples of older runs stay
        views = [in_weather(image, rng, self.weather, self.conditions) for _ in range(1 + apart)]
        height, width = self._scaled(image.shape[:2], rng)
        label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        y, x = choose_crop(label, self.crop, rng, self.category_cap, group)
        window = slice(y, y + self.crop), slice(x, x + self.crop)
        views, label = [images.resize(view, height, width)[window] for view in views], label[window]
        if rng.random() < self.flip:
            views, label = [view[:, ::-1] for view in views], label[:, ::-1]
        views = [pad(self._recoloured(view, rng), self.crop, PADDING) for view in views]
        picture = np.stack([views[0], views[-1]]) if self.apart else views[0]
        return picture, pad(label, self.crop, IGNORE)

    def _recoloured(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.camera and rng.random() < self.camera:  # 0 draws nothing, as above
            image = another_camera(image, rng)
        return distort_colours(image, rng) if self.photometric else image

    def _scaled(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        ratio = rng.uniform(*self.scale) * (1 if self.base is None else self.base / min(size))
        return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def in_weather(
    image: np.ndarray, rng: np.random.Generator, probability: float, conditions: Sequence[str] = weather.CONDITIONS
) -> np.ndarray:
    """Render weather, or none.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: source of every draw.
        probability: of weather.
        conditions: one of these is rendered, at a random severity 1..5.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if rng.random() >= probability:
        return image
    condition = conditions[rng.integers(len(conditions))]
    return weather.apply(image, condition, int(rng.integers(1, 6)), int(rng.integers(2**31)))


GROUP_SHARE = 1500 / 512**2  # of a crop: pixels of the chosen group that satisfy rare-class sampling


def choose_crop(
    label: np.ndarray, crop: int, rng: np.random.Generator, category_cap: float = 1.0, group: int | None = None
) -> tuple[int, int]:
    """Choose a crop in which no group dominates and a chosen one is seen.

    Args:
        label: (H, W) uint8 group indices, 255 = ignore.
        crop: side in pixels.
        rng: source of up to 10 draws for the cap, within up to 10 for the group; the last one counts when all fail.
        category_cap: largest share of the labelled pixels that one group may cover; 1 for any.
        group: that should be seen; None for any.

    Returns:
        Top left corner (y, x).
    """
    high_y, high_x = max(label.shape[0] - crop, 0), max(label.shape[1] - crop, 0)
    y = x = 0
    for _ in range(CATEGORY_TRIES if group is not None else 1):
        for _ in range(CATEGORY_TRIES):
            y, x = int(rng.integers(high_y + 1)), int(rng.integers(high_x + 1))
            window = label[y : y + crop, x : x + crop]
            counts = np.bincount(window.ravel(), minlength=IGNORE + 1)[:IGNORE]
            if category_cap >= 1 or ((counts > 0).sum() > 1 and counts.max() < category_cap * counts.sum()):
                break
        if group is None or counts[group] > GROUP_SHARE * crop**2:
            break
    return y, x


def pad(array: np.ndarray, side: int, value: int | tuple[int, int, int]) -> np.ndarray:
    """Fill (h, w[, 3]) to (side, side[, 3]) with a value at the right and below; a new contiguous array."""
    h, w = array.shape[:2]
    out = np.empty((side, side, *array.shape[2:]), array.dtype)
    out[...] = value
    out[:h, :w] = array
    return out


def distort_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photometric distortion (Liu et al. 2016, SSD, with the ranges of mmsegmentation).

    Each with probability one half: brightness +-32, contrast x 0.5..1.5 (before or after the following), saturation
    x 0.5..1.5, hue +-36 degrees.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: source of every draw.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if rng.random() < 0.5:
        image = _curve(image, 1.0, rng.uniform(-32, 32))
    early = rng.random() < 0.5
    if early and rng.random() < 0.5:
        image = _curve(image, rng.uniform(0.5, 1.5), 0.0)
    saturate, turn = rng.random() < 0.5, rng.random() < 0.5
    if saturate or turn:
        hue, saturation, value = cv2.split(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV))
        if saturate:
            saturation = _curve(saturation, rng.uniform(0.5, 1.5), 0.0)
        if turn:  # OpenCV counts hue in steps of two degrees, 0..179
            shift = int(rng.integers(-18, 19))
            hue = cv2.LUT(hue, ((np.arange(256) + shift) % 180).astype(np.uint8))
        image = cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2RGB)
    if not early and rng.random() < 0.5:
        image = _curve(image, rng.uniform(0.5, 1.5), 0.0)
    return image


def _curve(image: np.ndarray, gain: float, offset: float) -> np.ndarray:
    table = np.clip(np.arange(256, dtype=np.float32) * gain + offset, 0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), table)
