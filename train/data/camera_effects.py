"""What a camera does to a street: softness, noise, tone, white balance, compression.

A decoder that learns from one camera, or from a renderer's clean pictures, otherwise takes these for the street itself.
"""

from __future__ import annotations

import cv2
import numpy as np


def another_camera(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same picture from another camera: each of the five with probability one half, in this order.

    Softness: shrunk to 0.35..0.9 of its size and enlarged again, or blurred along one direction over 3..9 pixels.
    Tone: a gamma of 0.6..1.7. White balance: red and blue by 0.85..1.18 each. Noise: shot and read noise of 0.5..7 grey
    levels at full brightness, finer or coarser. Compression: JPEG of quality 15..75.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: source of every draw.

    Returns:
        (H, W, 3) uint8 RGB, a new array.
    """
    height, width = image.shape[:2]
    image = np.ascontiguousarray(image)
    if rng.random() < 0.5:
        if rng.random() < 0.7:
            share = rng.uniform(0.35, 0.9)
            small = max(1, round(width * share)), max(1, round(height * share))
            image = cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height))
        else:
            image = cv2.filter2D(image, -1, streak(int(rng.integers(3, 10)), rng.uniform(0, np.pi)))
    if rng.random() < 0.5:
        image = cv2.LUT(image, tone(np.exp(rng.uniform(np.log(0.6), np.log(1.7)))))
    if rng.random() < 0.5:
        gains = np.array([rng.uniform(0.85, 1.18), 1.0, rng.uniform(0.85, 1.18)], np.float32)
        image = np.clip(image * gains, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        image = add_noise(image, rng)
    if rng.random() < 0.5:
        quality = int(rng.integers(15, 76))
        coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
    return np.array(image)


def streak(length: int, angle: float) -> np.ndarray:
    """Kernel (n, n) float32, sum 1, of a motion over `length` pixels in the direction `angle` in radians."""
    side = length | 1
    kernel = np.zeros((side, side), np.float32)
    reach, middle = (length - 1) / 2, side // 2
    steps = np.linspace(-reach, reach, 4 * side)
    x, y = np.rint(middle + steps * np.cos(angle)).astype(int), np.rint(middle + steps * np.sin(angle)).astype(int)
    kernel[y, x] = 1
    return kernel / kernel.sum()


def tone(gamma: float) -> np.ndarray:
    """Table (256,) uint8 of a power law; 0 and 255 stay."""
    return np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)


def add_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise that grows with the root of brightness, over one pixel or about two."""
    height, width = image.shape[:2]
    grain = 1 if rng.random() < 0.5 else 2
    shape = -(-height // grain), -(-width // grain), 3
    noise = rng.standard_normal(shape, np.float32)
    if grain > 1:
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    strength = rng.uniform(0.5, 7) * np.sqrt(0.15 + 0.85 * image.astype(np.float32) / 255)
    return np.clip(image + noise * strength, 0, 255).astype(np.uint8)
