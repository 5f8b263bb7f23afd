"""The drawn streets: same seed, same picture; labels that belong to the pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mfuser.cityscapes import CLASSES
from train.scenes.picture import draw_street
from train.scenes.streets import STREETS

SIZE = (384, 192)


@pytest.fixture(scope="module", params=range(len(STREETS)), ids=[s.__name__ for s in STREETS])
def street(request) -> tuple[np.ndarray, np.ndarray]:
    return draw_street(request.param, 0, SIZE)[:2]


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
    first, again = draw_street(1, 3, size), draw_street(1, 3, size)
    other = draw_street(1, 4, size)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])
