"""The ground: road, marks, crossing, kerbs, paved walks and lawns, given by the street's cross-section."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from train.scenes import ROAD, SIDEWALK, TERRAIN, Canvas, Colour, noise
from train.scenes.things import KERB


@dataclass(frozen=True)
class Ground:
    """Cross-section of a street: the road, then bands on either side, raised by a kerb; the last one never ends."""

    half: float  # metres, half the width of the road
    left: tuple[tuple[str, float], ...]
    right: tuple[tuple[str, float], ...]
    lines: tuple[tuple[float, bool], ...]  # (x, dashed)
    zebra: float | None = None  # distance of a pedestrian crossing
    asphalt: Colour = (134, 134, 136)
    grass: Colour = (112, 140, 66)


def paint_ground(canvas: Canvas, rng: Generator, street: Ground) -> None:
    """Road with marks, patches and wheel tracks; kerbs; paved walks and lawns. Labels road, sidewalk, terrain."""
    grain = noise(rng, 1024, 1024, 64, 3) + rng.normal(0, 0.5, (1024, 1024)).astype(np.float32)
    broad = noise(rng, 512, 512, 6, 4)
    sun = canvas.light.lit((1.0, 1.0, 1.0), (0.0, 1.0, 0.0))

    def sample(tile: np.ndarray, x: np.ndarray, z: np.ndarray, per_metre: float) -> np.ndarray:
        side = tile.shape[0]
        u, v = np.mod(x * per_metre, side - 1), np.mod(z * per_metre, side - 1)
        return cv2.remap(tile, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)

    def put(colour: np.ndarray, z: np.ndarray, where: np.ndarray, label: int) -> None:
        rows = slice(canvas.camera.height - where.shape[0], None)
        lit = colour[where] * sun.astype(np.float32)
        veil = (1 - np.exp(-z[where] / canvas.light.clear_distance))[:, None]
        paint = lit * (1 - veil) + np.asarray(canvas.light.haze, np.float32) * veil
        canvas.image[rows][where] = paint.clip(0, 255).astype(np.uint8)
        canvas.label[rows][where] = label

    top, x, z = canvas.camera.ground()
    near = (1 / (1 + z / 14))[..., None]  # fine grain averages out with distance
    road = np.asarray(street.asphalt, np.float32) + 15 * near * sample(grain, x, z, 90)[..., None]
    road += 6 * sample(broad, x, z * 0.35, 22)[..., None]
    lane = np.abs(np.mod(np.abs(x) - 0.15, 3.3) - 1.65)
    road -= (5 * np.exp(-((lane - 0.8) ** 2) / 0.08))[..., None]  # wheel tracks
    road -= (12 * np.exp(-((np.abs(x) - street.half) ** 2) / 0.1))[..., None]  # dirt in the gutter
    for _ in range(5):
        px, pz, pw, pl = (
            rng.uniform(-street.half, street.half),
            rng.uniform(5, 45),
            rng.uniform(0.4, 0.9),
            rng.uniform(1, 4),
        )
        road[(np.abs(x - px) < pw) & (np.abs(z - pz) < pl)] *= 0.92  # mended asphalt
    for _ in range(3):
        cover = (x - rng.uniform(-2.5, 3)) ** 2 + (z - rng.uniform(7, 26)) ** 2
        road[cover < 0.12] = (76, 74, 72)
        road[(cover < 0.17) & (cover >= 0.12)] *= 0.75
    worn = (0.84 + 0.16 * sample(grain, x, z, 25)).clip(0, 1)[..., None]
    white = np.array([226, 226, 220], np.float32)
    for place, dashed in street.lines:
        mark = (np.abs(x - place) < 0.075) & ((np.mod(z, 9.0) < 4.0) | (not dashed))
        if street.zebra is not None:
            mark &= np.abs(z - street.zebra) > 3.4
        road = np.where(mark[..., None], road * (1 - worn) + white * worn, road)
    if street.zebra is not None:
        stripe = (np.abs(z - street.zebra) < 1.8) & (np.mod(x + 0.25, 1.0) < 0.5) & (np.abs(x) < street.half - 0.3)
        stripe |= (np.abs(z - street.zebra + 3.0) < 0.2) & (x > 0) & (x < street.half - 0.2)  # stop line
        road = np.where(stripe[..., None], road * (1 - worn) + white * worn, road)
    put(road, z, np.ones(x.shape, bool), ROAD)

    for side in (-1, 1):
        lengths = np.geomspace(1.0, 400, 60)
        kerb = np.asarray((176, 174, 168)) * canvas.light.lit((1.0, 1.0, 1.0), (-side, 0.0, 0.0))
        for z0, z1 in zip(lengths[-2::-1], lengths[:0:-1], strict=True):
            edge = side * street.half
            canvas.polygon(np.array([(edge, 0, z0), (edge, 0, z1), (edge, KERB, z1), (edge, KERB, z0)]), kerb, SIDEWALK)
    _, x, z = canvas.camera.ground(KERB)
    near = (1 / (1 + z / 14))[..., None]
    fine, blotch = sample(grain, x, z, 70)[..., None], sample(broad, x, z, 30)[..., None]
    joints = (np.mod(x, 0.6) < 0.025) | (np.mod(z, 0.6) < 0.025)
    paving = np.array([178, 172, 162], np.float32) + 12 * near * fine + 8 * blotch
    paving -= (22 * joints / (1 + z / 8))[..., None]
    blades = sample(grain, x * 2.5, z * 0.9, 90)[..., None]
    lawn = np.asarray(street.grass, np.float32) * (1 + 0.24 * near * blades + 0.2 * blotch)
    for side, bands in ((-1, street.left), (1, street.right)):
        inner, across = street.half, side * x
        for index, (kind, width) in enumerate(bands):
            outer = inner + width if index < len(bands) - 1 else np.inf
            where = (across >= inner) & (across < outer)
            put(paving if kind == "sidewalk" else lawn, z, where, SIDEWALK if kind == "sidewalk" else TERRAIN)
            inner = outer
        stone = (across >= street.half - 0.03) & (across < street.half + 0.16)
        put(np.full((*x.shape, 3), (196, 193, 186), np.float32) + 8 * near * fine, z, stone, SIDEWALK)
