"""The guessed geometry of a street."""

from __future__ import annotations

import numpy as np

from mfuser.weather.scene import estimate_scene

H, W, HORIZON = 240, 320, 110


def test_geometry_of_the_street(street):
    scene = estimate_scene(street)
    x, y = scene.vanishing
    assert abs(x - W / 2) < 0.08 * W and abs(y - HORIZON) < 0.08 * H
    assert scene.sky[5:40, 140:180].mean() > 0.95 and scene.sky[HORIZON + 10 :].max() < 0.05
    assert scene.ground[170:230, 140:180].mean() > 0.7 and scene.ground[:100].max() < 0.05
    down_the_road = scene.depth[[235, 190, 150, 125], 175]
    assert np.all(np.diff(down_the_road) > 0) and down_the_road[0] < 6
    assert scene.depth[20, 160] > 200
    car, road = scene.depth[127:133, 85:100].mean(), scene.depth[127:133, 150:170].mean()
    assert car < 0.75 * road, "what stands on the road is as near as its foot"
