"""Another camera: what each part does to a picture, and that every draw comes from the generator."""

from __future__ import annotations

import numpy as np
import pytest

from train.data.augment import Augmentation
from train.data.camera_effects import add_noise, another_camera, streak, tone


def street(height: int = 90, width: int = 121) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 2, y * 2, 40 + 150 * ((x // 8 + y // 8) % 2)], -1).clip(0, 255).astype(np.uint8)


def test_same_generator_same_camera():
    image = street()
    one, two = (another_camera(image, np.random.default_rng(3)) for _ in range(2))
    assert (one == two).all() and one.shape == image.shape and one.dtype == np.uint8 and one.flags.writeable
    assert (image == street()).all()
    results = {another_camera(image, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert len(results) >= 18  # 1 in 32 leaves the picture as it is


@pytest.mark.parametrize("length, angle", [(3, 0.0), (5, np.pi / 2), (8, 0.7), (9, 3.0)])
def test_a_streak_keeps_brightness_and_has_its_length(length, angle):
    kernel = streak(length, angle)
    assert kernel.sum() == pytest.approx(1) and kernel.shape[0] % 2 == 1
    y, x = np.nonzero(kernel)
    assert max(np.ptp(x), np.ptp(y)) + 1 == pytest.approx(
        1 + (length - 1) * max(abs(np.cos(angle)), abs(np.sin(angle))), abs=1.5
    )


def test_tone_keeps_the_ends():
    for gamma in (0.6, 1.0, 1.7):
        table = tone(gamma)
        assert table[0] == 0 and table[255] == 255 and (np.diff(table.astype(int)) >= 0).all()
    assert (tone(1.0) == np.arange(256)).all() and tone(0.6)[128] > 128 > tone(1.7)[128]


def test_bright_pixels_are_noisier():
    image = np.zeros((200, 200, 3), np.uint8)
    image[:, 100:] = 220
    image[:, :100] = 20
    noisy = [add_noise(image, np.random.default_rng(s)).astype(float) for s in range(8)]
    dark, bright = (np.mean([n[:, part].std() for n in noisy]) for part in (slice(0, 100), slice(100, None)))
    assert 0.2 < dark < bright < 8


def test_probability_zero_draws_nothing():
    image, label = street(), np.zeros((90, 121), np.uint8)
    plain, never, always = (
        Augmentation(crop=64, scale=(1.0, 1.0), category_cap=1.0, **more)(image, label, np.random.default_rng(1))[0]
        for more in ({}, {"camera": 0.0}, {"camera": 1.0})
    )
    assert (plain == never).all() and (plain != always).any()
