"""What weather does: to the light, to the air, to the picture; exact where physics is."""

from __future__ import annotations

import numpy as np
import pytest

from train.scenes import CONDITIONS, air, camera, compose, lamps, sky, weather
from train.scenes.camera import Camera
from train.scenes.scene import make

SIZE = (96, 48)


@pytest.fixture
def view() -> tuple[np.ndarray, np.ndarray, np.ndarray, Camera]:
    """A grey road under an open sky: light, cover, depth of a level plane, and the camera."""
    eye = Camera(height=1.4, pitch=2.0, noise=0.0, vignette=0.0, speed=0.0)
    rays = eye.rays(*SIZE)
    depth = np.where(rays[..., 2] < -0.01, -1.4 / np.minimum(rays[..., 2], -1e-3), np.inf).astype(np.float32)
    cover = np.isfinite(depth).astype(np.float32)
    light = np.full((SIZE[1], SIZE[0], 3), 0.12, np.float32) * cover[..., None]
    return light, cover, depth, eye


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_seed_decides_the_weather(condition):
    assert weather.sample(3, condition) == weather.sample(3, condition) != weather.sample(4, condition)
    card = weather.sample(3, condition).card()
    assert card["condition"] == condition and isinstance(card["sky"], dict)


def test_conditions_are_what_they_say():
    for seed in range(20):
        clear, fog, rain, snow, night = (weather.sample(seed, c) for c in CONDITIONS)
        assert clear.visibility > 3000 > 260 >= fog.visibility >= 55 and not clear.wet and not clear.snow
        assert rain.wet > 0.7 and rain.streaks > 0 and rain.sky.sun_strength == 0
        assert snow.snow > 0.6 and snow.flakes > 0 and night.lamps == 1 and night.sky.night == 1
        assert night.mean < rain.mean < snow.mean
    with pytest.raises(ValueError, match="no weather 'hail'"):
        weather.sample(0, "hail")


def test_fog_follows_koschmieder():
    light = np.full((1, 3, 3), 0.1, np.float32)
    distance = np.array([[0.0, 100.0, np.inf]], np.float32)
    airlight = np.array([0.7, 0.7, 0.8])
    fog = weather.Weather("fog", sky.Sky(30, 0, 1.0), visibility=100.0)
    seen = air.veil(light, distance, fog.extinction, airlight)
    np.testing.assert_allclose(seen[0, 0], 0.1, atol=1e-6)
    np.testing.assert_allclose(seen[0, 1], 0.1 * 0.02 + airlight * 0.98, atol=1e-3)  # two percent of the contrast
    np.testing.assert_allclose(seen[0, 2], airlight, atol=1e-6)


def test_flakes_and_streaks_hide_behind_what_is_near(view):
    light, _, _, eye = view
    light = np.full_like(light, 0.1)
    snow = weather.sample(1, "snow")
    wall, open_ = np.full(light.shape[:2], 0.5, np.float32), np.full(light.shape[:2], 1e9, np.float32)
    airlight = np.array([0.7, 0.7, 0.7])
    for seen in (snow, weather.sample(1, "rain")):
        np.testing.assert_array_equal(air.fall(light, wall, eye, seen, airlight, 0), light)
        assert (air.fall(light, open_, eye, seen, airlight, 0) > light + 0.01).any()


def test_drops_bend_only_where_they_sit(view):
    light = np.random.default_rng(0).random((SIZE[1], SIZE[0], 3)).astype(np.float32)
    np.testing.assert_array_equal(air.lens_drops(light, 0, 1), light)
    changed = (np.abs(air.lens_drops(light, 6, 1) - light) > 1e-6).any(axis=-1)
    assert 0.002 < changed.mean() < 0.5


@pytest.mark.parametrize("condition", CONDITIONS)
def test_pictures_are_finished_and_repeatable(view, condition):
    light, cover, depth, eye = view
    seen = weather.sample(2, condition)
    first = compose.compose(light, cover, depth, eye, seen, 5)
    assert first.shape == (SIZE[1], SIZE[0], 3) and first.dtype == np.uint8 and first.std() > 2
    np.testing.assert_array_equal(first, compose.compose(light, cover, depth, eye, seen, 5))


