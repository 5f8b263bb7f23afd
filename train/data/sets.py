"""Every set that `--data NAME:ROOT` knows: its label values, from `tables`, and its layout, from `layouts`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mfuser.cityscapes import COMMON, IGNORE
from train.data import layouts, tables
from train.data.encodings import CITYSCAPES_DIVISOR, VISTAS_DIVISOR
from train.data.groups import CITYSCAPES, COMMON_SPACE, IDD_SPACE
from train.data.labels import LabelRule
from train.data.registry import DatasetType, make_table, register

_label_ids = make_table(tables.CITYSCAPES_LABEL_IDS)
TRAIN_IDS = LabelRule("Cityscapes trainIds (0-18, 255)", make_table(tables.TRAIN_IDS))
COLOURS = LabelRule("Cityscapes colours", _label_ids, colours=tables.CITYSCAPES_COLOURS)
PANOPTIC = LabelRule("Cityscapes panoptic ids", _label_ids, panoptic=True)
LABEL_IDS = LabelRule(
    "Cityscapes labelIds (0-33)",
    _label_ids,
    colours=tables.CITYSCAPES_COLOURS,
    divisor=CITYSCAPES_DIVISOR,
    polygons={name: index for index, name in enumerate(tables.CITYSCAPES_NAMES)} | {"license plate": 0},
    above=18,
)


def _nineteen(name: str, rule: LabelRule, pair: layouts.Layout | None = None) -> DatasetType:
    return register(DatasetType(name, CITYSCAPES, "cityscapes", rule, pair=pair))


# Any folder of images/ and labels/, by what its label files hold.
FOLDER = _nineteen("folder", TRAIN_IDS)
_nineteen("trainids", TRAIN_IDS)
_nineteen("labelids", LABEL_IDS)
_nineteen("colours", COLOURS)
_nineteen("panoptic", PANOPTIC)

_gta = make_table(tables.GTA_LABEL_IDS)
_nineteen("gta", LabelRule("GTA V's labelIds (0-34)", _gta, tables.CITYSCAPES_COLOURS, above=18), layouts.gta)
_nineteen("dawn", TRAIN_IDS, layouts.dawn)
_nineteen("synthia", LabelRule("SYNTHIA's ids (0-22)", make_table(tables.SYNTHIA_IDS), deep=True), layouts.synthia)
_cityscapes_labels = (
    ("_gtFine_labelIds.png", None),
    ("_gtFine_labelTrainIds.png", TRAIN_IDS),
    ("_gtFine_instanceIds.png", None),
    ("_gtFine_color.png", COLOURS),
    ("_gtFine_panoptic.png", PANOPTIC),
    ("_gtFine_polygons.json", None),
)
_nineteen("cityscapes", LABEL_IDS, layouts.nested("leftImg8bit", "gtFine", "_leftImg8bit", _cityscapes_labels))
_nineteen("bdd", LabelRule("BDD100K's trainIds (0-18, 255)", make_table(tables.TRAIN_IDS)), layouts.bdd)
# Cars, poles and signs lie above 33, where Cityscapes' labelIds end; those of v2.0 above 65, where v1.2's ids end.
for _name, _version, _ids, _names, _above in (
    ("mapillary", "v1.2", tables.VISTAS_V12_IDS, tables.VISTAS_V12_NAMES, 33),
    ("mapillary-v2", "v2.0", tables.VISTAS_V2_IDS, tables.VISTAS_V2_NAMES, 65),
):
    _title = f"Mapillary Vistas {_version} (0-{len(_ids) - 1})"
    _rule = LabelRule(_title, make_table(_ids), divisor=VISTAS_DIVISOR, names=_names, above=_above)
    _nineteen(_name, _rule, layouts.vistas(_version, _rule))
_nineteen("acdc", LABEL_IDS, layouts.acdc(layouts.ACDC_CONDITIONS, TRAIN_IDS))
for _condition in layouts.ACDC_CONDITIONS:
    _nineteen(f"acdc-{_condition}", LABEL_IDS, layouts.acdc((_condition,), TRAIN_IDS))

_level3 = LabelRule("IDD's level3Ids (0-25)", make_table(tables.IDD_LEVEL3_IDS), above=18)
_idd_labels = (
    ("_gtFine_labelids.png", None),
    ("_gtFine_labelIds.png", None),
    ("_gtFine_labellevel3Ids.png", _level3),
    ("_gtFine_polygons.json", None),
)
# Poles, buildings, vegetation and sky lie above 25, where level 3 ends; in level 3 above 18, where trainIds end.
_idd_ids = make_table(tables.IDD_IDS)
_idd = LabelRule("IDD's ids (0-39)", _idd_ids, polygons=tables.IDD_NAMES, background=35, above=25)
_nineteen("idd", _idd, layouts.nested("leftImg8bit", "gtFine", "_leftImg8bit", _idd_labels))


# -- sets whose labels name groups of classes ---------------------------------------------------------------------


def _common(names: Sequence[str]) -> np.ndarray:
    """Label table of ids that stand for classes of the common space, "" being void."""
    order = list(COMMON)
    return make_table({i: order.index(name) if name else IGNORE for i, name in enumerate(names)})


def _camvid(rule: LabelRule, **more) -> DatasetType:
    return DatasetType("camvid", COMMON_SPACE, "common", rule, **more)


_CAMVID_TUTORIAL = _camvid(
    LabelRule("CamVid's 11 classes (0-11)", _common(tables.CAMVID_TUTORIAL)), pair=layouts.camvid_tutorial
)
_CAMVID_ORIGINAL = _camvid(
    LabelRule("CamVid's 32 colours", _common(tables.CAMVID_CLASSES), tables.CAMVID_COLOURS),
    pair=layouts.camvid_original,
)


def _camvid_edition(root: Path) -> DatasetType | None:
    if (root / "701_StillsRaw_full").is_dir():
        return _CAMVID_ORIGINAL
    return _CAMVID_TUTORIAL if any((root / f"{s}annot").is_dir() for s in ("train", "val", "test")) else None


_camvid_train_ids = make_table(tables.TRAIN_IDS, COMMON_SPACE.table())
CAMVID = register(
    _camvid(LabelRule("CamVid as trainIds (0-18, 255)", _camvid_train_ids, segnet=True), edition=_camvid_edition)
)

_seven = LabelRule("IDD Lite's 7 groups (0-6, 255)", make_table({**{g: g for g in range(len(IDD_SPACE))}, 255: IGNORE}))
_lite_layout = layouts.nested("leftImg8bit", "gtFine", "_image", (("_label.png", None),))
_IDD_LITE_OFFICIAL = DatasetType("idd_lite", IDD_SPACE, "idd", _seven, pair=_lite_layout)


def _lite_edition(root: Path) -> DatasetType | None:
    return _IDD_LITE_OFFICIAL if (root / "leftImg8bit").is_dir() else None


IDD_LITE = register(DatasetType("idd_lite", IDD_SPACE, "idd", _seven, labels="labels_group", edition=_lite_edition))
