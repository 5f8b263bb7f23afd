"""What stands in a street paints itself, in its own class, where it stands."""

from __future__ import annotations

import numpy as np
import pytest

from train import scenes
from train.scenes import fences, furniture, people, plants, vehicles
from train.scenes.things import billboard, block, draw_solid


def painted(thing, x: float = 0.0) -> tuple[set[int], np.ndarray]:
    """Labels that a thing leaves on an empty canvas, and how many of its pixels lie in each half of the width."""
    canvas = scenes.Canvas(scenes.Camera(600, 300, x=x), scenes.Light((0.3, 1.0, -0.3)))
    thing.draw(canvas)
    touched = canvas.label != scenes.UNLABELLED
    return set(canvas.label[touched].tolist()), touched.reshape(300, 2, 300).sum(axis=(0, 2))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("away", [True, False])
@pytest.mark.parametrize("x", [-2.5, 2.5])
def test_vehicles_stand_where_they_are_put(away, x):
    red, white = (180, 30, 30), (230, 230, 230)
    made = {scenes.BUS: [vehicles.bus(x, 14.0, red, away)], scenes.TRUCK: [vehicles.truck(x, 12.0, red, white, away)]}
    made[scenes.CAR] = [vehicles.car(x, 9.0, red, away, kind) for kind in ("hatch", "saloon", "suv")]
    for label, things in made.items():
        for thing in things:
            labels, (left, right) = painted(thing)
            assert labels == {label}
            assert (left > 4 * right) if x < 0 else (right > 4 * left)


@pytest.mark.parametrize("kind", ["no entry", "limit", "priority", "crossing", "parking"])
def test_signs_are_a_plate_on_a_pole(kind):
    labels, _ = painted(furniture.sign(1.0, 6.0, kind))
    assert labels == {scenes.SIGN, scenes.POLE}


def test_lamps_lights_trees_and_people(rng):
    assert painted(furniture.lamp_post(1.0, 12.0, -1.0))[0] == {scenes.POLE}
    for reach in (0.0, -2.5):
        assert painted(furniture.traffic_light(2.0, 12.0, reach, 2))[0] == {scenes.LIGHT, scenes.POLE}
    crown = plants.crown(rng, (100, 128, 70), 120, 300)
    assert painted(plants.tree(rng, crown, 0.0, 14.0, 6.0, 4.0, 2.0))[0] == {scenes.VEGETATION}
    for thing in people.walkers(rng, [(0.0, 6.0)] * 4):
        assert painted(thing)[0] == {scenes.PERSON}
    cyclist = billboard(people.cyclist_behind(rng), 0.0, 6.0, 0.9, 1.85)
    assert painted(cyclist)[0] == {scenes.RIDER, scenes.BICYCLE}


def test_one_sees_through_a_fence_but_not_through_a_wall(rng):
    open_share = [
        (texture.label == scenes.HOLE).mean()
        for texture in (fences.railing(3.0, 1.0), fences.picket_fence(3.0, 1.0, (240, 240, 240)),
                        fences.garden_wall(rng, 3.0, 1.0, (176, 120, 92)))
    ]  # fmt: skip
    assert open_share[0] > open_share[1] > 0.1 and open_share[2] == 0


def test_a_solid_shows_only_the_sides_that_look_at_the_camera():
    seen = {}
    for x in (-4.0, 4.0):
        canvas = scenes.Canvas(scenes.Camera(600, 300), scenes.Light((0.0, 1.0, 0.0)))
        faces = block(2.0, 0.0, 1.2, -1.0, 1.0, (200, 200, 200))
        paint = {"rear": (250, 0, 0), "front": (0, 250, 0), "left": (0, 0, 250), "right": (250, 0, 250)}
        for name, colour in paint.items():
            faces[name].colour = colour
        draw_solid(canvas, list(faces.values()), scenes.WALL, (x, 9.0, 0.0))
        inside = canvas.image[canvas.label == scenes.WALL].astype(int)
        green, blue = (inside[:, 1] > inside[:, 0] + 60).any(), (inside[:, 2] > inside[:, 0] + 60).any()
        violet = ((inside[:, 0] > inside[:, 1] + 60) & (inside[:, 2] > inside[:, 1] + 60)).any()
        seen[x] = (bool(green), bool(blue), bool(violet))
    assert seen == {-4.0: (False, False, True), 4.0: (False, True, False)}