def test_fog_takes_the_contrast_of_what_is_far_first(view):
    light, cover, depth, eye = view
    light = light.copy()
    light[:, ::2] *= 0.2  # stripes
    clear, fog = (
        compose.compose(light, cover, depth, eye, weather.sample(2, c), 5).astype(float) for c in ("clear", "fog")
    )
    far = np.isfinite(depth) & (depth > 60)
    near = np.isfinite(depth) & (depth < 6)

    def contrast(picture, where):
        rows = np.nonzero(where.any(axis=1))[0]
        return np.abs(np.diff(picture[rows].mean(axis=-1), axis=1)).mean()

    assert contrast(fog, far) / contrast(clear, far) < 0.6 * contrast(fog, near) / contrast(clear, near)


def test_rays_and_rotation_agree_with_the_camera():
    eye = Camera(pitch=0.0, yaw=0.0, roll=0.0, view=90.0)
    rays = eye.rays(200, 100)
    np.testing.assert_allclose(rays[49:51, 99:101].mean(axis=(0, 1)), (0, 1, 0), atol=1e-6)
    np.testing.assert_allclose(rays[50, -1], (0.995, 1, -0.005), atol=1e-3)
    down = Camera(pitch=10.0).rays(200, 100)[49:51, 99:101].mean(axis=(0, 1))
    assert np.degrees(np.arctan2(-down[2], down[1])) == pytest.approx(10, abs=0.1)
    left = Camera(yaw=10.0, pitch=0.0).rays(200, 100)[49:51, 99:101].mean(axis=(0, 1))
    assert left[0] < -0.1
    turn = camera.sample(3).rotation()
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)


def test_blur_of_driving_leaves_the_far_end_sharp():
    light = np.random.default_rng(0).random((64, 128, 3)).astype(np.float32)
    eye = Camera(speed=14.0, exposure=0.03, pitch=0.0)
    near, far = np.full((64, 128), 3.0, np.float32), np.full((64, 128), 3000.0, np.float32)
    np.testing.assert_array_equal(camera.travel_blur(light, far, eye), light)
    assert camera.travel_blur(light, near, eye)[:, :20].std() < 0.8 * light[:, :20].std()


def test_the_sky_knows_sun_clouds_and_night():
    up, ahead = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.05])
    open_, covered, dark = sky.Sky(40, 120, 0.0), sky.Sky(40, 120, 1.0), sky.Sky(-8, 0, 0.0, night=1.0)
    zenith = sky.radiance(open_, up)
    assert zenith[2] > 2 * zenith[0] and np.ptp(sky.radiance(covered, up)) < 0.15
    assert sky.radiance(open_, open_.sun).mean() > 3 * sky.radiance(open_, -open_.sun * (1, 1, -1)).mean()
    assert sky.radiance(dark, ahead).max() < 0.1 * sky.radiance(open_, ahead).min()
    assert covered.sun_strength == dark.sun_strength == 0 < open_.sun_strength
    picture = sky.panorama(open_, 64)
    assert picture.shape == (32, 64, 3) and np.isfinite(picture).all()
    row, column = np.unravel_index(picture.sum(axis=2).argmax(), picture.shape[:2])
    angle = sky.longitude(64)[column]
    assert np.dot((np.cos(angle), np.sin(angle)), open_.sun[:2]) > 0.9 * np.linalg.norm(open_.sun[:2])


def test_lamps_hang_over_the_road_and_shine_down():
    for kind in ("avenue", "town"):
        made = make(4, kind)
        found = lamps.lamps(made.street, made.camera)
        assert len(found) > 4
        hanging = [lamp for lamp in found if lamp.towards[2] < -0.9]
        assert hanging and all(lamp.position[2] > 2.5 for lamp in hanging)
