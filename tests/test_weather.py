"""Weather: deterministic, stronger with severity, any size, and physically right where physics says how."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mfuser import images, weather

H, W, HORIZON = 240, 320, 110


def draw_street(brightness: float = 1.0) -> np.ndarray:
    """(240, 320, 3) uint8: blue sky, two rows of house fronts, a grey road with lane marks, one red car on the left."""
    rng = np.random.default_rng(3)
    image = np.zeros((H, W, 3), np.float32)
    image[:HORIZON] = (150, 195, 240)
    image[HORIZON:] = (95, 95, 98)
    for side, colour in ((0, (150, 100, 80)), (W, (120, 125, 110))):
        front = [(side, 10), (W // 2, HORIZON), (side, H - 60)]
        cv2.fillPoly(image, [np.array(front, np.int32)], colour)
        for part in np.linspace(0.05, 0.85, 9):  # windows, smaller with distance
            x = int(side + (W // 2 - side) * part)
            half = int(40 * (1 - part))
            corners = (x - half // 5, HORIZON - half), (x + half // 5, HORIZON - half // 4)
            cv2.rectangle(image, *corners, (40, 40, 45), -1)
    for near, far in ((0.95, 0.7), (0.6, 0.48), (0.4, 0.34), (0.28, 0.25)):  # lane marks
        ends = [(W // 2 + int(50 * part), HORIZON + int((H - HORIZON) * part)) for part in (near, far)]
        cv2.line(image, *ends, (230, 230, 225), 3)
    cv2.rectangle(image, (70, 125), (115, 165), (200, 30, 30), -1)
    image += rng.normal(0, 4, image.shape)
    return np.clip(image * brightness, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    return draw_street()


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
def test_severity_is_monotone(condition, brightness, seed):
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
    made = [weather.apply(street, name) for name in everything]
    assert all(change(a, b) > 1 for k, a in enumerate(made) for b in made[:k])
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


def test_geometry_of_the_street(street):
    scene = weather._look(street)
    x, y = scene.vanishing
    assert abs(x - W / 2) < 0.08 * W and abs(y - HORIZON) < 0.08 * H
    assert scene.sky[5:40, 140:180].mean() > 0.95 and scene.sky[HORIZON + 10 :].max() < 0.05
    assert scene.ground[170:230, 140:180].mean() > 0.7 and scene.ground[:100].max() < 0.05
    down_the_road = scene.depth[[235, 190, 150, 125], 175]
    assert np.all(np.diff(down_the_road) > 0) and down_the_road[0] < 6
    assert scene.depth[20, 160] > 200
    car, road = scene.depth[127:133, 85:100].mean(), scene.depth[127:133, 150:170].mean()
    assert car < 0.75 * road, "what stands on the road is as near as its foot"


def test_fog_takes_contrast_with_distance(street):
    foggy = weather.apply(street, "fog", severity=4)

    def kept(rows: slice, columns: slice) -> float:
        return float(luminance(foggy)[rows, columns].std() / luminance(street)[rows, columns].std())

    near, far = kept(np.s_[190:238], np.s_[165:215]), kept(np.s_[112:128], np.s_[150:180])
    assert far < 0.7 * near < 0.7
    sky = foggy[5:30, 140:180].reshape(-1, 3)
    assert np.ptp(sky.mean(axis=0)) < 25, "the airlight is nearly colourless"


def test_fog_follows_koschmieder(street):
    """Contrast transmitted by the fog at severity 5, by depth, must decay at the rate that its visibility names."""
    scene = weather._look(street)
    light = cv2.LUT(street, weather._TO_LINEAR)
    fogged = weather._fog(light, scene, 5, np.random.default_rng(0))
    share = ((fogged - scene.airlight) / (light - scene.airlight)).mean(axis=2)
    visible = (share > 0.02) & (share < 0.98) & (np.abs(light - scene.airlight).min(axis=2) > 0.05)
    rate = np.median(-np.log(share[visible]) / scene.depth[visible])
    assert visible.sum() > 5000 and 0.7 < rate * weather.DESCRIPTIONS["fog"].values[4] / 3.912 < 1.3


def test_rain_streaks_fall_and_the_scene_dims():
    flat = np.full((360, 480, 3), 60, np.uint8)
    thin = []
    for severity in (1, 3):
        rainy = weather.apply(flat, "rain", severity)[:170, :, 1]
        fine = rainy.astype(np.float32) - cv2.medianBlur(rainy, 5)
        thin.append((fine > 4).mean())
    assert 0.001 < thin[0] < thin[1] < 0.3, "more streaks in heavier rain"
    assert np.abs(np.diff(fine, axis=1)).mean() > 1.5 * np.abs(np.diff(fine, axis=0)).mean(), "streaks are upright"
    bright = draw_street()
    dimmed = [luminance(weather.apply(bright, "rain", severity)).mean() for severity in (1, 3, 5)]
    assert luminance(bright).mean() > dimmed[0] > dimmed[1] > dimmed[2]


def test_wet_road_mirrors_the_scene(street):
    """Paint the fronts on one side green: the wet road on that side must turn greener than the dry one did."""
    painted = street.copy()
    painted[60:HORIZON, W // 2 + 25 :] = (40, 220, 60)
    wet, other = (weather.apply(image, "rain", 4).astype(np.float32) for image in (painted, street))
    patch = np.s_[125:150, 175:200]
    greener = (wet - other)[patch][..., 1].mean() - (wet - other)[patch][..., [0, 2]].mean()
    assert greener > 2 and np.array_equal(painted[patch], street[patch])


def test_lens_drops_come_with_heavy_rain():
    light = np.random.default_rng(0).random((120, 160, 3), dtype=np.float32)
    none = weather._lens_drops(light.copy(), np.random.default_rng(0), 0)
    some = weather._lens_drops(light.copy(), np.random.default_rng(0), 40)
    assert np.array_equal(none, light)
    assert 0.01 < (np.abs(some - light).max(axis=2) > 0.02).mean() < 0.5


def test_snow_brightens_cools_and_settles(street):
    light, heavy = (weather.apply(street, "snow", severity) for severity in (1, 5))
    assert luminance(street).mean() < luminance(light).mean() < luminance(heavy).mean()

    def saturation(image: np.ndarray) -> float:
        return float((image.max(axis=2) - image.min(axis=2))[HORIZON:].mean())

    assert saturation(heavy) < 0.6 * saturation(street)
    cooled = weather.apply(np.full((240, 320, 3), 128, np.uint8), "snow", 3).reshape(-1, 3).mean(axis=0)
    assert cooled[2] > cooled[1] > cooled[0]
    road = np.s_[200:238, 20:300]
    settled = luminance(heavy)[road].mean() - luminance(street)[road].mean()
    assert settled > 40 and luminance(light)[road].mean() - luminance(street)[road].mean() < 20


def test_more_flakes_with_severity():
    dark = np.full((240, 320, 3), 30, np.uint8)
    scene = weather._look(dark)
    layers = ((3, 400, 0.9, 0.3),)
    few, many = (
        weather._falling(np.random.default_rng(0), scene, share, layers, size=0.02, fall=0.02) for share in (0.2, 1.0)
    )
    assert 2 * (few > 0.3).sum() < (many > 0.3).sum()
    assert np.all(many >= few - 0.35), "heavier snow keeps the flakes of lighter snow"


def test_night_is_dark_blue_and_lit_ahead(street):
    dusk, night = (weather.apply(street, "night", severity) for severity in (1, 5))
    assert luminance(street).mean() > 1.5 * luminance(dusk).mean() > 1.5 * luminance(night).mean()
    beam = luminance(night)[170:235, 110:210].mean() / luminance(street)[170:235, 110:210].mean()
    away = luminance(night)[10:100, 5:60].mean() / luminance(street)[10:100, 5:60].mean()
    assert beam > 2 * away, "the headlights reach the road ahead, not the roofs"
    grey = np.full((240, 320, 3), 128, np.uint8)
    above = weather.apply(grey, "night", 2)[:60].reshape(-1, 3).mean(axis=0)
    assert above[2] > 1.1 * above[0]


def test_night_noise_grows_with_severity():
    grey = np.full((240, 320, 3), 90, np.uint8)
    grain = []
    for severity in (1, 3, 5):
        top = weather.apply(grey, "night", severity)[:40].astype(np.float32)
        grain.append((top - cv2.blur(top, (5, 5))).std() / top.mean())
    assert 0 < grain[0] < grain[1] < grain[2]


def test_lamps_glow(street):
    lit = street.copy()
    cv2.circle(lit, (250, 122), 2, (255, 60, 40), -1)
    with_lamp, without = (weather.apply(image, "night", 4)[..., 0].astype(np.float32) for image in (lit, street))
    ring = np.s_[114:118, 244:257]
    assert with_lamp[122, 250] > 200 > 100 > without[122, 250], "a lamp is as bright as by day"
    assert with_lamp[ring].mean() > without[ring].mean() + 1
