"""What label values mean: the tables against each other, and against cityscapesScripts where it is installed."""

from __future__ import annotations

from mfuser.cityscapes import CLASSES, LABEL_IDS, PALETTE
from train.data import DATASETS, tables
from train.data.groups import SPACES

VOID = 255
VISTAS = [
    dict(zip(names, ids.values(), strict=True))
    for names, ids in (
        (tables.VISTAS_V12_NAMES, tables.VISTAS_V12_IDS),
        (tables.VISTAS_V2_NAMES, tables.VISTAS_V2_IDS),
    )
]


def test_tables_agree_with_each_other():
    assert {v for v in tables.CITYSCAPES_LABEL_IDS.values() if v != VOID} == set(range(19))
    assert all(tables.CITYSCAPES_COLOURS[i] == tuple(PALETTE[t]) for t, i in enumerate(LABEL_IDS))
    assert len(tables.VISTAS_V12_NAMES) == 66 and len(tables.VISTAS_V2_NAMES) == 124
    assert len(set(tables.CAMVID_NAMES)) == len(set(tables.CAMVID_COLOURS.values())) == 32
    for name, ids in (("v1.2", tables.VISTAS_V12_IDS), ("v2", tables.VISTAS_V2_IDS), ("SYNTHIA", tables.SYNTHIA_IDS)):
        assert set(ids.values()) == {*range(19), VOID}, name
    assert {v for v in tables.IDD_IDS.values() if v != VOID} == set(range(19))
    one, two = VISTAS
    finer = {n: two[n] for name in one for n in two if n == name or n.startswith(f"{name}--")}
    assert len(finer) > 60, "the names of v2.0 begin with those of v1.2"
    assert all(c == one[max((m for m in one if n == m or n.startswith(f"{m}--")), key=len)] for n, c in finer.items())


def test_vistas_is_scored_as_is_usual():
    """The classes that conversion scripts of the field map, checked by name."""
    expected = {
        "construction--barrier--curb": "sidewalk", "construction--flat--parking": "road", "marking--general": "road",
        "construction--flat--pedestrian-area": "sidewalk", "object--street-light": "pole",
        "object--support--traffic-sign-frame": "traffic sign", "human--rider--other-rider": "rider",
        "object--vehicle--on-rails": "train", "construction--barrier--guard-rail": None, "nature--water": None,
        "object--vehicle--caravan": None, "object--traffic-sign--back": "traffic sign",
    }  # fmt: skip
    for name, expected_class in expected.items():
        found = {ids[name] for ids in VISTAS if name in ids}
        assert found == {VOID if expected_class is None else CLASSES.index(expected_class)}, name


def test_cityscapes_tables_are_those_of_cityscapesscripts(cityscapesscripts):
    labels = cityscapesscripts("helpers.labels").labels
    for entry in labels:
        if entry.id < 0:
            continue
        assert tables.CITYSCAPES_LABEL_IDS[entry.id] == (VOID if entry.trainId in (255, -1) else entry.trainId)
        assert tables.CITYSCAPES_NAMES[entry.id] == entry.name
        if entry.id in tables.CITYSCAPES_COLOURS:
            assert tables.CITYSCAPES_COLOURS[entry.id] == entry.color


def test_every_set_has_a_space_that_its_labels_can_be_scored_in():
    for kind in DATASETS.values():
        kind.groups.into(SPACES[kind.space])
