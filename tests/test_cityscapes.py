"""The 19 classes: a wrong label map is the most frequent cause of an absurd mIoU, so values are spelled out here."""

from __future__ import annotations

import numpy as np
import pytest

from mfuser import cityscapes
from mfuser.cityscapes import CLASSES, COMMON, IDD, IGNORE, PALETTE

# name, official labelId, colour: from the benchmark's label table.
OFFICIAL = [
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
]


def test_names_colours_and_label_ids_are_the_benchmarks():
    table = cityscapes.label_id_table()
    assert len(CLASSES) == len(OFFICIAL)
    for train_id, (name, label_id, colour) in enumerate(OFFICIAL):
        assert (CLASSES[train_id], table[label_id], tuple(PALETTE[train_id])) == (name, train_id, colour)
    assert (table != IGNORE).sum() == 19, "every other labelId is ignored"
    assert len({tuple(c) for c in PALETTE.tolist()}) == 19


@pytest.mark.parametrize("groups", [COMMON, IDD], ids=["common", "idd"])
def test_groups_do_not_overlap_and_tables_follow_them(groups: dict[str, tuple[int, ...]]):
    members = [k for group in groups.values() for k in group]
    assert len(members) == len(set(members)) and set(members) <= set(range(19))
    table = cityscapes.group_table(groups)
    assert table.shape == (256,) and table.dtype == np.uint8
    for index, group in enumerate(groups.values()):
        assert (table[list(group)] == index).all()
    rest = np.setdiff1d(np.arange(256), members)
    assert (table[rest] == IGNORE).all()


def test_group_sizes_of_the_two_spaces():
    assert (len(COMMON), len(IDD)) == (11, 7)
    assert sorted(k for group in IDD.values() for k in group) == list(range(19)), "IDD Lite's groups cover all classes"
    assert [CLASSES[k] for k in COMMON["two-wheeler"]] == ["rider", "motorcycle", "bicycle"]


def test_colorize_paints_classes_and_leaves_the_rest_black():
    mask = np.array([[0, 13], [255, 19]], np.uint8)
    picture = cityscapes.colorize(mask)
    assert picture.shape == (2, 2, 3) and picture.dtype == np.uint8
    assert picture[0].tolist() == [[128, 64, 128], [0, 0, 142]] and not picture[1].any()
