"""Fog, rain, snow and night on a clear photograph: pure, seeded functions of the image alone.

Light is added and scaled in linear intensity, never in gamma-coded bytes. One module guesses the street's geometry
(`scene`), one renders each condition (`fog`, `rain`, `snow`, `night`).

Each number is called physics, with its source, or taste. Taste means that it was chosen by eye, so that pictures look
right at every severity. Numbers without a name inside a function are taste.
"""

from __future__ import annotations

import operator

import cv2
import numpy as np

from mfuser import images
from mfuser.weather import fog, night, rain, snow
from mfuser.weather.descriptions import CONDITIONS, DESCRIPTIONS, Description
from mfuser.weather.scene import estimate_scene

__all__ = ["CONDITIONS", "DESCRIPTIONS", "MOST_PIXELS", "Description", "apply"]

MOST_PIXELS = 12_500_000  # rendering takes about 130 bytes a pixel
_RENDER = {"fog": fog, "rain": rain, "snow": snow, "night": night}

# Physics: the sRGB transfer function (IEC 61966-2-1) as tables: 8 bits to linear, and 16-bit linear back to 8 bits.
_CODES = np.arange(256, dtype=np.float32) / 255
_TO_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)
_LINEAR = np.arange(65536, dtype=np.float64) / 65535
_SRGB = np.where(_LINEAR <= 0.0031308, 12.92 * _LINEAR, 1.055 * _LINEAR ** (1 / 2.4) - 0.055)
_FROM_LINEAR = np.rint(_SRGB * 255).astype(np.uint8)


def apply(image, condition: str, severity: int = 3, seed: int = 0) -> np.ndarray:
    """Put weather on a clear image.

    Args:
        image: (H, W, 3) uint8 RGB, or anything that `mfuser.images.load` takes.
        condition: one of `CONDITIONS`, or several joined by "+", as in "fog+night". The order of the names does not
            matter: fog is rendered before falling rain, weather before darkness, and the noise of the sensor last.
        severity: 1 (light) to 5 (extreme); `DESCRIPTIONS` has the physical parameter of each.
        seed: places drops, flakes, banks and noise; the same seed gives the same bytes, whatever NumPy's global state.

    Returns:
        (H, W, 3) uint8 RGB of the same size. Above `MOST_PIXELS` it is made at that many pixels and enlarged.

    Raises:
        ValueError: unknown condition, or a severity or seed out of range (ImageError, a ValueError, for a bad image).
    """
    names, severity, seed = check(condition, severity, seed)
    image = images.load(image)
    h, w = image.shape[:2]
    if (excess := h * w / MOST_PIXELS) > 1:
        image = images.resize(image, *(max(images.MIN_SIDE, int(side / excess**0.5)) for side in (h, w)))
    scene = estimate_scene(image)
    light = cv2.LUT(image, _TO_LINEAR)
    for position, name in enumerate(CONDITIONS):
        if name in names:
            light = _RENDER[name].render(light, scene, severity, np.random.default_rng([seed, position]))
    return images.resize(_FROM_LINEAR[np.rint(np.clip(light, 0, 1) * 65535).astype(np.uint16)], h, w)


def check(condition: str, severity: int = 3, seed: int = 0) -> tuple[set[str], int, int]:
    """Arguments of `apply` without the image: the set of conditions, severity and seed.

    Raises ValueError for an unknown condition, or a severity or seed out of range.
    """
    names = {name.strip().lower() for name in condition.split("+")} if isinstance(condition, str) else {str(condition)}
    if unknown := sorted(names - set(CONDITIONS)):
        known = ", ".join(CONDITIONS)
        raise ValueError(f"Unknown weather {unknown[0]!r}: choose from {known}, or several of them joined by '+'.")
    return names, _whole(severity, "severity", 1, 5), _whole(seed, "seed", 0, 2**63)


def _whole(value: int, name: str, low: int, high: int) -> int:
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise ValueError(f"The {name} must be a whole number from {low} to {high}, not {value!r}.")
    return number
