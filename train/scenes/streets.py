"""The streets: an avenue, a town and a suburb, each composed anew from the generator that it is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from train.scenes import BUILDING, Camera, Canvas, Colour, Light
from train.scenes.buildings import building, row_of_houses
from train.scenes.fences import along_road, garden_wall, picket_fence, railing
from train.scenes.furniture import lamp_post, sign, traffic_light
from train.scenes.ground import Ground
from train.scenes.people import bicycle, cyclist_behind, walkers
from train.scenes.plants import crown, hedge, tree
from train.scenes.textures import Plane
from train.scenes.things import KERB, Thing, billboard, block, draw_solid, tint
from train.scenes.vehicles import PAINTS, bus, car, parked, truck

GREENS = ((100, 128, 70), (86, 118, 68), (112, 134, 74), (78, 108, 66))
STUCCO = ((226, 208, 172), (214, 182, 146), (206, 204, 196), (196, 160, 132), (222, 214, 200), (184, 172, 156))
TOWN = ((228, 190, 128), (198, 112, 86), (160, 186, 188), (236, 220, 184), (214, 150, 122), (176, 190, 152),
        (206, 200, 190))  # fmt: skip


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
        pot = block(0.55, KERB, 0.6, -0.28, 0.28, (126, 84, 62))

        def draw(canvas: Canvas, x: float = x, z: float = z, pot: dict = pot) -> None:
            draw_solid(canvas, list(pot.values()), BUILDING, (x, z, 0.0))
            top = np.array([(x - 0.6, 1.8, z), (x + 0.6, 1.8, z), (x + 0.6, 0.45, z), (x - 0.6, 0.45, z)])
            canvas.decal(bush[int(z) % 3], top, tint(canvas))

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
