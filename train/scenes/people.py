"""People and bicycles: painted planes, in metres, that face the camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from train.scenes import BICYCLE, PERSON, RIDER, Colour, Texture
from train.scenes.textures import Plane
from train.scenes.things import KERB, Thing, billboard


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


def walkers(rng: Generator, spots: Sequence[tuple[float, float]], base: float = KERB) -> list[Thing]:
    """One person at each spot (x, z), their feet base metres above the road."""
    return [billboard(person(rng, bool(rng.random() < 0.6)), x, z, 1.0, rng.uniform(1.68, 1.9), base) for x, z in spots]


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
