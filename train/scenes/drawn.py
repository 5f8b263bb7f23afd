"""Street scenes drawn from nothing but a seed: `python -m train.scenes.drawn --out assets/examples`.

The bundled example pictures of the page, with exact labels, so that masks can be scored where no photograph may be
shipped. Three kinds of street (avenue, town, suburb); with a larger --count they repeat with other seeds. Sections:
textures (facades, trees, people), things that stand in the street, ground and sky, the streets, the command line.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from train.scenes import (
    BICYCLE,
    BUILDING,
    BUS,
    CAR,
    FENCE,
    HOLE,
    LIGHT,
    PERSON,
    POLE,
    RIDER,
    ROAD,
    SIDEWALK,
    SIGN,
    SKY,
    SUPERSAMPLE,
    TERRAIN,
    TRUCK,
    UNLABELLED,
    VEGETATION,
    WALL,
    Camera,
    Canvas,
    Colour,
    Light,
    Texture,
    noise,
)

KERB = 0.13  # metres
Generator = np.random.Generator

# ------------------------------------------------------------------------------------------------ textures


class Plane:
    """A texture under the brush, in metres from its lower left corner; unpainted texels stay see-through."""

    def __init__(self, width: float, height: float, scale: float, base: Colour, label: int = HOLE) -> None:
        self.scale, self.height = scale, height
        size = (max(2, round(height * scale)), max(2, round(width * scale)))
        self.colour = np.empty((*size, 3), np.uint8)
        self.colour[:] = np.clip(base, 0, 255).astype(np.uint8)
        self.label = np.full(size, label, np.uint8)

    def _pixels(self, points: Sequence[Sequence[float]]) -> np.ndarray:
        x, y = np.asarray(points, np.float64).T
        return np.rint(np.stack([x, self.height - y], axis=1) * self.scale * 16).astype(np.int32)

    def fill(self, points: Sequence[Sequence[float]], colour: Colour, label: int) -> None:
        cv2.fillPoly(self.colour, [self._pixels(points)], _rgb(colour), cv2.LINE_AA, shift=4)
        cv2.fillPoly(self.label, [self._pixels(points)], label, shift=4)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, label: int) -> None:
        self.fill([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, label)

    def stroke(self, points: Sequence[Sequence[float]], width: float, colour: Colour, label: int) -> None:
        """A line with round ends."""
        thick = max(1, round(width * self.scale))
        cv2.polylines(self.colour, [self._pixels(points)], False, _rgb(colour), thick, cv2.LINE_AA, shift=4)
        cv2.polylines(self.label, [self._pixels(points)], False, label, thick, shift=4)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour, label: int, ring: float = 0) -> None:
        centre = tuple(int(v) for v in self._pixels([(x, y)])[0])
        axes = (max(1, round(rx * self.scale * 16)), max(1, round(ry * self.scale * 16)))
        thick = max(1, round(ring * self.scale)) if ring else -1
        cv2.ellipse(self.colour, (*centre,), axes, 0, 0, 360, _rgb(colour), thick, cv2.LINE_AA, shift=4)
        cv2.ellipse(self.label, (*centre,), axes, 0, 0, 360, label, thick, shift=4)

    def texture(self, rough: np.ndarray | None = None, shade: np.ndarray | None = None) -> Texture:
        """Finish: rough (h, w) adds grey levels, shade (h, w) or (1, w) multiplies."""
        colour = self.colour.astype(np.float32)
        if rough is not None:
            colour += rough[..., None]
        if shade is not None:
            colour *= shade[..., None]
        return Texture(colour.clip(0, 255).astype(np.uint8), self.label)


def _rgb(colour: Colour) -> tuple[int, int, int]:
    return tuple(min(255, max(0, int(c))) for c in colour)


def facade(
    rng: Generator, width: float, floors: int, colour: Colour, shop: bool, ground: float = 3.9, storey: float = 3.1
) -> tuple[Texture, float]:
    """Front of a house: windows with frames, sills and reflections, a door or a shop front. Returns texture, height."""
    height, b = ground + floors * storey + 0.5, BUILDING
    colour = np.asarray(colour, np.float64)
    plane = Plane(width, height, 44.0, colour, b)
    trim, frame = colour * 0.55 + 110, rng.choice([(236, 234, 228), (92, 78, 66), (70, 84, 92)])
    bays = max(1, int(width / rng.uniform(2.2, 2.8)))
    pitch, pane = width / bays, rng.uniform(1.05, 1.25)
    tall, shutters, balconies = rng.uniform(1.55, 1.95), rng.random() < 0.35, rng.random() < 0.35
    shutter = rng.choice([(72, 98, 84), (96, 62, 52), (84, 96, 118)])
    for floor in range(floors):
        y = ground + floor * storey + 0.75
        for bay in range(bays):
            x = (bay + 0.5) * pitch - pane / 2
            plane.box(x - 0.14, y - 0.16, x + pane + 0.14, y + tall + 0.16, trim, b)
            _window(plane, rng, x, y, pane, tall, frame)
            plane.box(x - 0.2, y - 0.2, x + pane + 0.2, y - 0.08, trim * 1.08, b)
            plane.box(x - 0.2, y - 0.34, x + pane + 0.2, y - 0.2, colour * 0.72, b)  # shadow of the sill
            if shutters:
                for side in (x - 0.58, x + pane + 0.14):
                    plane.box(side, y, side + 0.44, y + tall, shutter, b)
                    for slat in np.arange(y + 0.1, y + tall, 0.2):
                        plane.box(side + 0.05, slat, side + 0.39, slat + 0.05, np.multiply(shutter, 0.7), b)
            if balconies and floor and bay % 2:
                plane.box(x - 0.35, y - 0.55, x + pane + 0.35, y - 0.3, trim * 0.9, b)
                for bar in np.arange(x - 0.3, x + pane + 0.3, 0.16):
                    plane.box(bar, y - 0.3, bar + 0.04, y + 0.6, (54, 56, 60), b)
                plane.box(x - 0.35, y + 0.56, x + pane + 0.35, y + 0.64, (48, 50, 54), b)
    if shop:
        _shop_front(plane, rng, width, ground)
    else:
        plane.box(0, 0, width, 0.7, colour * 0.7, b)
        for bay in range(bays):
            x = (bay + 0.5) * pitch
            if bay == bays // 2:
                plane.box(x - 0.75, 0, x + 0.75, 2.9, trim, b)
                plane.box(x - 0.55, 0, x + 0.55, 2.65, rng.choice([(88, 58, 40), (46, 70, 66), (108, 42, 38)]), b)
                plane.box(x - 0.42, 1.2, x + 0.42, 2.5, (70, 84, 96), b)
            else:
                plane.box(x - pane / 2 - 0.14, 0.95, x + pane / 2 + 0.14, 2.95, trim, b)
                _window(plane, rng, x - pane / 2, 1.1, pane, 1.7, frame)
    plane.box(0, ground, width, ground + 0.22, trim, b)
    plane.box(0, ground - 0.16, width, ground, colour * 0.66, b)
    plane.box(0, height - 0.42, width, height, trim * 1.06, b)
    plane.box(0, height - 0.62, width, height - 0.42, colour * 0.62, b)
    h, w = plane.label.shape
    rough = noise(rng, h, w, 5, 5) * 7 + rng.normal(0, 3, (h, w)).astype(np.float32)
    grime = np.linspace(1.04, 0.9, h, dtype=np.float32)[:, None] * np.ones((1, w), np.float32)
    grime[:, :5] *= 0.8  # the joint to the next house
    return plane.texture(rough, grime), height


def _window(plane: Plane, rng: Generator, x: float, y: float, w: float, h: float, frame: Colour) -> None:
    plane.box(x, y, x + w, y + h, frame, BUILDING)
    glass = np.array([96, 116, 136]) * rng.uniform(0.45, 1.15)
    for column in range(2):
        x0, x1 = x + 0.08 + column * w / 2, x + w / 2 - 0.05 + column * w / 2
        for step in range(6):  # the sky's reflection fades towards the sill
            y0, y1 = y + 0.08 + (h - 0.16) * step / 6, y + 0.08 + (h - 0.16) * (step + 1) / 6
            plane.box(x0, y0, x1, y1, glass * (0.62 + 0.12 * step), BUILDING)
        if rng.random() < 0.4:
            plane.box(x0, y + h * rng.uniform(0.45, 0.75), x1, y + h - 0.08, (206, 200, 188), BUILDING)  # a blind
    plane.box(x, y + h - 0.14, x + w, y + h, np.multiply(frame, 0.55), BUILDING)  # shadow of the lintel


def _shop_front(plane: Plane, rng: Generator, width: float, ground: float) -> None:
    b = BUILDING
    wood = rng.choice([(38, 60, 58), (96, 40, 42), (40, 48, 78), (62, 58, 54), (150, 118, 70)])
    plane.box(0.25, 0, width - 0.25, ground - 0.35, wood, b)
    door = rng.uniform(0.3, 0.6) * width
    for x0, x1 in ((0.5, door - 0.7), (door + 0.7, width - 0.5)):
        plane.box(x0, 0.55, x1, 2.75, (52, 60, 68), b)
        for y in np.arange(0.55, 2.75, 0.2):
            plane.box(x0, y, x1, y + 0.2, np.array([58, 66, 74]) * (0.75 + 0.22 * y), b)
        for _ in range(int((x1 - x0) * 5)):  # goods behind the glass
            gx, gy = rng.uniform(x0 + 0.1, x1 - 0.25), rng.choice([0.6, 1.15])
            plane.box(gx, gy, gx + 0.16, gy + rng.uniform(0.15, 0.42), rng.uniform(70, 220, 3), b)
        plane.fill([(x0 + 0.2, 0.55), (x0 + 0.5, 0.55), (x0 + 1.0, 2.75), (x0 + 0.7, 2.75)], (112, 126, 138), b)
    plane.box(door - 0.5, 0.1, door + 0.5, 2.6, (44, 48, 54), b)
    plane.box(door - 0.38, 0.5, door + 0.38, 2.45, (98, 112, 122), b)
    plane.box(0.35, 2.9, width - 0.35, ground - 0.45, np.multiply(wood, 0.75), b)
    x = width * 0.22
    while x < width * 0.75:  # lettering, too far to be read
        stroke = rng.uniform(0.12, 0.26)
        plane.box(x, 3.03, x + stroke, 3.03 + rng.uniform(0.2, 0.34), (232, 222, 190), b)
        x += stroke + 0.09
    if rng.random() < 0.65:
        stripes = rng.choice([(186, 52, 48), (44, 104, 84), (54, 84, 142), (214, 160, 60)])
        for index, x in enumerate(np.arange(0.3, width - 0.5, 0.4)):
            tone = stripes if index % 2 else (238, 232, 220)
            plane.box(x, 2.25, min(x + 0.4, width - 0.3), 2.95, tone, b)
            plane.box(x, 2.15, min(x + 0.4, width - 0.3), 2.25, np.multiply(tone, 0.75), b)
        plane.box(0.3, 1.95, width - 0.3, 2.15, (40, 42, 46), b)


def crown(rng: Generator, colour: Colour, size: int = 640, blobs: int = 2200, wide: float = 1.0) -> Texture:
    """Foliage: leaf clusters from the dark inside to the sunlit rim, sky between the outer ones."""
    plane = np.zeros((size, size, 3), np.uint8)
    plane[:] = _rgb(np.multiply(colour, 0.6))
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
            cv2.ellipse(plane, shifted, axes, turn, 0, 360, _rgb(tone * rng.uniform(0.88, 1.12)), -1, cv2.LINE_AA)
            cv2.ellipse(label, shifted, axes, turn, 0, 360, VEGETATION, -1)
    return Texture(plane, label)


def hedge(rng: Generator, length: float, height: float, colour: Colour) -> Texture:
    plane = Plane(length, height, 60.0, np.multiply(colour, 0.5))
    count = int(length * height * 150)
    x, y = rng.uniform(0, length, count), rng.uniform(0, height * 0.97, count)
    y = np.minimum(y, height * (0.9 + 0.08 * np.sin(x * 2.3) * np.sin(x * 0.9 + 1)))
    plane.box(0, 0, length, height * 0.84, np.multiply(colour, 0.45), VEGETATION)
    for index in np.argsort(y + rng.normal(0, 0.4, count)):
        tone = np.multiply(colour, 0.5 + 0.62 * y[index] / height) * rng.uniform(0.82, 1.15)
        plane.disc(x[index], y[index], rng.uniform(0.03, 0.08), rng.uniform(0.03, 0.06), tone, VEGETATION)
    return plane.texture()


def garden_wall(rng: Generator, length: float, height: float, colour: Colour) -> Texture:
    plane = Plane(length, height, 70.0, np.multiply(colour, 0.72), WALL)
    for row, y in enumerate(np.arange(0, height - 0.14, 0.16)):
        for x in np.arange(-0.4 * (row % 2) / 2, length, 0.4):
            plane.box(x + 0.012, y + 0.012, x + 0.388, y + 0.148, np.multiply(colour, rng.uniform(0.84, 1.12)), WALL)
    plane.box(0, height - 0.13, length, height, (196, 190, 180), WALL)
    plane.box(0, height - 0.17, length, height - 0.13, np.multiply(colour, 0.5), WALL)
    h, w = plane.label.shape
    return plane.texture(noise(rng, h, w, 6, 4) * 8)


def picket_fence(length: float, height: float, colour: Colour) -> Texture:
    plane = Plane(length, height, 90.0, np.multiply(colour, 0.9))
    for y in (0.22, height - 0.3):
        plane.box(0, y, length, y + 0.09, np.multiply(colour, 0.8), FENCE)
    for x in np.arange(0.02, length - 0.08, 0.145):
        top = height - 0.1
        plane.fill([(x, 0.04), (x + 0.1, 0.04), (x + 0.1, top), (x + 0.05, height), (x, top)], colour, FENCE)
        plane.box(x + 0.08, 0.04, x + 0.1, top, np.multiply(colour, 0.78), FENCE)
    return plane.texture()


def railing(length: float, height: float) -> Texture:
    plane, iron = Plane(length, height, 90.0, (60, 66, 70)), (62, 70, 72)
    for y in (0.08, height - 0.12):
        plane.box(0, y, length, y + 0.06, iron, FENCE)
    for x in np.arange(0, length, 0.13):
        plane.box(x, 0, x + 0.045, height - 0.02, np.multiply(iron, 1.15), FENCE)
    return plane.texture()


def person(rng: Generator, frontal: bool) -> Texture:
    """A walker, 1 m by 1.85 m: seen from the front or back, or in mid-stride from the side."""
    skin = rng.choice([(226, 184, 152), (196, 146, 110), (132, 92, 66), (238, 202, 176)])
    coat = rng.choice([(156, 48, 44), (46, 66, 104), (222, 214, 198), (58, 60, 64), (198, 150, 62), (74, 104, 84)])
    trousers, hair = rng.choice([(40, 46, 62), (74, 66, 58), (30, 30, 34), (104, 112, 124)]), rng.uniform(24, 90) * 1.0
    plane, p = Plane(1.0, 1.85, 190.0, np.multiply(coat, 0.9)), PERSON
    swing = rng.uniform(0.12, 0.24)
    if frontal:
        legs = [((0.43, 0.9), (0.42, 0.48), (0.41, 0.07)), ((0.57, 0.9), (0.58, 0.5), (0.58, 0.13))]
        arms = [((0.31, 1.42), (0.26, 1.14), (0.27, 0.88)), ((0.69, 1.42), (0.75, 1.16), (0.72, 0.92))]
        torso = [(0.33, 0.82), (0.67, 0.82), (0.7, 1.46), (0.58, 1.53), (0.42, 1.53), (0.3, 1.46)]
    else:
        legs = [
            ((0.5, 0.9), (0.5 + swing, 0.5), (0.5 + 1.2 * swing, 0.07)),
            ((0.5, 0.9), (0.5 - swing * 0.4, 0.48), (0.46 - swing * 1.2, 0.12)),
        ]
        arms = [((0.5, 1.42), (0.44, 1.14), (0.5 + swing, 0.94)), ((0.5, 1.42), (0.55, 1.14), (0.48 - swing, 0.95))]
        torso = [(0.39, 0.82), (0.6, 0.82), (0.62, 1.3), (0.57, 1.53), (0.44, 1.53), (0.37, 1.3)]
    plane.stroke(arms[1], 0.1, np.multiply(coat, 0.7), p)
    for dim, leg in zip((0.8, 1.0), legs[::-1], strict=True):
        plane.stroke(leg, 0.15, np.multiply(trousers, dim), p)
        foot = leg[2]
        plane.stroke([foot, (foot[0] + (0.0 if frontal else 0.13), foot[1] - 0.02)], 0.09, (38, 32, 30), p)
    plane.fill(torso, coat, p)
    plane.fill([torso[1], torso[2], torso[3], (torso[3][0] - 0.06, 0.82)], np.multiply(coat, 0.82), p)
    plane.stroke(arms[0], 0.1, np.multiply(coat, 0.9), p)
    plane.disc(arms[0][2][0], arms[0][2][1] - 0.03, 0.045, 0.055, skin, p)
    plane.box(0.46, 1.5, 0.54, 1.6, np.multiply(skin, 0.85), p)
    plane.disc(0.5, 1.69, 0.095, 0.125, skin, p)
    plane.fill([(0.4, 1.66), (0.4, 1.78), (0.46, 1.83), (0.55, 1.83), (0.6, 1.77), (0.6, 1.7), (0.5, 1.76)],
               (hair, hair * 0.8, hair * 0.65), p)  # fmt: skip
    if rng.random() < 0.5:
        plane.fill([(0.62, 0.95), (0.84, 0.95), (0.8, 1.2), (0.66, 1.2)], (92, 62, 44), p)  # a bag
    shade = np.linspace(1.12, 0.85, plane.label.shape[1], dtype=np.float32)[None]
    return plane.texture(shade=np.repeat(shade, plane.label.shape[0], axis=0))


def bicycle(plane: Plane, x: float = 0.0, frame: Colour = (40, 92, 120)) -> None:
    """A bicycle from the side, 1.75 m long, from x on."""
    b, back, front = BICYCLE, (x + 0.36, 0.35), (x + 1.4, 0.35)
    for wheel in (back, front):
        plane.disc(*wheel, 0.33, 0.33, (28, 28, 30), b, ring=0.05)
        plane.disc(*wheel, 0.05, 0.05, (120, 122, 126), b)
        for angle in np.arange(0, np.pi, np.pi / 5):
            reach = 0.3 * np.array([np.cos(angle), np.sin(angle)])
            plane.stroke([np.subtract(wheel, reach), np.add(wheel, reach)], 0.008, (120, 122, 124), b)
    crank, seat, head = (x + 0.8, 0.32), (x + 0.66, 0.86), (x + 1.24, 0.86)
    plane.stroke([back, crank, head, seat, crank], 0.045, frame, b)
    plane.stroke([back, seat, (x + 0.64, 0.98)], 0.035, frame, b)
    plane.stroke([front, head, (x + 1.2, 1.04), (x + 1.08, 1.06)], 0.035, (60, 62, 66), b)
    plane.stroke([(x + 0.54, 0.99), (x + 0.76, 0.98)], 0.06, (30, 28, 28), b)
    plane.disc(*crank, 0.09, 0.09, (70, 72, 76), b, ring=0.03)


def cyclist_behind(rng: Generator) -> Texture:
    """A cyclist from behind, 0.9 m by 1.85 m."""
    plane, jacket = Plane(0.9, 1.85, 190.0, (60, 60, 64)), rng.choice([(214, 86, 40), (60, 120, 170), (206, 190, 60)])
    b, r = BICYCLE, RIDER
    plane.stroke([(0.12, 1.06), (0.78, 1.06)], 0.035, (50, 50, 54), b)
    plane.stroke([(0.36, 0.4), (0.34, 0.62), (0.38, 0.95)], 0.14, (44, 48, 66), r)
    plane.stroke([(0.54, 0.2), (0.57, 0.56), (0.52, 0.95)], 0.14, (38, 42, 58), r)
    plane.stroke([(0.34, 0.36), (0.36, 0.36)], 0.1, (230, 230, 226), r)
    plane.stroke([(0.54, 0.16), (0.56, 0.16)], 0.1, (214, 214, 210), r)
    plane.disc(0.45, 0.36, 0.035, 0.35, (26, 26, 28), b)
    plane.box(0.425, 0.55, 0.475, 0.88, (60, 64, 70), b)
    plane.box(0.42, 0.72, 0.48, 0.78, (210, 30, 28), b)
    for side in (-1, 1):
        plane.stroke([(0.45 + 0.17 * side, 1.44), (0.45 + 0.29 * side, 1.22), (0.45 + 0.28 * side, 1.07)], 0.09,
                     np.multiply(jacket, 0.85), r)  # fmt: skip
    plane.fill([(0.31, 0.86), (0.59, 0.86), (0.64, 1.42), (0.55, 1.52), (0.35, 1.52), (0.26, 1.42)], jacket, r)
    plane.fill([(0.5, 0.86), (0.59, 0.86), (0.64, 1.42), (0.56, 1.5)], np.multiply(jacket, 0.8), r)
    plane.box(0.28, 1.12, 0.62, 1.17, (224, 226, 222), r)
    plane.disc(0.45, 1.6, 0.085, 0.1, (196, 150, 118), r)
    plane.fill([(0.34, 1.62), (0.35, 1.74), (0.41, 1.81), (0.49, 1.81), (0.55, 1.74), (0.56, 1.62), (0.45, 1.66)],
               (232, 234, 236), r)  # fmt: skip
    return plane.texture()


# ------------------------------------------------------------------------------------------------ things


@dataclass
class Thing:
    """Something that stands in the street: its distance orders the painting, its hulls cast the shadows."""

    z: float
    draw: Callable[[Canvas], None]
    hulls: Sequence[np.ndarray] = ()
    contact: np.ndarray | None = None  # outline on the ground that lies in the thing's own dark


@dataclass
class Face:
    """One side of a solid, with what is painted on it afterwards."""

    points: np.ndarray
    colour: Colour
    gradient: tuple[float, float] = (1.04, 0.86)
    details: Sequence[tuple[np.ndarray, Colour, tuple[float, float]]] = ()


def _at(points: np.ndarray, x: float, z: float, yaw: float) -> np.ndarray:
    """Local (across, up, along) to world; yaw 0 drives away from the camera, pi towards it."""
    across, up, along = np.asarray(points, np.float64).T
    return np.stack([
        x + across * np.cos(yaw) + along * np.sin(yaw), up, z - across * np.sin(yaw) + along * np.cos(yaw)
    ], axis=1)  # fmt: skip


def draw_solid(canvas: Canvas, faces: Sequence[Face], label: int, place: tuple[float, float, float]) -> None:
    """Draw the faces of a convex solid that look at the camera, far ones first, lit by the sun."""
    eye = np.array([canvas.camera.x, canvas.camera.y, 0.0])
    heart = np.mean([_at(face.points, *place).mean(axis=0) for face in faces], axis=0)
    eye[0] -= canvas.camera.bend * heart[2] ** 2  # the camera as the bent world sees it
    visible = []
    for face in faces:
        points = _at(face.points, *place)
        normal = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
        normal /= max(np.linalg.norm(normal), 1e-9)
        centre = points.mean(axis=0)
        if np.dot(normal, centre - heart) < 0:
            normal = -normal
        if np.dot(normal, eye - centre) > 0:
            visible.append((np.linalg.norm(centre - eye), points, normal, face))
    for _, points, normal, face in sorted(visible, key=lambda item: -item[0]):
        canvas.polygon(points, canvas.light.lit(face.colour, normal), label, face.gradient)
        for detail, colour, gradient in face.details:
            canvas.polygon(_at(detail, *place), canvas.light.lit(colour, normal), label, gradient)


def _inset(quad: np.ndarray, u0: float, u1: float, v0: float, v1: float) -> np.ndarray:
    """Part of a quad (lower left, lower right, upper right, upper left), u along its base, v up."""
    a, b, c, d = np.asarray(quad, np.float64)
    return np.array([
        (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))
    ])  # fmt: skip


def _wheel(side: float, along: float, radius: float) -> list[tuple[np.ndarray, Colour, tuple[float, float]]]:
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)

    def ring(r: float) -> np.ndarray:
        return np.stack([np.full(28, side), radius + r * np.cos(turn), along + r * np.sin(turn)], axis=1)

    arch = ring(radius * 1.2)
    arch[:, 1] = arch[:, 1].clip(radius * 0.9)
    flat = (1.0, 1.0)
    tones = (
        (radius, (30, 30, 32)),
        (radius * 0.64, (150, 154, 160)),
        (radius * 0.5, (92, 96, 102)),
        (0.06, (170,) * 3),
    )
    return [(arch, (16, 16, 18), flat), *[(ring(r), tone, flat) for r, tone in tones]]


GLASS, DARK, PLATE, RED, LAMP = (66, 84, 98), (34, 36, 40), (226, 226, 216), (186, 24, 26), (244, 244, 232)
SHEEN = (1.5, 0.75)  # window glass mirrors the sky above and the street below


def car(x: float, z: float, paint: Colour, away: bool = True, kind: str = "hatch", yaw: float = 0.0) -> Thing:
    """A passenger car: a body extruded from its side profile, and a tapered cabin."""
    length, width, height = {"hatch": (4.1, 1.76, 1.47), "saloon": (4.6, 1.82, 1.44), "suv": (4.5, 1.88, 1.7)}[kind]
    belt, base = height * 0.635, 0.3 if kind != "suv" else 0.38
    half, rear_deck = width / 2, {"hatch": 0.06, "saloon": 0.75, "suv": 0.04}[kind]
    profile = np.array([
        (0.04, base), (0, base + 0.3), (0.05, belt - 0.03), (rear_deck + 0.1, belt), (length * 0.72, belt),
        (length * 0.96, belt - 0.2), (length, belt - 0.36), (length - 0.03, base),
    ])  # fmt: skip
    profile[:, 0] -= length / 2

    def strip(i: int, w: float = half) -> np.ndarray:
        (l0, y0), (l1, y1) = profile[i], profile[i + 1]
        return np.array([(-w, y0, l0), (w, y0, l0), (w, y1, l1), (-w, y1, l1)])

    flat, lower = (1.0, 1.0), (1.0, 0.8)
    rear, nose, bumper = strip(1), strip(5), strip(6)
    details: dict[int, list] = {
        0: [
            (_inset(strip(0), 0.03, 0.97, 0.0, 0.5), DARK, flat),
            (_inset(strip(0), 0.36, 0.64, 0.62, 1.0), PLATE, flat),
        ],
        1: [(_inset(rear, *span, 0.3, 0.86), RED, (1.25, 0.8)) for span in ((0.02, 0.2), (0.8, 0.98))]
        + [(_inset(rear, 0.22, 0.78, 0.2, 0.25), np.multiply(paint, 0.6), flat)],
        5: [(_inset(nose, *span, 0.05, 0.75), LAMP, (1.0, 0.8)) for span in ((0.02, 0.24), (0.76, 0.98))]
        + [(_inset(nose, 0.28, 0.72, 0.0, 0.5), DARK, flat)],
        6: [(_inset(bumper, 0.1, 0.9, 0.5, 0.98), DARK, flat), (_inset(bumper, 0.36, 0.64, 0.3, 0.6), PLATE, flat)],
    }
    body = [Face(strip(i), paint, lower, details.get(i, ())) for i in range(len(profile) - 1)]
    for side in (-half, half):
        outline = np.stack([np.full(len(profile), side), profile[:, 1], profile[:, 0]], axis=1)
        l0, l1, handle = -length / 2 + 0.04, length / 2 - 0.03, length * 0.02
        sill = np.array([(side, base, l0), (side, base, l1), (side, base + 0.1, l1), (side, base + 0.1, l0)])
        line = np.array([(side, belt - 0.16, handle), (side, belt - 0.16, handle + 0.2),
                         (side, belt - 0.12, handle + 0.2), (side, belt - 0.12, handle)])  # fmt: skip
        extra = [(sill, DARK, flat), (line, np.multiply(paint, 0.55), flat)]
        wheels = [*_wheel(side, -length * 0.31, 0.33), *_wheel(side, length * 0.31, 0.33)]
        body.append(Face(outline, paint, (1.06, 0.72), [*extra, *wheels]))
    r0, r1 = (0.75, 1.25) if kind == "saloon" else (0.32, 0.62)
    start, stop = rear_deck + 0.12, length * 0.73
    b = np.array([(s * half * 0.95, belt - 0.01, end - length / 2) for end in (start, stop) for s in (-1, 1)])
    roof_at = (start + r0 * 0.8, stop - 0.85 - 0.1 * r1)
    t = np.array([(s * half * 0.76, height, end - length / 2) for end in roof_at for s in (-1, 1)])
    cabin = [Face(np.array([t[0], t[1], t[3], t[2]]), np.multiply(paint, 1.05), (1.0, 1.05))]
    for i, j, spans in ((0, 1, ((0.07, 0.93),)), (2, 3, ((0.05, 0.95),)), (0, 2, ((0.1, 0.44), (0.49, 0.9))),
                        (1, 3, ((0.1, 0.44), (0.49, 0.9)))):  # fmt: skip
        quad = np.array([b[i], b[j], t[j], t[i]])
        glass = [(_inset(quad, *span, 0.08, 0.88), GLASS, SHEEN) for span in spans]
        cabin.append(Face(quad, np.multiply(paint, 0.82), (1.0, 0.95), glass))
    place = (x, z, yaw + (0.0 if away else np.pi))
    return _vehicle([(body, CAR), (cabin, CAR)], place, (width, length, height))


def _vehicle(
    solids: list, place: tuple[float, float, float], size: tuple[float, float, float], axle: float = 0.31
) -> Thing:
    width, length, height = size
    box = np.array([(s * width / 2, y, e * length / 2) for s in (-1, 1) for y in (0, height) for e in (-1, 1)])
    foot = np.array([(s * width * 0.54, 0, e * length * 0.52) for s, e in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    label = solids[0][1]

    def draw(canvas: Canvas) -> None:
        for along in (-axle * length, axle * length):
            under = np.array([(-width * 0.42, 0.14, along), (width * 0.42, 0.14, along),
                              (width * 0.42, 0.5, along), (-width * 0.42, 0.5, along)])  # fmt: skip
            canvas.polygon(_at(under, *place), (20, 20, 22), label)
            for s in (-1, 1):
                tyre = [(s * width * 0.36, 0), (s * width * 0.49, 0), (s * width * 0.49, 0.5), (s * width * 0.36, 0.5)]
                canvas.polygon(_at([(w, y, along) for w, y in tyre], *place), (26, 26, 28), label)
        for faces, kind in solids:
            draw_solid(canvas, faces, kind, place)

    return Thing(place[1], draw, [_at(box, *place)], _at(foot, *place))


def _block(width: float, y0: float, y1: float, l0: float, l1: float, paint: Colour) -> dict[str, Face]:
    """A box with named faces; quads start lower left as seen from outside."""
    w = width / 2
    quads = {
        "rear": [(-w, y0, l0), (w, y0, l0), (w, y1, l0), (-w, y1, l0)],
        "front": [(w, y0, l1), (-w, y0, l1), (-w, y1, l1), (w, y1, l1)],
        "left": [(-w, y0, l1), (-w, y0, l0), (-w, y1, l0), (-w, y1, l1)],
        "right": [(w, y0, l0), (w, y0, l1), (w, y1, l1), (w, y1, l0)],
        "top": [(-w, y1, l0), (w, y1, l0), (w, y1, l1), (-w, y1, l1)],
    }
    return {name: Face(np.array(quad, np.float64), paint, (1.03, 0.88), []) for name, quad in quads.items()}


def bus(x: float, z: float, paint: Colour, away: bool) -> Thing:
    """A city bus, 11 m long."""
    body, flat = _block(2.5, 0.34, 3.05, -5.5, 5.5, paint), (1.0, 1.0)
    for side, sign in (("left", -1), ("right", 1)):
        quad = body[side].points
        glass = [(_inset(quad, 0.02, 0.98, 0.42, 0.86), (30, 36, 42), flat)]
        glass += [(_inset(quad, u + 0.006, u + 0.108, 0.44, 0.84), GLASS, SHEEN) for u in np.arange(0.03, 0.9, 0.118)]
        glass += [
            (_inset(quad, u, u + 0.09, 0.04, 0.84), (54, 66, 76), SHEEN) for u in ((0.03, 0.5) if sign < 0 else ())
        ]
        glass += [(_inset(quad, 0.0, 1.0, 0.12, 0.17), (240, 240, 236), flat)]
        body[side].details = [*glass, *_wheel(sign * 1.25, -3.0, 0.48), *_wheel(sign * 1.25, 3.1, 0.48)]
    front, rear = body["front"].points, body["rear"].points
    body["front"].details = [
        (_inset(front, 0.05, 0.95, 0.36, 0.83), (26, 32, 38), flat),
        (_inset(front, 0.07, 0.93, 0.38, 0.81), (70, 90, 106), SHEEN),
        (_inset(front, 0.49, 0.505, 0.38, 0.81), (30, 34, 38), flat),
        (_inset(front, 0.12, 0.88, 0.85, 0.96), (22, 22, 24), flat),
        *[
            (_inset(front, u, u + 0.05, 0.875, 0.935), (250, 170, 40), flat)
            for u in (0.2, 0.27, 0.4, 0.47, 0.54, 0.61, 0.7)
        ],
        *[(_inset(front, u, u + 0.16, 0.1, 0.2), LAMP, flat) for u in (0.05, 0.79)],
        (_inset(front, 0.38, 0.62, 0.06, 0.12), PLATE, flat),
        (_inset(front, 0.0, 1.0, 0.0, 0.05), DARK, flat),
    ]
    body["rear"].details = [
        (_inset(rear, 0.1, 0.9, 0.5, 0.85), GLASS, SHEEN),
        *[(_inset(rear, u, u + 0.1, 0.15, 0.4), RED, flat) for u in (0.03, 0.87)],
        (_inset(rear, 0.2, 0.8, 0.12, 0.4), np.multiply(paint, 0.7), flat),
        (_inset(rear, 0.38, 0.62, 0.05, 0.12), PLATE, flat),
    ]
    return _vehicle([(list(body.values()), BUS)], (x, z, 0.0 if away else np.pi), (2.5, 11.0, 3.05), axle=0.275)


def truck(x: float, z: float, paint: Colour, cargo: Colour, away: bool) -> Thing:
    """A delivery lorry: a box behind a cab."""
    box, cab, flat = _block(2.3, 0.6, 3.1, -3.4, 1.5, cargo), _block(2.15, 0.42, 2.4, 1.6, 3.4, paint), (1.0, 1.0)
    for side, sign in (("left", -1), ("right", 1)):
        quad = box[side].points
        box[side].details = [(_inset(quad, 0.0, 1.0, 0.0, 0.07), DARK, flat),
                             (_inset(quad, 0.12, 0.88, 0.42, 0.66), paint, flat),
                             *_wheel(sign * 1.15, -2.0, 0.46)]  # fmt: skip
        window = _inset(cab[side].points, *((0.1, 0.62) if sign < 0 else (0.38, 0.9)), 0.52, 0.9)
        cab[side].details = [(window, GLASS, SHEEN), *_wheel(sign * 1.08, 2.4, 0.46)]
    rear, front = box["rear"].points, cab["front"].points
    box["rear"].details = [
        (_inset(rear, 0.04, 0.96, 0.08, 0.96), np.multiply(cargo, 0.9), flat),
        (_inset(rear, 0.49, 0.51, 0.08, 0.96), (90, 92, 96), flat),
        *[(_inset(rear, u, u + 0.02, 0.1, 0.94), (120, 122, 126), flat) for u in (0.3, 0.68)],
        (_inset(rear, 0.0, 1.0, 0.0, 0.07), DARK, flat),
        *[(_inset(rear, u, u + 0.1, 0.0, 0.07), RED, flat) for u in (0.02, 0.88)],
    ]
    cab["front"].details = [
        (_inset(front, 0.06, 0.94, 0.5, 0.92), (64, 84, 100), SHEEN),
        (_inset(front, 0.2, 0.8, 0.2, 0.4), DARK, flat),
        *[(_inset(front, u, u + 0.14, 0.1, 0.24), LAMP, flat) for u in (0.04, 0.82)],
        (_inset(front, 0.38, 0.62, 0.06, 0.14), PLATE, flat),
    ]
    solids = [(list(cab.values()), TRUCK), (list(box.values()), TRUCK)]
    return _vehicle(solids if away else solids[::-1], (x, z, 0.0 if away else np.pi), (2.3, 6.8, 3.1))


def billboard(texture: Texture, x: float, z: float, width: float, height: float, base: float = 0.0) -> Thing:
    """A painted plane that faces the camera."""
    left, right, top = x - width / 2, x + width / 2, base + height
    corners = np.array([(left, top, z), (right, top, z), (right, base, z), (left, base, z)])
    body = np.array([(x + s * width * 0.22, y, z) for s in (-1, 1) for y in (base, top)])
    foot = np.array([(x + width * 0.32 * np.cos(a), base, z + 0.22 * np.sin(a)) for a in np.linspace(0, 6, 10)])
    return Thing(z, lambda canvas: canvas.decal(texture, corners, _tint(canvas)), [body], foot)


def _tint(canvas: Canvas) -> np.ndarray:
    """Light on things whose texture has its own shading."""
    return np.asarray(canvas.light.ambient) + 0.75 * np.asarray(canvas.light.sun)


def tree(rng: Generator, texture: Texture, x: float, z: float, height: float, spread: float, trunk: float) -> Thing:
    """A trunk with two boughs, labelled vegetation as in Cityscapes, and a crown."""
    bark = np.array([96, 80, 66]) * rng.uniform(0.8, 1.1)
    r, lean = 0.045 * height**0.75, rng.normal(0, 0.15)

    def draw(canvas: Canvas) -> None:
        top = trunk + (height - trunk) * 0.45
        for x0, x1, tone in ((-r, 0.1 * r, 1.1), (0.1 * r, r, 0.72)):
            stem = [(x + x0, KERB, z), (x + x1, KERB, z), (x + lean + x1 * 0.6, top, z), (x + lean + x0 * 0.6, top, z)]
            canvas.polygon(np.array(stem), bark * _tint(canvas) * tone, VEGETATION, (0.6, 1.0))
        left, right, bottom = x + lean - spread / 2, x + lean + spread / 2, trunk - (height - trunk) * 0.12
        crown_at = [(left, height, z), (right, height, z), (right, bottom, z), (left, bottom, z)]
        canvas.decal(texture, np.array(crown_at), _tint(canvas))

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


def _post(
    canvas: Canvas, x: float, z: float, y0: float, y1: float, r: float, colour: Colour, label: int = POLE
) -> None:
    for x0, x1, tone in ((-r, 0.2 * r, 1.12), (0.2 * r, r, 0.75)):
        quad = np.array([(x + x0, y0, z), (x + x1, y0, z), (x + x1, y1, z), (x + x0, y1, z)])
        canvas.polygon(quad, np.multiply(colour, tone) * _tint(canvas), label)


def lamp_post(x: float, z: float, reach: float, height: float = 7.5) -> Thing:
    """A street lamp whose arm points to the road; reach is signed."""
    grey = (104, 110, 114)

    def draw(canvas: Canvas) -> None:
        _post(canvas, x, z, KERB, 0.9, 0.11, grey)
        _post(canvas, x, z, 0.9, height, 0.065, grey)
        arm = [
            (x, height - 0.1, z),
            (x + reach, height + 0.25, z),
            (x + reach, height + 0.35, z),
            (x, height + 0.05, z),
        ]
        canvas.polygon(np.array(arm), np.multiply(grey, 0.95), POLE)
        end, tip = x + reach, 0.35 * np.sign(reach)
        head = [(end - tip, height + 0.22, z), (end + tip, height + 0.27, z), (end + tip, height + 0.4, z),
                (end - tip, height + 0.4, z)]  # fmt: skip
        canvas.polygon(np.array(head), (150, 154, 158), POLE)

    return Thing(
        z, draw, [np.array([(x - 0.07, 0, z), (x + 0.07, 0, z), (x + 0.07, height, z), (x - 0.07, height, z)])]
    )


def _disc(x: float, y: float, z: float, r: float, sides: int = 32, turn: float = 0.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False) + turn
    return np.stack([x + r * np.sin(angle), y + r * np.cos(angle), np.full(sides, z)], axis=1)


def traffic_light(x: float, z: float, reach: float, lit: int) -> Thing:
    """Signals on a mast and on its arm over the road; lit: 0 red, 1 amber, 2 green. Faces the camera."""

    def head(canvas: Canvas, hx: float, hy: float) -> None:
        box = [(hx - 0.2, hy - 0.5, z), (hx + 0.2, hy - 0.5, z), (hx + 0.2, hy + 0.5, z), (hx - 0.2, hy + 0.5, z)]
        canvas.polygon(np.array(box) + (0, 0, 0.05), (20, 22, 22), LIGHT)
        canvas.polygon(np.array(box) * (1, 1, 1), (38, 42, 42), LIGHT, (1.2, 0.9))
        for index, tone in enumerate(((236, 44, 36), (240, 170, 40), (60, 214, 130))):
            on = index == lit
            at = hy + 0.31 - 0.31 * index
            canvas.polygon(_disc(hx, at, z, 0.125), np.multiply(tone, 1.0 if on else 0.2), LIGHT)
            if on:
                canvas.polygon(_disc(hx, at, z, 0.06), np.multiply(tone, 0.5) + 128, LIGHT)

    def draw(canvas: Canvas) -> None:
        _post(canvas, x, z, KERB, 5.7 if reach else 3.2, 0.09, (92, 98, 100))
        if reach:
            low, high = min(x, x + reach), max(x, x + reach)
            arm = np.array([(low, 5.5, z), (high, 5.5, z), (high, 5.62, z), (low, 5.62, z)])
            canvas.polygon(arm, np.multiply((92, 98, 100), _tint(canvas)), POLE)
            head(canvas, x + reach, 5.35)
        head(canvas, x + 0.32 * (np.sign(reach) or -1), 2.9)

    return Thing(z, draw, [np.array([(x - 0.09, 0, z), (x + 0.09, 0, z), (x + 0.09, 5.7, z), (x - 0.09, 5.7, z)])])


def sign(x: float, z: float, kind: str, height: float = 2.5) -> Thing:
    """A road sign: "no entry", "priority", "crossing", "limit" or "parking"."""

    def draw(canvas: Canvas) -> None:
        _post(canvas, x, z, KERB, height + 0.2, 0.035, (150, 154, 158))

        def plate(shape: np.ndarray, colour: Colour) -> None:
            canvas.polygon(shape, np.multiply(colour, _tint(canvas) * 0.92), SIGN, (1.06, 0.94))

        if kind == "no entry":
            plate(_disc(x, height, z, 0.34), (240, 240, 240))
            plate(_disc(x, height, z, 0.32), (200, 24, 32))
            plate(np.array([(x - 0.22, height - 0.06, z), (x + 0.22, height - 0.06, z), (x + 0.22, height + 0.06, z),
                            (x - 0.22, height + 0.06, z)]), (244, 244, 244))  # fmt: skip
        elif kind == "limit":
            face = Plane(0.7, 0.7, 180.0, (246, 246, 242))
            face.disc(0.35, 0.35, 0.34, 0.34, (204, 24, 32), SIGN)
            face.disc(0.35, 0.35, 0.25, 0.25, (246, 246, 242), SIGN)
            cv2.putText(face.colour, "30", (28, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.9, (22, 22, 26), 9, cv2.LINE_AA)
            low, high = height - 0.35, height + 0.35
            at = [(x - 0.35, high, z), (x + 0.35, high, z), (x + 0.35, low, z), (x - 0.35, low, z)]
            canvas.decal(face.texture(), np.array(at), _tint(canvas) * 0.92)
        elif kind == "priority":
            for r, tone in (
                (0.42, (244, 244, 240)),
                (0.36, (28, 28, 30)),
                (0.34, (244, 244, 240)),
                (0.25, (246, 196, 20)),
            ):
                plate(_disc(x, height, z, r, 4), tone)
        elif kind == "crossing":
            square = _disc(x, height, z, 0.46, 4, np.pi / 4)
            plate(square, (28, 84, 176))
            plate(_disc(x, height - 0.05, z, 0.27, 3), (246, 246, 246))
            plate(_disc(x, height + 0.03, z, 0.045), (20, 20, 24))
            legs = [
                (x - 0.1, height - 0.17, z),
                (x, height - 0.01, z),
                (x + 0.1, height - 0.17, z),
                (x, height - 0.1, z),
            ]
            plate(np.array(legs), (20, 20, 24))
        else:
            plate(_disc(x, height, z, 0.44, 4, np.pi / 4), (28, 84, 176))
            plate(np.array([(x - 0.12, height - 0.2, z), (x - 0.05, height - 0.2, z), (x - 0.05, height + 0.2, z),
                            (x - 0.12, height + 0.2, z)]), (246, 246, 246))  # fmt: skip
            plate(_disc(x + 0.02, height + 0.09, z, 0.12), (246, 246, 246))
            plate(_disc(x + 0.02, height + 0.09, z, 0.055), (28, 84, 176))

    return Thing(z, draw, [np.array([(x - 0.05, 0, z), (x + 0.05, 0, z), (x + 0.3, height, z), (x - 0.3, height, z)])])


def along_road(texture: Texture, x: float, z0: float, z1: float, height: float, base: float = KERB) -> Thing:
    """A plane beside the road (hedge, fence, wall), its nearer end at z0."""
    near, far = (z0, z1)
    ends = (near, far) if x < 0 else (far, near)  # the camera reads it from left to right
    corners = np.array(
        [(x, base + height, ends[0]), (x, base + height, ends[1]), (x, base, ends[1]), (x, base, ends[0])]
    )
    body = np.array([(x, y, z) for y in (0, height) for z in (z0, z1)])

    def draw(canvas: Canvas) -> None:
        normal = (-np.sign(x), 0.0, 0.0)
        canvas.decal(texture, corners, canvas.light.lit((1.0, 1.0, 1.0), normal))

    return Thing(z0, draw, [body])


def building(
    rng: Generator, x: float, z0: float, z1: float, floors: int, colour: Colour, shop: bool, roof: str
) -> Thing:
    """A house whose front stands along the road at x, with an end wall towards the camera and a roof."""
    width, side = z1 - z0, np.sign(x)
    texture, height = facade(rng, width, floors, colour, shop)
    slate = rng.choice([(88, 84, 92), (150, 84, 64), (116, 74, 62), (96, 98, 104)])
    depth, rise = 11.0, {"flat": 0.0, "mansard": 2.4, "gable": 3.2}[roof]

    def draw(canvas: Canvas) -> None:
        end = canvas.light.lit(np.multiply(colour, 0.94), (0.0, 0.0, -1.0))
        wall = [(x, 0, z0), (x + side * depth, 0, z0), (x + side * depth, height, z0), (x, height, z0)]
        if roof == "gable":
            wall.insert(3, (x + side * depth / 2, height + rise, z0))
        ends = (z0, z1) if side < 0 else (z1, z0)
        back = {"flat": 1.0, "mansard": 1.1, "gable": depth / 2}[roof]
        slope = np.array([-side * rise, back, 0.0]) / np.hypot(rise, back)
        lip = -0.35 * side if roof == "gable" else 0.0
        eye = (canvas.camera.x - canvas.camera.bend * z0**2 - x - lip, canvas.camera.y - height)
        if np.dot(slope[:2], eye) > 0:  # from close by the eaves hide the roof
            tiles = Plane(width, 3.0, 30.0, slate, BUILDING)
            for row in np.arange(0, 3.0, 0.24):
                tiles.box(0, row, width, row + 0.07, np.multiply(slate, 0.78), BUILDING)
            for dormer in np.arange(1.6, width - 1.6, 3.1) if roof == "mansard" else ():
                tiles.box(dormer - 0.7, 0.35, dormer + 0.7, 2.35, (214, 208, 198), BUILDING)
                _window(tiles, rng_of(x, z0), dormer - 0.5, 0.5, 1.0, 1.6, (236, 234, 228))
            h, w = tiles.label.shape
            sheet = tiles.texture(noise(rng_of(x, z0), h, w, 8, 4) * 9)
            top, low = height + rise, height - (0.15 if roof == "gable" else 0)
            corners = [(x + side * back, top, ends[0]), (x + side * back, top, ends[1]), (x + lip, low, ends[1]),
                       (x + lip, low, ends[0])]  # fmt: skip
            canvas.decal(sheet, np.array(corners), canvas.light.lit((1.0, 1.0, 1.0), slope))
            stack = _block(0.6, height + rise * 0.6, height + rise + 0.8, -0.4, 0.4, (138, 102, 88))
            draw_solid(canvas, list(stack.values()), BUILDING, (x + side * (back + 0.4), z0 + 0.22 * width, 0.0))
        canvas.polygon(np.array(wall), end, BUILDING, (1.03, 0.88))
        front = [(x, height, ends[0]), (x, height, ends[1]), (x, 0, ends[1]), (x, 0, ends[0])]
        canvas.decal(texture, np.array(front), canvas.light.lit((1.0, 1.0, 1.0), (-side, 0.0, 0.0)))
        if roof == "gable" and width > 6:  # windows of the end wall
            pane = Plane(1.3, 1.5, 60.0, (230, 228, 222), BUILDING)
            _window(pane, rng_of(x, z0), 0.0, 0.0, 1.3, 1.5, (232, 230, 224))
            for floor, off in ((1.1, 2.4), (1.1, 7.2), (height - 2.4, 2.4), (height - 2.4, 7.2)):
                a, b = sorted((x + side * off, x + side * (off + 1.3)))
                quad = [(a, floor + 1.5, z0), (b, floor + 1.5, z0), (b, floor, z0), (a, floor, z0)]
                canvas.decal(pane.texture(), np.array(quad), canvas.light.lit((1.0, 1.0, 1.0), (0.0, 0.0, -1.0)))

    body = np.array([(x + d, y, z) for d in (0, side * depth) for y in (0, height) for z in (z0, z1)])
    return Thing(z0, draw, [body])


def rng_of(x: float, z: float) -> Generator:
    """A generator tied to a place, for what is drawn late and must not depend on the order of drawing."""
    return np.random.default_rng([int(abs(x) * 100), int(z * 100)])


# ------------------------------------------------------------------------------------------------ ground and sky


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


def paint_sky(canvas: Canvas, rng: Generator, zenith: Colour, rim: Colour, cover: float, glow: Colour | None) -> None:
    """Gradient, clouds on a plane overhead, and a glow around a low sun. Fills the picture above the horizon."""
    camera = canvas.camera
    rows = int(camera.horizon * camera.height) + 3
    rise = (camera.horizon * camera.height - np.arange(rows, dtype=np.float32)[:, None] - 0.5) / (
        camera.focal * camera.width
    )
    across = (np.arange(camera.width, dtype=np.float32)[None] - camera.width / 2) / (camera.focal * camera.width)
    blend = np.sqrt((rise / 0.32).clip(0, 1))[..., None]
    sky = np.asarray(rim, np.float32) * (1 - blend) + np.asarray(zenith, np.float32) * blend
    tile = noise(rng, 1024, 1024, 7, 6)
    height = rise.clip(0.012) + 0.05  # keeps the far clouds from shrinking to nothing
    u, v = np.broadcast_to(across / height, (rows, camera.width)), np.broadcast_to(1 / height, (rows, camera.width))

    def cloud(du: float, dv: float) -> np.ndarray:
        return cv2.remap(tile, np.mod((u + 9 + du) * 95, 1023).astype(np.float32),
                         np.mod((v + dv) * 95, 1023).astype(np.float32), cv2.INTER_LINEAR)  # fmt: skip

    density = ((cloud(0, 0) - 0.55 + cover) * 2.2).clip(0, 1)
    density = density * density * (3 - 2 * density)
    shade = (0.5 + 0.5 * (cloud(0, 0) - cloud(0.25 * np.sign(canvas.light.direction[0]), -0.2))).clip(0, 1)
    white = np.asarray(rim, np.float32) * 0.35 + 165 + 28 * (shade[..., None] - 0.5)
    sky = sky * np.ones((1, camera.width, 1), np.float32)
    sky += (white - sky) * (0.9 * density * (rise / 0.03).clip(0.25, 1))[..., None]
    if glow is not None:
        sun = canvas.light.direction
        ahead = (across - sun[0] / max(sun[2], 0.2)) ** 2 + (rise - sun[1] / max(sun[2], 0.2)) ** 2
        halo = (0.75 * np.exp(-ahead / 0.03) + 0.35 * np.exp(-ahead / 0.4))[..., None]
        sky += (np.asarray(glow, np.float32) - sky) * halo.clip(0, 1)
    canvas.image[:rows] = sky.clip(0, 255).astype(np.uint8)
    canvas.label[:rows] = SKY


def paint_hood(canvas: Canvas, colour: Colour) -> None:
    """The bonnet of the camera's own car, unlabelled as in Cityscapes."""
    h, w = canvas.label.shape
    x = (np.arange(w) - w / 2) / (w / 2)
    edge = h * (0.945 + 0.05 * x**2)
    rows = np.arange(h)[int(h * 0.93) :, None]
    depth = (rows - edge[None]) / (h * 0.06)
    inside = depth >= 0
    tone = np.asarray(colour) * (0.62 + 0.9 * np.exp(-((depth - 0.12) ** 2) / 0.02) + 0.25 * (1 - np.abs(x)))[..., None]
    region = np.s_[h - len(rows) :, :]
    canvas.image[region][inside] = tone[inside].clip(0, 255).astype(np.uint8)
    canvas.label[region][inside] = UNLABELLED


