"""Patterns that repeat without a seam, as factors on a surface's colour: 0.5 leaves it as it is, 1 doubles it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SIZE = 1024


def pattern(name: str) -> np.ndarray:
    """(SIZE, SIZE) or (SIZE, SIZE, 3) float32 in [0, 1]. Row 0 is the lowest. Raises ValueError for unknown names."""
    if name not in PATTERNS:
        raise ValueError(f"There is no pattern {name!r}: choose one of {', '.join(sorted(PATTERNS))}.")
    rng = np.random.default_rng(sum(name.encode()))
    return np.clip(PATTERNS[name](rng), 0, 1).astype(np.float32)


def fractal(
    rng: np.random.Generator, slope: float = 1.0, low: float = 1, high: float = SIZE, size: int = SIZE
) -> np.ndarray:
    """Periodic noise with spectrum 1/f^slope between two frequencies (cycles across), zero mean, unit deviation."""
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    fy, fx = np.fft.fftfreq(size)[:, None] * size, np.fft.rfftfreq(size)[None] * size
    f = np.hypot(fy, fx)
    weight = np.where((f >= low) & (f <= high), 1 / np.maximum(f, 1) ** slope, 0)
    field = np.fft.irfft2(white * weight, s=(size, size))
    return (field / field.std()).astype(np.float32)


def _grid(across: int, down: int, shift: float = 0.0) -> tuple[np.ndarray, ...]:
    """Cells of a masonry bond: column and row index, and place inside the cell in [0, 1)."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    row = np.floor(y * down)
    column = x * across + shift * (row % 2)
    return np.floor(column) % across, row, column % 1, (y * down) % 1


def _tiles(rng, across, down, joint, shift=0.0, vary=0.06, dark=0.3, aspect=1.0) -> np.ndarray:
    """Stones of varying tone with dark joints. joint: in parts of a cell's height."""
    c, r, u, v = _grid(across, down, shift)
    tone = rng.normal(scale=vary, size=(down, across))[r.astype(int), c.astype(int)]
    edge = np.minimum(np.minimum(u, 1 - u) * aspect, np.minimum(v, 1 - v))
    groove = np.clip(1 - edge / joint, 0, 1)
    return 0.5 + tone + 0.035 * fractal(rng, 0.8, 8) - (0.5 - dark) * groove


def _asphalt(rng) -> np.ndarray:
    grain = fractal(rng, 0.25, 60)
    base = 0.48 + 0.055 * grain + 0.04 * fractal(rng, 1.4, 1, 60)
    # Cracks follow the zero lines of a smooth field, here and there.
    cracks = np.exp(-np.abs(fractal(rng, 1.6, 2, 80)) / 0.012) * (fractal(rng, 2, 1, 5) > 0.9)
    return base - 0.25 * cracks


def _cobbles(rng) -> np.ndarray:
    c, r, u, v = _grid(40, 40, 0.5)
    tone = rng.normal(scale=0.09, size=(40, 40))[r.astype(int), c.astype(int)]
    dome = 1 - ((2 * u - 1) ** 4 + (2 * v - 1) ** 4).clip(0, 1)
    return 0.18 + (0.34 + tone) * dome**0.4 + 0.05 * fractal(rng, 0.5, 20)


def _brick(rng) -> np.ndarray:
    c, r, u, v = _grid(8, 26, 0.5)
    tone = rng.normal(scale=0.09, size=(26, 8, 3)) * (1, 0.8, 0.7) + rng.normal(scale=0.06, size=(26, 8, 1))
    brick = 0.48 + tone[r.astype(int), c.astype(int)] + 0.05 * fractal(rng, 0.7, 10)[..., None]
    joint = (np.minimum(u, 1 - u) < 0.028) | (np.minimum(v, 1 - v) < 0.085)
    mortar = np.array([0.72, 0.88, 0.95]) + 0.05 * fractal(rng, 0.7, 10)[..., None]
    return np.where(joint[..., None], mortar * 0.85, brick)


