"""Plants: crowns of leaf clusters, trees that carry them, hedges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from train.scenes import HOLE, VEGETATION, Canvas, Colour, Texture
from train.scenes.textures import Plane, rgb
from train.scenes.things import KERB, Thing, tint


def crown(rng: Generator, colour: Colour, size: int = 640, blobs: int = 2200, wide: float = 1.0) -> Texture:
    """Foliage: leaf clusters from the dark inside to the sunlit rim, sky between the outer ones."""
    plane = np.zeros((size, size, 3), np.uint8)
    plane[:] = rgb(np.multiply(colour, 0.6))
    label = np.full((size, size), HOLE, np.uint8)
    lumps = [(0.5, 0.55, 0.3)]
    for angle in rng.uniform(0, 2 * np.pi, 11):
        reach = rng.uniform(0.16, 0.27)
        lumps.append((0.5 + wide * reach * np.cos(angle), 0.52 + reach * np.sin(angle), rng.uniform(0.12, 0.2)))
    lumps = np.array(lumps)
    which = rng.integers(0, len(lumps), blobs)
    angle, reach = rng.uniform(0, 2 * np.pi, blobs), np.sqrt(rng.uniform(0, 1, blobs))
    x = lumps[which, 0] + lumps[which, 2] * reach * np.cos(angle)
    y = lumps[which, 1] + lumps[which, 2] * reach * np.sin(angle)
    # Light within each lump comes from above and from the left, and the lower crown lies in its own shade.
    lit = 0.5 + 0.3 * (lumps[which, 1] - y) / lumps[which, 2] + 0.16 * (lumps[which, 0] - x) / lumps[which, 2]
    lit += 0.55 * (0.5 - y) + rng.normal(0, 0.1, blobs)
    for index in np.argsort(lit + rng.normal(0, 0.22, blobs)):
        tone = np.multiply(colour, 0.42 + 0.82 * np.clip(lit[index], 0, 1)) + (12 * lit[index], 8 * lit[index], 0)
        centre = (int(x[index] * size), int(y[index] * size))
        axes = (int(rng.uniform(0.007, 0.017) * size), int(rng.uniform(0.005, 0.011) * size))
        for _ in range(2):
            shifted = (centre[0] + int(rng.normal(0, 0.014) * size), centre[1] + int(rng.normal(0, 0.014) * size))
            turn = int(rng.integers(0, 180))
            cv2.ellipse(plane, shifted, axes, turn, 0, 360, rgb(tone * rng.uniform(0.88, 1.12)), -1, cv2.LINE_AA)
            cv2.ellipse(label, shifted, axes, turn, 0, 360, VEGETATION, -1)
    return Texture(plane, label)


def hedge(rng: Generator, length: float, height: float, colour: Colour) -> Texture:
    """A clipped hedge with an uneven top, in metres, darker towards the ground."""
    plane = Plane(length, height, 60.0, np.multiply(colour, 0.5))
    count = int(length * height * 150)
    x, y = rng.uniform(0, length, count), rng.uniform(0, height * 0.97, count)
    y = np.minimum(y, height * (0.9 + 0.08 * np.sin(x * 2.3) * np.sin(x * 0.9 + 1)))
    plane.box(0, 0, length, height * 0.84, np.multiply(colour, 0.45), VEGETATION)
    for index in np.argsort(y + rng.normal(0, 0.4, count)):
        tone = np.multiply(colour, 0.5 + 0.62 * y[index] / height) * rng.uniform(0.82, 1.15)
        plane.disc(x[index], y[index], rng.uniform(0.03, 0.08), rng.uniform(0.03, 0.06), tone, VEGETATION)
    return plane.texture()


def tree(rng: Generator, texture: Texture, x: float, z: float, height: float, spread: float, trunk: float) -> Thing:
    """A trunk with two boughs, labelled vegetation as in Cityscapes, and a crown."""
    bark = np.array([96, 80, 66]) * rng.uniform(0.8, 1.1)
    r, lean = 0.045 * height**0.75, rng.normal(0, 0.15)

    def draw(canvas: Canvas) -> None:
        top = trunk + (height - trunk) * 0.45
        for x0, x1, tone in ((-r, 0.1 * r, 1.1), (0.1 * r, r, 0.72)):
            stem = [(x + x0, KERB, z), (x + x1, KERB, z), (x + lean + x1 * 0.6, top, z), (x + lean + x0 * 0.6, top, z)]
            canvas.polygon(np.array(stem), bark * tint(canvas) * tone, VEGETATION, (0.6, 1.0))
        left, right, bottom = x + lean - spread / 2, x + lean + spread / 2, trunk - (height - trunk) * 0.12
        crown_at = [(left, height, z), (right, height, z), (right, bottom, z), (left, bottom, z)]
        canvas.decal(texture, np.array(crown_at), tint(canvas))

    hulls, middle = [np.array([(x + s * r, y, z) for s in (-1, 1) for y in (0, trunk)])], (trunk + height) / 2
    for lump in range(9):
        angle, reach = lump * 0.7, 0.26 * spread * (lump > 0)
        cx, cy, cz = (
            x + reach * np.cos(angle),
            middle + (height - trunk) * rng.uniform(-0.2, 0.2),
            z + reach * np.sin(angle),
        )
        turn = np.linspace(0, 2 * np.pi, 12)
        ball = 0.2 * spread * rng.uniform(0.7, 1.1)
        hulls.append(np.stack([cx + ball * np.cos(turn), np.full(12, cy), cz + ball * np.sin(turn)], axis=1))
    return Thing(z, draw, hulls)