# ------------------------------------------------------------------------------------------------ streets


@dataclass
class Street:
    """Everything a picture needs; the sky's arguments are those of paint_sky."""

    title: str
    alt: str
    camera: Camera
    light: Light
    ground: Ground
    sky: tuple[Colour, Colour, float, Colour | None]
    frontage: list[Thing]  # whatever the road's things can only stand in front of
    things: list[Thing]
    hood: Colour
    leaves: Colour = (104, 132, 74)


GREENS = ((100, 128, 70), (86, 118, 68), (112, 134, 74), (78, 108, 66))
PAINTS = ((176, 32, 36), (36, 70, 128), (226, 228, 230), (58, 62, 68), (150, 156, 162), (24, 26, 30), (64, 104, 92),
          (206, 170, 92), (98, 128, 156))  # fmt: skip
STUCCO = ((226, 208, 172), (214, 182, 146), (206, 204, 196), (196, 160, 132), (222, 214, 200), (184, 172, 156))
TOWN = ((228, 190, 128), (198, 112, 86), (160, 186, 188), (236, 220, 184), (214, 150, 122), (176, 190, 152),
        (206, 200, 190))  # fmt: skip


def row_of_houses(
    rng: Generator, x: float, z: float, end: float, colours: Sequence[Colour], floors: tuple[int, int], shops: float,
    roofs: Sequence[str], width: tuple[float, float] = (9.0, 15.0),
) -> list[Thing]:  # fmt: skip
    """Houses wall to wall along x, from z to end."""
    houses, last = [], -1
    while z < end:
        deep, pick = rng.uniform(*width), int(rng.integers(len(colours)))
        pick = (pick + 1) % len(colours) if pick == last else pick
        last, tone = pick, np.asarray(colours[pick]) * rng.uniform(0.94, 1.04)
        storeys = int(rng.integers(floors[0], floors[1] + 1))
        houses.append(building(rng, x, z, z + deep, storeys, tone, rng.random() < shops, str(rng.choice(roofs))))
        z += deep
    return houses