def _plaster(rng) -> np.ndarray:
    stains = fractal(rng, 1.2, 2, 60)
    stains = cv2.blur(np.tile(stains, (3, 1)), (3, 180))[SIZE : 2 * SIZE]  # rain draws dirt down
    return 0.5 + 0.035 * stains / stains.std() + 0.03 * fractal(rng, 1.3, 1, 40) + 0.025 * fractal(rng, 0.2, 60)


def _roof(rng) -> np.ndarray:
    c, r, u, v = _grid(8, 7, 0.0)
    tone = rng.normal(scale=0.07, size=(7, 8))[r.astype(int), c.astype(int)]
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * u)
    return 0.3 + tone + 0.26 * wave * (0.55 + 0.45 * np.sqrt(1 - v)) + 0.03 * fractal(rng, 0.8, 4)


def _grass(rng) -> np.ndarray:
    blades, patches = fractal(rng, 0.35, 40), fractal(rng, 1.5, 1, 30)
    dry = np.clip(0.5 + 0.5 * patches, 0, 1)[..., None]
    tint = np.array([0.46, 0.5, 0.46]) * (1 - dry) + np.array([0.62, 0.54, 0.5]) * dry
    return tint * (1 + 0.3 * blades[..., None] + 0.08 * patches[..., None])


def _stripes(axis: int, count: int, depth: float) -> Callable:
    def make(rng) -> np.ndarray:
        place = np.linspace(0, count, SIZE, endpoint=False) % 1
        wave = np.where(place < 0.15, 0.5 - depth, 0.5 + depth * 0.25 * np.cos(2 * np.pi * place))
        lines = np.broadcast_to(wave[None] if axis else wave[:, None], (SIZE, SIZE))
        return lines + 0.025 * fractal(rng, 1.2, 1, 200)

    return make


def _bark(rng) -> np.ndarray:
    streaks = cv2.blur(np.tile(fractal(rng, 0.5, 20), (3, 1)), (1, 90))[SIZE : 2 * SIZE]
    return 0.5 + 0.14 * streaks / streaks.std()


def _wood(rng) -> np.ndarray:
    fibre = cv2.blur(np.tile(fractal(rng, 0.4, 10), (3, 1)), (1, 300))[SIZE : 2 * SIZE]
    return 0.5 + 0.08 * fibre / fibre.std()


def _paint(rng) -> np.ndarray:
    worn = fractal(rng, 0.8, 6) + 0.7 * fractal(rng, 1.5, 1, 12)
    return np.where(worn > 1.35, 0.16, 0.5 + 0.03 * fractal(rng, 0.5, 20))


PATTERNS: dict[str, Callable] = {
    "asphalt": _asphalt,
    "cobbles": _cobbles,
    "brick": _brick,
    "plaster": _plaster,
    "roof": _roof,
    "grass": _grass,
    "bark": _bark,
    "wood": _wood,
    "paint": _paint,
    "slabs": lambda rng: _tiles(rng, 8, 8, 0.03, 0.5, 0.05),
    "pavers": lambda rng: _tiles(rng, 20, 40, 0.06, 0.5, 0.07, 0.34, 2.0),
    "stone": lambda rng: _tiles(rng, 5, 9, 0.05, 0.5, 0.05, 0.34, 1.8),
    "kerb": lambda rng: _tiles(rng, 4, 4, 0.02, 0.0, 0.04) + 0.04 * fractal(rng, 0.2, 60),
    "panels": lambda rng: _tiles(rng, 4, 4, 0.02, 0.0, 0.02, 0.2),
    "concrete": lambda rng: 0.5 + 0.05 * fractal(rng, 1.1, 1) + 0.03 * fractal(rng, 0.1, 80),
    "gravel": lambda rng: 0.48 + 0.17 * fractal(rng, 0.3, 60, 300),
    "ribbed": _stripes(1, 16, 0.22),
    "slats": _stripes(0, 24, 0.25),
    "cloth": lambda rng: 0.5 + 0.07 * fractal(rng, 1.2, 2, 60),
}
