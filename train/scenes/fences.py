"""What runs along the road: garden walls, picket fences, railings, and the plane that hedges are put on too."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.scenes import FENCE, WALL, Canvas, Colour, Texture, noise
from train.scenes.textures import Plane
from train.scenes.things import KERB, Thing


def garden_wall(rng: Generator, length: float, height: float, colour: Colour) -> Texture:
    """A wall of bonded bricks under a coping, in metres."""
    plane = Plane(length, height, 70.0, np.multiply(colour, 0.72), WALL)
    for row, y in enumerate(np.arange(0, height - 0.14, 0.16)):
        for x in np.arange(-0.4 * (row % 2) / 2, length, 0.4):
            plane.box(x + 0.012, y + 0.012, x + 0.388, y + 0.148, np.multiply(colour, rng.uniform(0.84, 1.12)), WALL)
    plane.box(0, height - 0.13, length, height, (196, 190, 180), WALL)
    plane.box(0, height - 0.17, length, height - 0.13, np.multiply(colour, 0.5), WALL)
    h, w = plane.label.shape
    return plane.texture(noise(rng, h, w, 6, 4) * 8)


def picket_fence(length: float, height: float, colour: Colour) -> Texture:
    """Pointed pales on two rails, in metres; one sees between them."""
    plane = Plane(length, height, 90.0, np.multiply(colour, 0.9))
    for y in (0.22, height - 0.3):
        plane.box(0, y, length, y + 0.09, np.multiply(colour, 0.8), FENCE)
    for x in np.arange(0.02, length - 0.08, 0.145):
        top = height - 0.1
        plane.fill([(x, 0.04), (x + 0.1, 0.04), (x + 0.1, top), (x + 0.05, height), (x, top)], colour, FENCE)
        plane.box(x + 0.08, 0.04, x + 0.1, top, np.multiply(colour, 0.78), FENCE)
    return plane.texture()


def railing(length: float, height: float) -> Texture:
    """Iron bars between two rails, in metres; one sees between them."""
    plane, iron = Plane(length, height, 90.0, (60, 66, 70)), (62, 70, 72)
    for y in (0.08, height - 0.12):
        plane.box(0, y, length, y + 0.06, iron, FENCE)
    for x in np.arange(0, length, 0.13):
        plane.box(x, 0, x + 0.045, height - 0.02, np.multiply(iron, 1.15), FENCE)
    return plane.texture()


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
