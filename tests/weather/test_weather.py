"""What holds for all weather: deterministic, stronger with severity, any size, clear sentences for mistakes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mfuser import images, weather

H, W, HORIZON = 240, 320, 110


def luminance(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def change(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float32) - b.astype(np.float32)).mean())


def test_conditions_and_descriptions():
    assert weather.CONDITIONS == ("fog", "rain", "snow", "night") == tuple(weather.DESCRIPTIONS)
    for description in weather.DESCRIPTIONS.values():
        assert description.sentence.endswith(".") and len(description.values) == 5
        steps = np.diff(description.values)
        assert np.all(steps > 0) or np.all(steps < 0)
    assert weather.DESCRIPTIONS["fog"].at(3) == "visibility 130 m"


@pytest.mark.parametrize("condition", [*weather.CONDITIONS, "rain+night"])
def test_same_seed_same_bytes_another_seed_others(street, condition):
    before = street.copy()
    first = weather.apply(street, condition, severity=4, seed=7)
    np.random.seed(1)
    cv2.setRNGSeed(5)
    assert np.array_equal(first, weather.apply(street, condition, severity=4, seed=7))
    assert not np.array_equal(first, weather.apply(street, condition, severity=4, seed=8))
    assert np.array_equal(street, before), "the image given must not change"


def test_global_random_state_is_left_alone(street):
    np.random.seed(3)
    expected = np.random.RandomState(3).rand()
    weather.apply(street, "fog+rain+snow+night", severity=5)
    assert np.random.rand() == expected


@pytest.mark.parametrize("condition", weather.CONDITIONS)
@pytest.mark.parametrize("brightness", [1.0, 0.4])
@pytest.mark.parametrize("seed", [0, 1])
def test_severity_is_monotone(draw_street, condition, brightness, seed):
    clear = draw_street(brightness)
    changes = [change(weather.apply(clear, condition, severity, seed), clear) for severity in range(1, 6)]
    assert changes[0] > 0.5 and np.all(np.diff(changes) > 0), changes


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (16, 16), (20, 700), (700, 20), (375, 1242), (481, 640)])
@pytest.mark.parametrize("condition", weather.CONDITIONS)
@pytest.mark.parametrize("texture", ["street", "noise", "black", "white"])
def test_any_size_and_content(street, size, condition, texture):
    image = {
        "street": lambda: cv2.resize(street, size[::-1]),
        "noise": lambda: np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8),
        "black": lambda: np.zeros((*size, 3), np.uint8),
        "white": lambda: np.full((*size, 3), 255, np.uint8),
    }[texture]()
    got = weather.apply(image, condition, severity=5)
    assert got.shape == image.shape and got.dtype == np.uint8 and got.flags.c_contiguous
    assert not np.array_equal(got, image)


@pytest.mark.slow
@pytest.mark.parametrize("condition", weather.CONDITIONS)
def test_twelve_megapixels(street, condition):
    image = cv2.resize(street, (4000, 3000))
    assert weather.apply(image, condition, severity=5).shape == image.shape


def test_very_large_images_are_made_smaller_and_enlarged(street, monkeypatch):
    monkeypatch.setattr(weather, "MOST_PIXELS", H * W // 4)
    bounded = weather.apply(street, "fog")
    monkeypatch.undo()
    assert bounded.shape == street.shape and 0 < change(bounded, weather.apply(street, "fog")) < 8


@pytest.mark.parametrize("condition", weather.CONDITIONS)
def test_look_does_not_hang_on_resolution(street, condition):
    """The same weather at twice the resolution, up to the grain of drops, flakes and noise."""
    double = cv2.resize(street, (2 * W, 2 * H), interpolation=cv2.INTER_CUBIC)
    small = cv2.blur(weather.apply(street, condition), (31, 31))
    large = cv2.resize(weather.apply(double, condition), (W, H), interpolation=cv2.INTER_AREA)
    assert change(small, cv2.blur(large, (31, 31))) < 8


def test_takes_what_images_takes(street, tmp_path):
    path = images.save(tmp_path / "street.png", street)
    assert np.array_equal(weather.apply(str(path), "fog"), weather.apply(street, "fog"))
    assert weather.apply(street[..., 0], "snow").shape == (H, W, 3)
    with pytest.raises(images.ImageError, match="no file"):
        weather.apply(tmp_path / "absent.png", "fog")


def test_combinations(street):
    both = weather.apply(street, "fog+night", severity=3)
    assert np.array_equal(both, weather.apply(street, " Night + FOG ", severity=3))
    assert np.array_equal(weather.apply(street, "fog+fog"), weather.apply(street, "fog"))
    everything = [*weather.CONDITIONS, "fog+night", "fog+rain", "snow+night", "rain+night", "fog+snow"]
    pictures = [weather.apply(street, name) for name in everything]
    assert all(change(a, b) > 1 for k, a in enumerate(pictures) for b in pictures[:k])
    assert luminance(both).mean() < 0.5 * luminance(weather.apply(street, "fog")).mean()


@pytest.mark.parametrize("condition", ["hail", "", "fog+", "fog,rain", "fog+hail", None, 3])
def test_unknown_condition(street, condition):
    with pytest.raises(ValueError, match="Unknown weather .*fog, rain, snow, night"):
        weather.apply(street, condition)


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, 3.0, "3", None, True])
def test_wrong_severity(street, severity):
    with pytest.raises(ValueError, match="severity must be a whole number from 1 to 5"):
        weather.apply(street, "fog", severity=severity)


@pytest.mark.parametrize("seed", [-1, 0.5, "a"])
def test_wrong_seed(street, seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        weather.apply(street, "fog", seed=seed)


def test_numpy_integers_are_whole_numbers(street):
    assert np.array_equal(weather.apply(street, "fog", np.int64(2), np.uint8(4)), weather.apply(street, "fog", 2, 4))