def walkers(rng: Generator, spots: Sequence[tuple[float, float]], base: float = KERB) -> list[Thing]:
    return [billboard(person(rng, bool(rng.random() < 0.6)), x, z, 1.0, rng.uniform(1.68, 1.9), base) for x, z in spots]


def parked(rng: Generator, x: float, start: float, end: float, away: bool, gaps: float = 0.25) -> list[Thing]:
    cars, z = [], start
    while z < end:
        if rng.random() > gaps:
            kind, paint = str(rng.choice(["hatch", "saloon", "suv"])), PAINTS[int(rng.integers(len(PAINTS)))]
            cars.append(car(x + rng.normal(0, 0.06), z, paint, away, kind, rng.normal(0, 0.012)))
        z += rng.uniform(5.4, 6.4)
    return cars


def avenue(rng: Generator, size: tuple[int, int]) -> Street:
    """A wide sunny avenue: plane trees, tall fronts, parked cars, a crossing with signals."""
    camera = Camera(*size, x=1.75, y=1.5, horizon=0.53)
    light = Light((-0.62, 0.9, -0.5), sun=(0.78, 0.71, 0.58), ambient=(0.56, 0.6, 0.67), haze=(204, 220, 236))
    walk = (("sidewalk", 6.0), ("sidewalk", 1.0))
    ground = Ground(7.8, walk, walk, ((0.0, True), (3.4, True), (-3.4, True), (5.7, False), (-5.7, False)), zebra=21.0)
    crowns = [crown(rng, GREENS[i % 4]) for i in range(5)]
    frontage = [
        house
        for side in (-1, 1)
        for house in row_of_houses(rng, side * 13.8, 5.0, 150, STUCCO, (3, 5), 0.5, ["mansard", "mansard", "flat"])
    ]
    things = []
    for side in (-1, 1):
        for index, z in enumerate(np.arange(10.5 if side < 0 else 13.0, 130, 9.5)):
            if abs(z - 21) > 3:
                top = rng.uniform(7.6, 9.4)
                things.append(
                    tree(rng, crowns[(index + (side > 0) * 2) % 5], side * 9.0, z, top, rng.uniform(4.6, 5.8), 2.9)
                )
        things += [lamp_post(side * 8.5, z, -side * 1.5, 8.0) for z in (17.0, 43.0, 70.0, 98.0)]
    things += parked(rng, 6.75, 9.6, 16, True, 0.0) + parked(rng, 6.75, 27, 90, True, 0.2)
    things += parked(rng, -6.75, 8.8, 17, False, 0.0) + parked(rng, -6.75, 27, 90, False, 0.25)
    things += [car(1.75, 34.0, PAINTS[0], True, "hatch"), car(-1.8, 29.0, PAINTS[2], False, "saloon"),
               car(4.5, 48.0, PAINTS[8], True, "suv"), car(-1.7, 58.0, PAINTS[3], False, "suv"),
               bus(-4.6, 62.0, (70, 128, 96), False)]  # fmt: skip
    things += [traffic_light(8.3, 18.6, -2.6, 2), traffic_light(-8.3, 24.5, 0.0, 2), sign(8.5, 24.2, "crossing", 2.7),
               sign(-8.5, 15.2, "parking", 2.6)]  # fmt: skip
    things += walkers(rng, [(10.6, 12.5), (11.2, 24.0), (11.9, 24.4), (-10.6, 14.0), (-11.4, 27.0), (-12.2, 18.0),
                            (10.2, 37.0), (-10.4, 44.0), (12.0, 52.0)])  # fmt: skip
    things += walkers(rng, [(-5.0, 21.2), (-3.9, 21.8)], base=0.0)
    rack = Plane(1.8, 1.15, 190.0, (40, 40, 44))
    bicycle(rack, 0.0, (166, 52, 44))
    things += [billboard(rack.texture(), x, z, 1.8, 1.15, KERB) for x, z in ((9.9, 16.6), (-10.0, 21.5))]
    return Street(
        "Sunny avenue",
        "Drawn street scene: a wide avenue in sunshine with trees and parked cars on both sides, tall pale house "
        "fronts, a pedestrian crossing with traffic lights, walkers, and a red car ahead under a blue sky.",
        camera, light, ground, ((70, 128, 204), (196, 218, 238), 0.6, None), frontage, things, (44, 48, 58),
    )  # fmt: skip


