"""Augmentation: image and label move together, colours leave labels alone, every draw comes from one place."""

from __future__ import annotations

import numpy as np
import pytest

from train.data.augment import PADDING, Augmentation, choose_crop, distort_colours

PLAIN = {"scale": (1.0, 1.0), "photometric": False, "flip": 0.0, "category_cap": 1.0}


def scene(height: int = 60, width: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose red channel is its label times 40."""
    label = np.zeros((height, width), np.uint8)
    label[: height // 2, : width // 2], label[height // 2 :, width // 2 :], label[:4] = 1, 2, 3
    image = np.full((height, width, 3), 20, np.uint8)
    image[..., 0] = label * 40
    return image, label


def test_same_generator_same_sample():
    image, label = scene()
    augment = Augmentation(crop=48, weather=0.5)
    one, two, other = (augment(image, label, np.random.default_rng(s)) for s in (5, 5, 6))
    assert (one[0] == two[0]).all() and (one[1] == two[1]).all() and not (one[0] == other[0]).all()
    assert one[0].shape == (48, 48, 3) and one[0].dtype == one[1].dtype == np.uint8 and one[1].shape == (48, 48)
    assert (image == scene()[0]).all() and (label == scene()[1]).all()  # the cache stays as it was


@pytest.mark.parametrize("scale", [(0.7, 0.7), (1.0, 1.0), (1.6, 1.6)])
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_label_follows_the_image(scale, flip):
    image, label = scene()
    augment = Augmentation(crop=64, **{**PLAIN, "scale": scale, "flip": flip})
    picture, moved = augment(image, label, np.random.default_rng(0))
    known = moved != 255
    agree = np.abs(picture[..., 0].astype(int) - moved.astype(int) * 40)[known] <= 10
    assert agree.mean() > 0.93  # all but the interpolated borders


def test_flip_mirrors():
    image, label = scene()
    kept = Augmentation(crop=80, **PLAIN)(image, label, np.random.default_rng(0))
    turned = Augmentation(crop=80, **{**PLAIN, "flip": 1.0})(image, label, np.random.default_rng(0))
    assert (turned[0][:60, :80] == kept[0][:60, :80][:, ::-1]).all()
    assert (turned[1][:60] == kept[1][:60][:, ::-1]).all()


def test_base_sets_the_short_side():
    image, label = scene(60, 80)
    _, moved = Augmentation(crop=200, base=120, **PLAIN)(image, label, np.random.default_rng(0))
    assert (moved != 255).any(1).sum() == 120 and (moved != 255).any(0).sum() == 160


def test_padding_lies_right_and_below():
    image, label = scene()
    picture, moved = Augmentation(crop=96, **PLAIN)(image, label, np.random.default_rng(0))
    assert (moved[60:] == 255).all() and (moved[:, 80:] == 255).all() and (moved[:60, :80] == label).all()
    assert (picture[60:] == PADDING).all() and (picture[:60, :80] == image).all()


def test_no_group_dominates_a_crop():
    label = np.zeros((100, 400), np.uint8)
    label[:, 390:] = 1
    free = [choose_crop(label, 40, np.random.default_rng(s))[1] for s in range(200)]
    capped = [choose_crop(label, 40, np.random.default_rng(s), 0.9)[1] for s in range(200)]
    shows = [sum(x > 350 for x in places) for places in (free, capped)]
    assert shows[1] > 3 * shows[0]


def test_wanted_group_is_found():
    label = np.zeros((100, 400), np.uint8)
    label[40:60, 180:200] = 2

    def found(group: int | None) -> int:
        corners = [choose_crop(label, 64, np.random.default_rng(s), group=group) for s in range(60)]
        return sum((label[y : y + 64, x : x + 64] == 2).sum() > 100 for y, x in corners)

    assert found(2) > 50 > 30 > found(None)


def test_colours_change_and_stay_in_range():
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    outs = [distort_colours(image, np.random.default_rng(s)) for s in range(40)]
    assert all(o.shape == image.shape and o.dtype == np.uint8 for o in outs)
    unchanged = sum((o == image).all() for o in outs)
    assert 0 < unchanged < 15  # every step is skipped half of the time: 1 of 16 stays
    shift = np.mean([float(o.mean()) - float(image.mean()) for o in outs])
    assert abs(shift) < 20


def test_grey_keeps_its_grey():
    """Saturation and hue do not colour what has no colour; brightness and contrast treat channels alike."""
    grey = np.full((4, 4, 3), 100, np.uint8)
    for seed in range(30):
        out = distort_colours(grey, np.random.default_rng(seed)).astype(int)
        assert np.ptp(out, axis=-1).max() == 0


def test_weather_comes_with_its_probability():
    image, label = scene()
    never, always = (Augmentation(crop=80, weather=p, conditions=("night",), **PLAIN) for p in (0.0, 1.0))
    dark, shown = always(image, label, np.random.default_rng(0))
    assert dark[:60, :80].mean() < 0.8 * image.mean() and (shown[:60, :80] == label).all()
    assert (never(image, label, np.random.default_rng(0))[0][:60, :80] == image).all()


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_views_apart_are_one_crop_in_weather_of_their_own(flip):
    image, label = scene()
    dark = Augmentation(crop=48, weather=0.5, conditions=("night",), apart=1.0, **{**PLAIN, "flip": flip})
    seen = [dark(image, label, np.random.default_rng(s)) for s in range(60)]
    darker = np.array([[(view[..., 1] != 20).any() for view in views] for views, _ in seen])
    assert 0.3 < darker.mean() < 0.7 and 0.3 < (darker[:, 0] != darker[:, 1]).mean() < 0.7, "each draws its own"
    for (views, moved), night in zip(seen, darker, strict=True):
        assert views.shape == (2, 48, 48, 3) and moved.shape == (48, 48)
        for view in views[~night]:
            assert (np.abs(view[..., 0].astype(int) - moved.astype(int) * 40) <= 10).mean() > 0.99


def test_views_are_apart_with_their_probability():
    image, label = scene()
    augment = Augmentation(crop=48, camera=0.5, apart=0.4)
    views = [augment(image, label, np.random.default_rng(s))[0] for s in range(200)]
    assert 0.3 < np.mean([(one != other).any() for one, other in views]) < 0.5
    colours = [[view.mean() for view in pair] for pair in views]
    assert abs(np.mean([a - b for a, b in colours])) < 4, "neither encoder has the harder pictures"


def test_a_single_view_costs_no_draw():
    image, label = scene()
    plain, apart = (Augmentation(crop=48, weather=0.3, camera=0.3, apart=p) for p in (0.0, 1e-12))
    rng = np.random.default_rng(5)
    rng.random()  # the draw of "apart", which is then not so
    picture, views = plain(image, label, rng)[0], apart(image, label, np.random.default_rng(5))[0]
    assert picture.shape == (48, 48, 3) and (views == picture).all()


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="Unknown weather 'locusts'"):
        Augmentation(conditions=("fog+locusts",))
    with pytest.raises(ValueError, match="must be positive"):
        Augmentation(scale=(2.0, 0.5))
