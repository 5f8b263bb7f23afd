"""Seeded patterns in the scene: smooth noise in the picture or on the road, drops and flakes on their way down."""

from __future__ import annotations

import cv2
import numpy as np

from mfuser.weather.scene import Scene

SLANT, TURN = 0.12, 0.04  # standard deviations of the wind's slope for all paths, and of each path's own; taste
SPEED_SPREAD = (0.6, 1.4)  # factors on the fall of single drops and flakes; taste
APPROACH = 0.6  # how far paths spread from the vanishing point, into which the car drives; taste
WIDTHS = ((0.6, 140), (1.0, 255), (1.5, 190))  # (factor on the width, brightness of 255) of each third; taste
NEAR = 5  # metres: what is nearer falls before everything in the scene; taste


def field(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Smooth noise of about unit variance, the same pattern at every image size.

    Args:
        rng: makes the noise.
        shape: (H, W).
        cells: of the noise in the height; twice as many in the width.

    Returns:
        (H, W) float32.
    """
    coarse = rng.standard_normal((cells, 2 * cells), dtype=np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def road_noise(rng: np.random.Generator, scene: Scene, across: float, along: float) -> tuple[np.ndarray, np.ndarray]:
    """Noise that lies on the road in patches.

    Args:
        rng: makes the noise.
        scene: of the picture.
        across: width of a patch in metres.
        along: length of a patch in metres.

    Returns:
        The noise, and the metres right of the camera; (H, W) float32 each.
    """
    h, w = scene.depth.shape
    size = (min(w, 480), max(8, min(h, 480 * h // w)))
    ahead = cv2.resize(scene.depth, size, interpolation=cv2.INTER_AREA)
    right = (np.arange(size[0], dtype=np.float32) * w / size[0] - scene.vanishing[0]) * ahead / scene.focal
    tile = cv2.GaussianBlur(rng.standard_normal((128, 128), dtype=np.float32), (0, 0), 1.2) * 4
    x, y = (np.abs(np.mod(metres, 252) - 126) for metres in (right / across, ahead / along))  # mirrored: no seams
    noise = cv2.remap(tile, x, y, cv2.INTER_LINEAR)
    return cv2.resize(noise, (w, h)), cv2.resize(right, (w, h))


def falling(
    rng: np.random.Generator, scene: Scene, share: float, layers: tuple, size: float, fall: float
) -> np.ndarray:
    """Drops or flakes in the air.

    All of them are drawn from the random numbers at every severity, and the first `share` of them are shown. Heavier
    weather therefore adds to lighter weather of the same seed.

    Args:
        rng: places them.
        scene: of the picture.
        share: of them that is shown, in 0..1.
        layers: (metres away, how many at share 1, opacity, blur of its own width) of each distance.
        size: width of one in metres.
        fall: metres that one falls while the shutter is open.

    Returns:
        Opacity (H, W) float32 in [0, 1].
    """
    h, w = scene.depth.shape
    clear = np.ones((h, w), np.float32)
    slant = rng.normal(0, SLANT)
    for distance, most, opacity, blur in layers:
        start = rng.uniform(-0.1, 1.1, (most, 2)) * (w, h)
        spread, turn = rng.uniform(*SPEED_SPREAD, most)[:, None], rng.normal(0, TURN, most)
        towards = (start - scene.vanishing) / max(h, w) * APPROACH
        step = np.stack([slant + turn + towards[:, 0], 1 + towards[:, 1]], axis=1) * fall * spread
        ends = np.stack([start, start + step * scene.focal / distance], axis=1)[: max(1, round(share * most))]
        width = size * scene.focal / distance
        layer = np.zeros((h, w), np.uint8)
        lines = [np.rint(line * 16).astype(np.int32) for line in ends]
        for first, (scale, grey) in enumerate(WIDTHS):
            cv2.polylines(layer, lines[first::3], False, grey, max(1, round(scale * width)), cv2.LINE_AA, shift=4)
        layer = cv2.GaussianBlur(layer, (0, 0), max(0.4, blur * width))
        seen = scene.depth > distance if distance > NEAR else True  # far ones fall behind what stands near
        clear *= 1 - layer * np.float32(opacity * min(1.0, width + 0.3) / 255) * seen
    return 1 - clear