def town(rng: Generator, size: tuple[int, int]) -> Street:
    """A narrow street of an old town: coloured houses, shops, a delivery lorry, people."""
    camera = Camera(*size, x=0.9, y=1.5, horizon=0.54, focal=0.74, bend=0.0011)
    light = Light(
        (0.7, 1.0, -0.35), sun=(0.5, 0.47, 0.42), ambient=(0.68, 0.7, 0.74), haze=(216, 220, 224), shadow=0.36
    )
    ground = Ground(4.3, (("sidewalk", 2.3), ("sidewalk", 1.0)), (("sidewalk", 2.1), ("sidewalk", 1.0)),
                    ((-2.15, False),), zebra=14.5, asphalt=(134, 131, 127))  # fmt: skip
    frontage = row_of_houses(rng, -6.6, 4.0, 140, TOWN, (1, 3), 0.75, ["gable", "mansard", "flat"], (6.5, 10.0))
    frontage += row_of_houses(rng, 6.4, 4.5, 140, TOWN, (1, 3), 0.75, ["gable", "mansard", "flat"], (6.5, 10.0))
    things = [truck(1.1, 27.0, (52, 104, 148), (232, 232, 226), True)]
    things += parked(rng, -3.25, 8.6, 11, True, 0.0) + parked(rng, -3.25, 20, 80, True, 0.2)
    things += [car(1.2, 46.0, PAINTS[7], True, "hatch"), car(1.2, 60.0, PAINTS[4], True, "saloon")]
    things += walkers(rng, [(5.3, 8.6), (5.0, 14.6), (5.7, 15.0), (-5.4, 9.8), (-5.6, 17.8), (-5.0, 18.2), (5.2, 22.5),
                            (-5.3, 26.0), (5.5, 33.0), (-5.6, 38.0), (4.9, 42.0)])  # fmt: skip
    things += walkers(rng, [(2.5, 14.3), (-0.9, 15.1)], base=0.0)
    for x, z, tone in ((5.9, 11.2, (52, 110, 96)), (-5.9, 13.2, (40, 76, 140)), (5.8, 18.8, (170, 120, 40))):
        plane = Plane(1.8, 1.15, 190.0, (40, 40, 44))
        bicycle(plane, 0.0, tone)
        things.append(billboard(plane.texture(), x - 0.5 * np.sign(x), z, 1.8, 1.15, KERB))
    things += [lamp_post(side * 4.7, z, -side * 0.9, 5.2) for side, z in ((1, 21.0), (-1, 22.0), (1, 33.0), (-1, 48.0))]
    things += [sign(5.0, 13.4, "no entry", 2.7), sign(-4.75, 12.2, "crossing", 2.6), sign(4.75, 28.0, "limit", 2.4),
               traffic_light(4.7, 16.2, 0.0, 2)]  # fmt: skip
    fence = railing(3.2, 1.0)
    things += [along_road(fence, 4.5, 18.4, 21.6, 1.0), along_road(fence, -4.5, 16.8, 20.0, 1.0)]
    bush = [crown(rng, GREENS[i], 420, 900) for i in range(3)]
    for x, z in ((-6.0, 11.4), (5.9, 20.6), (-6.0, 22.8), (5.8, 29.0)):  # tubs with shrubs before the doors
        pot = _block(0.55, KERB, 0.6, -0.28, 0.28, (126, 84, 62))

        def draw(canvas: Canvas, x: float = x, z: float = z, pot: dict = pot) -> None:
            draw_solid(canvas, list(pot.values()), BUILDING, (x, z, 0.0))
            top = np.array([(x - 0.6, 1.8, z), (x + 0.6, 1.8, z), (x + 0.6, 0.45, z), (x - 0.6, 0.45, z)])
            canvas.decal(bush[int(z) % 3], top, _tint(canvas))

        foot = np.array([(x + 0.35 * np.cos(a), KERB, z + 0.35 * np.sin(a)) for a in np.linspace(0, 6, 9)])
        things.append(Thing(z, draw, [], foot))
    things += [tree(rng, bush[0], -5.9, 33.0, 5.8, 3.4, 2.2), tree(rng, bush[1], 5.8, 46.0, 6.2, 3.6, 2.2)]
    return Street(
        "Town street",
        "Drawn street scene: a narrow street of an old town with coloured houses and shop fronts, people on the "
        "pavements and on the crossing, parked cars, bicycles and a delivery lorry ahead under a pale sky.",
        camera, light, ground, ((134, 168, 206), (222, 228, 234), 0.62, None), frontage, things, (76, 26, 30),
    )  # fmt: skip


