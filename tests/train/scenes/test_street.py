"""Streets are sampled, not improvised: same seed, same street; everything in it has a shape, a surface and a class."""

from __future__ import annotations

import numpy as np
import pytest

from mfuser.cityscapes import CLASSES
from train.scenes import (
    BICYCLE,
    BUS,
    CAR,
    LIGHT,
    MOTORCYCLE,
    PERSON,
    POLE,
    RIDER,
    SIGN,
    SKY,
    TERRAIN,
    TRAIN,
    TRUCK,
    VEGETATION,
    faces,
    furnish,
    layout,
    prototypes,
    street,
    textures,
    traffic,
)  # fmt: skip
from train.scenes.furniture import SIGNS
from train.scenes.prototypes import TREES
from train.scenes.scene import make
from train.scenes.surfaces import SURFACES


@pytest.mark.parametrize("kind", street.KINDS)
def test_a_seed_decides_everything(kind):
    first, again, other = make(7, kind), make(7, kind), make(8, kind)
    assert first.street == again.street and first.camera == again.camera
    assert first.street.things and first.street.things != other.street.things
    assert len(first.static.patches) == len(again.static.patches)
    for a, b in zip(first.static.patches, again.static.patches, strict=True):
        np.testing.assert_array_equal(a.vertices, b.vertices)
        np.testing.assert_array_equal(a.colour, b.colour)


@pytest.mark.parametrize("kind", street.KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_ground_and_houses_are_sound(kind, seed):
    made = make(seed, kind)
    for patch in made.static.patches:
        assert patch.surface in SURFACES and (patch.label < len(CLASSES) or patch.label == 255) and patch.label != SKY
        assert np.isfinite(patch.vertices).all() and np.isfinite(patch.uv).all()
        assert patch.faces.max() < len(patch.vertices) and patch.uv.shape[:2] == patch.faces.shape
        assert (patch.colour >= 0).all() and patch.colour.shape == (len(patch.faces), 3)
    assert {0, 1, 2} <= made.static.labels


def test_nobody_parks_or_stands_in_the_camera_and_vehicles_do_not_overlap_in_their_lane():
    for seed in range(25):
        made = make(seed).street
        moving = [
            t
            for t in made.things
            if t.name.split("/")[0] in traffic.LENGTHS and t.lit and not t.name.startswith("tram")
        ]
        for thing in moving:
            assert thing.s > 4 or abs(thing.t - made.own) > 1.5
        lanes = {}
        for thing in moving:
            if not thing.name.startswith("cyclist"):
                lanes.setdefault(int(np.floor(thing.t / made.lane)), []).append(thing)
        for lane in lanes.values():
            lane.sort(key=lambda t: t.s)
            for a, b in zip(lane, lane[1:], strict=False):
                room = (traffic.LENGTHS[a.name.split("/")[0]] + traffic.LENGTHS[b.name.split("/")[0]]) / 2
                assert b.s - a.s > room - 0.8, (seed, a, b)


def test_many_streets_hold_every_kind_of_thing():
    families, kinds, junctions = set(), set(), 0
    for seed in range(60):
        made = street.sample(seed)
        traffic.populate(made)
        furnish.furnish(made)
        families |= {t.name.split("/")[0] for t in made.things}
        kinds.add(made.kind)
        junctions += made.junction is not None
    assert kinds == set(street.KINDS) and 15 < junctions < 55
    assert {
        "car",
        "truck",
        "bus",
        "tram",
        "bicycle",
        "cyclist",
        "motorcycle",
        "motorcyclist",
        "person",
        "tree",
        "bush",
        "hedge",
        "tuft",
        "lamp",
        "lantern",
        "light",
        "sign",
        "board",
    } <= families


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("car/saloon", {CAR}),
        ("car/van", {CAR}),
        ("truck/box", {TRUCK}),
        ("truck/tank", {TRUCK}),
        ("bus", {BUS}),
        ("tram/2", {TRAIN}),
        ("bicycle/1", {BICYCLE}),
        ("cyclist/0", {BICYCLE, RIDER}),
        ("motorcycle/scooter", {MOTORCYCLE}),
        ("motorcyclist/motorcycle/0", {MOTORCYCLE, RIDER}),
        ("person/3", {PERSON}),
        ("lamp", {POLE}),
        ("lantern", {POLE}),
        ("light/red/3.5", {LIGHT, POLE}),
        ("sign/stop/limit-30", {SIGN, POLE}),
        ("board", {SIGN, POLE}),
        ("tuft/0", {TERRAIN}),
        ("bush/0", {VEGETATION}),
        ("hedge/0", {VEGETATION}),
        ("bin", {255}),
        ("bench", {255}),
        ("tree/bare/0", {VEGETATION}),
    ],
)
def test_things_have_their_classes_and_stand_on_the_ground(name, labels):
    mesh = prototypes.make(name)
    low, high = mesh.bounds
    assert mesh.labels == labels
    assert -0.3 < low[2] < 0.25 and 0.03 < high[2] < 14
    assert all(patch.surface in SURFACES for patch in mesh.patches)


