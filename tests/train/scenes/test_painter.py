"""The painter: projection, clipping, order of painting, shadows."""

from __future__ import annotations

import numpy as np
import pytest

from mfuser.cityscapes import CLASSES
from train import scenes
from train.scenes.textures import Plane


def test_class_numbers_are_those_of_cityscapes():
    for name, constant in (("road", scenes.ROAD), ("traffic light", scenes.LIGHT), ("traffic sign", scenes.SIGN),
                           ("vegetation", scenes.VEGETATION), ("sky", scenes.SKY), ("rider", scenes.RIDER),
                           ("bus", scenes.BUS), ("bicycle", scenes.BICYCLE)):  # fmt: skip
        assert CLASSES[constant] == name


def small_canvas(**camera) -> scenes.Canvas:
    return scenes.Canvas(scenes.Camera(300, 150, **camera), scenes.Light((0.0, 1.0, 0.0)))


def test_projection_and_ground_are_inverse():
    camera = scenes.Camera(600, 300, x=1.5, y=1.4, bend=0.001)
    top, x, z = camera.ground(0.1)
    rows, columns = np.array([5, 60, 120]), np.array([20, 300, 580])
    points = np.stack([x[rows, columns], np.full(3, 0.1), z[rows, columns]], axis=1)
    expected = np.stack([columns + 0.5, rows + top + 0.5], axis=1)
    assert np.abs(camera.project(points) - expected).max() < 0.05


def test_clipping_keeps_what_lies_ahead():
    square = np.array([(-1.0, 0.0, -2.0), (1.0, 0.0, -2.0), (1.0, 0.0, 4.0), (-1.0, 0.0, 4.0)])
    kept = scenes.clip_near(square)
    assert kept[:, 2].min() == pytest.approx(scenes.NEAR) and kept[:, 2].max() == 4.0
    assert len(scenes.clip_near(square - (0, 0, 10))) == 0


def test_nearer_paint_covers_and_holes_do_not():
    canvas = small_canvas()
    wall = np.array([(-2.0, 3.0, 8.0), (2.0, 3.0, 8.0), (2.0, 0.0, 8.0), (-2.0, 0.0, 8.0)])
    canvas.polygon(wall, (200, 0, 0), scenes.WALL)
    texture = Plane(4.0, 3.0, 20.0, (0, 200, 0))
    texture.box(0, 0, 2.0, 3.0, (0, 200, 0), scenes.FENCE)
    canvas.decal(texture.texture(), wall - (0, 0, 1.0))
    picture, label = canvas.result()
    u, v = (canvas.camera.project(np.array([(-1.0, 1.5, 7.5), (1.0, 1.5, 7.5)])) / scenes.SUPERSAMPLE).astype(int).T
    assert label[v[0], u[0]] == scenes.FENCE and picture[v[0], u[0], 1] > 150
    assert label[v[1], u[1]] == scenes.WALL and picture[v[1], u[1], 0] > 150


def test_a_shadow_falls_away_from_the_sun_on_ground_only():
    canvas = small_canvas()
    canvas.light = scenes.Light((-1.0, 1.0, 0.0), shadow=0.5)
    canvas.image[:] = 200
    canvas.label[:] = scenes.ROAD
    canvas.label[:, :150] = scenes.BUILDING
    canvas.cast(np.array([(0.0, y, z) for y in (0.0, 2.0) for z in (7.0, 9.0)]))
    canvas.settle()
    u, v = canvas.camera.project(np.array([(1.0, 0.0, 8.0), (-1.0, 0.0, 8.0)])).astype(int).T
    assert canvas.image[v[0], u[0]].max() < 130 and canvas.image[v[1], u[1]].min() == 200
    assert (canvas.image[:, :150] == 200).all()
