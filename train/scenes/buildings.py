"""Houses: a front along the road, an end wall towards the camera, a roof; alone or in rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from train.scenes import BUILDING, Canvas, Colour, noise
from train.scenes.facades import facade, window
from train.scenes.textures import Plane
from train.scenes.things import Thing, block, draw_solid


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
                window(tiles, rng_of(x, z0), dormer - 0.5, 0.5, 1.0, 1.6, (236, 234, 228))
            h, w = tiles.label.shape
            sheet = tiles.texture(noise(rng_of(x, z0), h, w, 8, 4) * 9)
            top, low = height + rise, height - (0.15 if roof == "gable" else 0)
            corners = [(x + side * back, top, ends[0]), (x + side * back, top, ends[1]), (x + lip, low, ends[1]),
                       (x + lip, low, ends[0])]  # fmt: skip
            canvas.decal(sheet, np.array(corners), canvas.light.lit((1.0, 1.0, 1.0), slope))
            stack = block(0.6, height + rise * 0.6, height + rise + 0.8, -0.4, 0.4, (138, 102, 88))
            draw_solid(canvas, list(stack.values()), BUILDING, (x + side * (back + 0.4), z0 + 0.22 * width, 0.0))
        canvas.polygon(np.array(wall), end, BUILDING, (1.03, 0.88))
        front = [(x, height, ends[0]), (x, height, ends[1]), (x, 0, ends[1]), (x, 0, ends[0])]
        canvas.decal(texture, np.array(front), canvas.light.lit((1.0, 1.0, 1.0), (-side, 0.0, 0.0)))
        if roof == "gable" and width > 6:  # windows of the end wall
            pane = Plane(1.3, 1.5, 60.0, (230, 228, 222), BUILDING)
            window(pane, rng_of(x, z0), 0.0, 0.0, 1.3, 1.5, (232, 230, 224))
            for floor, off in ((1.1, 2.4), (1.1, 7.2), (height - 2.4, 2.4), (height - 2.4, 7.2)):
                a, b = sorted((x + side * off, x + side * (off + 1.3)))
                quad = [(a, floor + 1.5, z0), (b, floor + 1.5, z0), (b, floor, z0), (a, floor, z0)]
                canvas.decal(pane.texture(), np.array(quad), canvas.light.lit((1.0, 1.0, 1.0), (0.0, 0.0, -1.0)))

    body = np.array([(x + d, y, z) for d in (0, side * depth) for y in (0, height) for z in (z0, z1)])
    return Thing(z0, draw, [body])


def rng_of(x: float, z: float) -> Generator:
    """A generator tied to a place, for what is drawn late and must not depend on the order of drawing."""
    return np.random.default_rng([int(abs(x) * 100), int(z * 100)])


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