def suburb(rng: Generator, size: tuple[int, int]) -> Street:
    """A bending suburban road in the evening sun: gardens, fences, a bus coming and a cyclist ahead."""
    camera = Camera(*size, x=1.7, y=1.5, horizon=0.53, bend=-0.0009)
    light = Light((-0.62, 0.34, 0.52), sun=(1.05, 0.78, 0.5), ambient=(0.64, 0.63, 0.68), haze=(240, 214, 184),
                  clear_distance=200, shadow=0.36)  # fmt: skip
    ground = Ground(3.7, (("terrain", 1.4), ("sidewalk", 1.8), ("terrain", 1.0)),
                    (("sidewalk", 2.0), ("terrain", 1.0)), ((0.0, True), (3.45, False), (-3.45, False)),
                    grass=(126, 152, 70))  # fmt: skip
    crowns = [
        crown(rng, tone) for tone in ((122, 140, 62), (104, 130, 60), (150, 138, 58), (92, 118, 60), (132, 146, 70))
    ]
    frontage = []
    for side, setback in ((-1, 15.0), (1, 12.5)):
        z = 7.0 if side < 0 else 12.0
        while z < 120:
            wide = rng.uniform(8.5, 11.5)
            tone = np.asarray(STUCCO[int(rng.integers(len(STUCCO)))]) * 1.02
            frontage.append(building(rng, side * setback, z, z + wide, int(rng.integers(1, 3)) if z > 20 else 1, tone,
                                     False, "gable"))  # fmt: skip
            z += wide + rng.uniform(4.0, 8.0)
    things = []
    edge = {-1: -7.6, 1: 6.2}
    wall, pickets = garden_wall(rng, 7.0, 1.05, (176, 120, 92)), picket_fence(7.0, 1.1, (238, 234, 224))
    rails, hedges = railing(7.0, 1.2), [hedge(rng, 7.0, 1.35, GREENS[index]) for index in range(3)]
    for side in (-1, 1):
        z = 4.5
        for index in range(15):
            kind = (index + (side > 0)) % 4
            texture, height = ((pickets, 1.1), (hedges[index % 3], 1.35), (wall, 1.05), (rails, 1.2))[kind]
            things.append(along_road(texture, edge[side], z, z + 7.0, height))
            z += 7.0 + (1.2 if index % 2 else 0.0)
        for index, z in enumerate(np.arange(11.0 if side < 0 else 15.5, 125, 11.0)):
            x = edge[side] + side * rng.uniform(1.4, 3.2)
            top = rng.uniform(5.6, 8.6)
            things.append(tree(rng, crowns[(index * 2 + (side > 0)) % 5], x, z, top, top * rng.uniform(0.62, 0.8), 1.7))
        things += [
            lamp_post(side * (4.0 if side > 0 else 4.4), z, -side * 1.1, 6.5) for z in (20.0 + 6 * side, 52.0, 84.0)
        ]
    verge = tree(rng, crowns[4], -4.4, 30.0, 6.2, 4.2, 2.1)
    things += [verge, tree(rng, crowns[1], -4.4, 48.0, 6.6, 4.6, 2.1)]
    things += [bus(-1.85, 27.0, (214, 178, 44), False), billboard(cyclist_behind(rng), 2.75, 11.5, 0.9, 1.85),
               car(1.75, 31.0, PAINTS[1], True, "saloon"), car(-1.8, 50.0, PAINTS[0], False, "hatch"),
               car(1.8, 58.0, PAINTS[2], True, "suv"), car(-8.9, 13.0, PAINTS[8], False, "suv", 1.2)]  # fmt: skip
    things += [sign(4.15, 17.5, "priority", 2.4), sign(4.15, 40.0, "limit", 2.3), sign(-4.15, 22.0, "limit", 2.3)]
    things += walkers(rng, [(5.1, 14.0), (-6.1, 15.5), (-5.7, 16.2), (5.2, 34.0)])
    return Street(
        "Suburban road",
        "Drawn street scene: a suburban road that bends away in low evening sun, a cyclist and a blue car ahead, a "
        "yellow bus coming, gardens with fences, walls and hedges, gabled houses, trees and long shadows.",
        camera, light, ground, ((112, 150, 196), (250, 224, 190), 0.45, (255, 232, 186)), frontage, things,
        (120, 122, 126), leaves=(132, 132, 84),
    )  # fmt: skip