@pytest.mark.parametrize(("name", "length"), [("car/saloon", 4.65), ("car/van", 5.3), ("bus", 12.0), ("person/3", 0.9)])
def test_things_have_the_size_of_real_ones(name, length):
    low, high = prototypes.make(name).bounds
    assert high[1] - low[1] == pytest.approx(length, abs=0.35)


@pytest.mark.parametrize("kind", TREES)
def test_trees_are_trees(kind):
    mesh = prototypes.make(f"tree/{kind}/0")
    assert mesh.labels == {VEGETATION} and 7 < mesh.bounds[1][2] < 13
    assert any(p.surface == "leaf" for p in mesh.patches) == (kind != "bare")


def test_a_name_is_always_the_same_thing_and_unknown_ones_are_refused():
    first, again = prototypes.make("person/5"), prototypes.make("person/5")
    np.testing.assert_array_equal(first.patches[0].vertices, again.patches[0].vertices)
    assert len(prototypes.make("person/6").patches[0].vertices) != len(first.patches[0].vertices)
    with pytest.raises(ValueError, match="no thing 'dragon/1'"):
        prototypes.make("dragon/1")
    with pytest.raises(ValueError, match="no kind of street 'canal'"):
        street.sample(0, "canal")
    with pytest.raises(ValueError, match="seed of -1"):
        make(-1)


def test_every_sign_that_streets_use_is_painted():
    assert {name.replace("-", " ") for name in furnish.PLATES} == set(SIGNS)
    sheet = (
        faces.picture("signs")
        .reshape(4, faces.CELL, 4, faces.CELL, 3)
        .swapaxes(1, 2)
        .reshape(16, faces.CELL, faces.CELL, 3)
    )
    flat = sheet.reshape(16, -1).astype(int)
    differences = np.abs(flat[:, None] - flat[None]).mean(axis=-1)
    assert (differences[~np.eye(16, dtype=bool)] > 4).all(), "two signs look alike"


@pytest.mark.parametrize("name", sorted({s.pattern for s in SURFACES.values() if s.pattern}))
def test_patterns_keep_the_brightness_and_tile(name):
    values = textures.pattern(name)
    assert (
        values.shape[:2] == (textures.SIZE,) * 2
        and values.dtype == np.float32
        and 0 <= values.min() <= values.max() <= 1
    )
    assert 0.38 < values.mean() < 0.62
    grey = values if values.ndim == 2 else values.mean(axis=2)
    for axis in (0, 1):
        edges = np.take(grey, 0, axis) - np.take(grey, -1, axis)
        assert np.abs(edges).mean() < 1.3 * np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis).max() + 0.02


def test_unknown_pictures_and_patterns_are_refused():
    with pytest.raises(ValueError, match="no pattern 'lava'"):
        textures.pattern("lava")
    with pytest.raises(ValueError, match="no picture 'poster'"):
        faces.picture("poster")


def test_things_stay_off_the_houses():
    for seed in (3, 4, 5):
        made = make(seed).street
        for thing in made.things:
            if thing.name.split("/")[0] in ("person", "car", "bicycle") and abs(thing.s) < 100:
                assert abs(thing.t) < made.front(1 if thing.t > 0 else -1) + 0.7, thing
    assert layout.REACH > 50
