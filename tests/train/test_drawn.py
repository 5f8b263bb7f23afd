"""The drawn streets: same seed, same picture; labels that belong to the pixels; files that a page can use."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mfuser.cityscapes import CLASSES
from train import scenes
from train.scenes import drawn

SIZE = (384, 192)


@pytest.fixture(scope="module", params=range(len(drawn.STREETS)), ids=[s.__name__ for s in drawn.STREETS])
def street(request) -> tuple[np.ndarray, np.ndarray]:
    return drawn.draw_street(request.param, 0, SIZE)[:2]


def test_class_numbers_are_those_of_cityscapes():
    for name, constant in (("road", scenes.ROAD), ("traffic light", scenes.LIGHT), ("traffic sign", scenes.SIGN),
                           ("vegetation", scenes.VEGETATION), ("sky", scenes.SKY), ("rider", scenes.RIDER),
                           ("bus", scenes.BUS), ("bicycle", scenes.BICYCLE)):  # fmt: skip
        assert CLASSES[constant] == name


def test_size_and_values(street):
    picture, label = street
    assert picture.shape == (SIZE[1], SIZE[0], 3) and picture.dtype == np.uint8
    assert label.shape == (SIZE[1], SIZE[0]) and label.dtype == np.uint8
    assert set(np.unique(label)) <= {*range(19), 255}
    assert len(set(np.unique(label)) - {255}) >= 10
    assert 0 < (label == 255).mean() < 0.08
    assert (label[-1] == 255).all() and (label[: SIZE[1] // 2] != 255).all()  # only the own bonnet is unlabelled


def test_colours_fit_their_labels(street):
    picture, label = street
    mean = {name: picture[label == CLASSES.index(name)].mean(axis=0) for name in ("sky", "vegetation", "road")}
    assert mean["sky"][2] > mean["sky"][0] + 8
    assert mean["vegetation"][1] > mean["vegetation"][2] + 20
    assert np.ptp(mean["road"]) < 25  # asphalt is grey
    assert mean["sky"].mean() > mean["road"].mean()


def test_label_borders_lie_on_picture_edges(street):
    picture, label = street
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    step = np.abs(np.diff(grey, axis=1))
    border = label[:, 1:] != label[:, :-1]
    assert step[border].mean() > 2.5 * step[~border].mean()
    shifted = np.roll(border, 4, axis=1)  # four pixels off must fit clearly worse
    assert step[border].mean() > 1.4 * step[shifted].mean()


def test_perspective_order(street):
    _, label = street
    rows = {name: np.nonzero(label == CLASSES.index(name))[0].mean() for name in ("sky", "building", "road")}
    assert rows["sky"] < rows["building"] < rows["road"]


def test_seed_decides_the_picture():
    size = (192, 96)
    first, again = drawn.draw_street(1, 3, size), drawn.draw_street(1, 3, size)
    other = drawn.draw_street(1, 4, size)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_files_and_card(tmp_path):
    card = drawn.write_examples(tmp_path / "out", count=1, seed=2, size=(192, 96))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["examples.json", "street-1.jpg", "street-1.png"]
    assert json.loads((tmp_path / "out" / "examples.json").read_text()) == card
    assert set(card[0]) == {"file", "label", "title", "alt", "seed", "command"} and str(tmp_path) not in str(card)
    picture = cv2.imread(str(tmp_path / "out" / "street-1.jpg"))[..., ::-1]
    label = cv2.imread(str(tmp_path / "out" / "street-1.png"), cv2.IMREAD_UNCHANGED)
    drawn_picture, drawn_label, _ = drawn.draw_street(0, 2, (192, 96))
    assert np.array_equal(label, drawn_label)
    assert np.abs(picture.astype(int) - drawn_picture).mean() < 8  # JPEG


def test_bad_arguments_are_answered_in_a_sentence(tmp_path, capsys):
    for arguments, sentence in ((["--size", "big"], "WIDTHxHEIGHT"), (["--count", "0"], "at least one street")):
        with pytest.raises(SystemExit):
            drawn.main(["--out", str(tmp_path), *arguments])
        assert sentence in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ the painter


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
    texture = drawn.Plane(4.0, 3.0, 20.0, (0, 200, 0))
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