STREETS = (avenue, town, suburb)


def draw_street(kind: int, seed: int, size: tuple[int, int] = (1024, 512)) -> tuple[np.ndarray, np.ndarray, Street]:
    """Draw one street.

    kind: index into STREETS; seed: same seed, same picture; size: (width, height) in pixels.
    Returns: picture (H, W, 3) uint8 RGB, label (H, W) uint8 train ids with 255 on the own bonnet, the Street.
    """
    rng = np.random.default_rng([seed, kind])
    street = STREETS[kind](rng, (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE))
    canvas = Canvas(street.camera, street.light)
    paint_sky(canvas, rng, *street.sky)
    paint_ground(canvas, rng, street.ground)
    everything = street.frontage + street.things
    for thing in everything:
        for hull in thing.hulls:
            canvas.cast(hull, 0.95)
        if thing.contact is not None:
            canvas.cast(thing.contact, 1.35)
    canvas.settle(softness=size[0] / 700)
    close_view(canvas, rng, street.leaves)
    for thing in sorted(street.frontage, key=lambda t: -t.z) + sorted(street.things, key=lambda t: -t.z):
        thing.draw(canvas)
    paint_hood(canvas, street.hood)
    picture, label = canvas.result()
    return develop(picture, rng), label, street


def close_view(canvas: Canvas, rng: Generator, leaves: Colour) -> None:
    """A wood far ahead, so that no street ends in bare sky."""
    belt = hedge(rng, 20.0, 1.5, leaves)
    for x in (-180.0, -60.0, 60.0):
        canvas.decal(belt, np.array([(x, 8.0, 235.0), (x + 120, 8.0, 235.0), (x + 120, 0, 235.0), (x, 0, 235.0)]))
    tufts = [crown(rng, np.multiply(leaves, tone), 160, 500, 1.2) for tone in (0.9, 1.0, 1.1)]
    for index, x in enumerate(np.arange(-180, 180, 7.0)):
        z, top, half = rng.uniform(200, 230), rng.uniform(11, 19), rng.uniform(6, 9)
        canvas.decal(
            tufts[index % 3], np.array([(x - half, top, z), (x + half, top, z), (x + half, -2, z), (x - half, -2, z)])
        )


