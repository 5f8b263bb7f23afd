"""Fronts of houses: windows, shutters, balconies, doors and shop fronts, painted once and put up by `buildings`."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.scenes import BUILDING, Colour, Texture, noise
from train.scenes.textures import Plane


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
            window(plane, rng, x, y, pane, tall, frame)
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
                window(plane, rng, x - pane / 2, 1.1, pane, 1.7, frame)
    plane.box(0, ground, width, ground + 0.22, trim, b)
    plane.box(0, ground - 0.16, width, ground, colour * 0.66, b)
    plane.box(0, height - 0.42, width, height, trim * 1.06, b)
    plane.box(0, height - 0.62, width, height - 0.42, colour * 0.62, b)
    h, w = plane.label.shape
    rough = noise(rng, h, w, 5, 5) * 7 + rng.normal(0, 3, (h, w)).astype(np.float32)
    grime = np.linspace(1.04, 0.9, h, dtype=np.float32)[:, None] * np.ones((1, w), np.float32)
    grime[:, :5] *= 0.8  # the joint to the next house
    return plane.texture(rough, grime), height


def window(plane: Plane, rng: Generator, x: float, y: float, w: float, h: float, frame: Colour) -> None:
    """A window of two panes on a plane, w by h metres with its lower left corner at (x, y)."""
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
    """A shop on the ground floor: two display windows, a door between, lettering, at times an awning."""
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