def develop(picture: np.ndarray, rng: Generator) -> np.ndarray:
    """What a camera adds: a little bloom, vignette, contrast and grain. (H, W, 3) uint8 to the same."""
    h, w = picture.shape[:2]
    image = picture.astype(np.float32)
    bright = cv2.GaussianBlur((image - 205).clip(0), (0, 0), w / 80)
    image += 0.7 * bright
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    image *= (1 - 0.16 * ((x**2 + y**2) / 2) ** 1.5)[..., None].astype(np.float32)
    unit = (image / 255).clip(0, 1)
    image = 255 * (0.75 * unit + 0.25 * unit * unit * (3 - 2 * unit))
    image += cv2.GaussianBlur(rng.normal(0, 3.2, (h, w, 1)).astype(np.float32), (0, 0), 0.6)[..., None]
    image += rng.normal(0, 1.2, (h, w, 3)).astype(np.float32)
    return image.clip(0, 255).astype(np.uint8)


# ------------------------------------------------------------------------------------------------ command line


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def write_examples(out: Path, count: int = 3, seed: int = 0, size: tuple[int, int] = (1024, 512)) -> list[dict]:
    """Draw count streets into a folder: street-N.jpg, its label street-N.png, and the card examples.json.

    Returns: the entries of the card. Raises ValueError for a count below one.
    """
    if count < 1:
        raise ValueError(f"--count is {count}, but at least one street must be drawn.")
    out.mkdir(parents=True, exist_ok=True)
    folder = out.name if out.is_absolute() else out.as_posix()
    command = f"python -m train.scenes.drawn --out {folder} --count {count} --seed {seed} --size {size[0]}x{size[1]}"
    card = []
    for index in range(count):
        kind, this_seed = index % len(STREETS), seed + index // len(STREETS)
        picture, label, street = draw_street(kind, this_seed, size)
        name = f"street-{index + 1}"
        jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        _write(out / f"{name}.jpg", jpeg)
        _write(out / f"{name}.png", cv2.imencode(".png", label)[1].tobytes())
        card.append({"file": f"{name}.jpg", "label": f"{name}.png", "title": street.title, "alt": street.alt,
                     "seed": this_seed, "command": command})  # fmt: skip
    _write(out / "examples.json", (json.dumps(card, indent=2) + "\n").encode())
    return card


def parse_size(text: str) -> tuple[int, int]:
    """ "1024x512" to (1024, 512)."""
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 64):
        raise argparse.ArgumentTypeError(f"{text} is not a size; write it as WIDTHxHEIGHT in pixels, at least 64x64.")
    return int(width), int(height)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.scenes.drawn", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures, made if absent")
    parser.add_argument("--count", type=int, default=3, help="number of streets (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same pictures (default 0)")
    parser.add_argument("--size", type=parse_size, default=(1024, 512), help="WIDTHxHEIGHT in pixels (1024x512)")
    options = parser.parse_args(arguments)
    try:
        card = write_examples(options.out, options.count, options.seed, options.size)
    except ValueError as error:
        parser.error(str(error))
    for entry in card:
        print(f"{options.out / entry['file']}: {entry['title']}")


if __name__ == "__main__":
    main()
