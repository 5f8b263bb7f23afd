"""What the label values of every set mean: the files of `label_ids/`, one a set, as Cityscapes train ids.

A value that is in no table does not exist in that set. 255 is void.
"""

from __future__ import annotations

import csv
from pathlib import Path

from mfuser.cityscapes import CLASSES, IGNORE

FOLDER = Path(__file__).with_name("label_ids")


def read_rows(name: str) -> list[dict[str, str]]:
    """Read a table.

    Args:
        name: of the file in `label_ids/`, without its suffix.

    Returns:
        One record a label value, in the order of the file; lines that begin with "#" are comments.
    """
    with (FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def _train_ids(rows: list[dict[str, str]]) -> dict[int, int]:
    return {int(row["id"]): CLASSES.index(row["class"]) if row["class"] else IGNORE for row in rows}


def _names(rows: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(row["name"] for row in rows)


def _colours(rows: list[dict[str, str]]) -> dict[int, tuple[int, int, int]]:
    return {int(r["id"]): (int(r["red"]), int(r["green"]), int(r["blue"])) for r in rows if r["red"]}


TRAIN_IDS: dict[int, int] = {**{train_id: train_id for train_id in range(len(CLASSES))}, 255: IGNORE}

_cityscapes = read_rows("cityscapes")
CITYSCAPES_LABEL_IDS, CITYSCAPES_NAMES = _train_ids(_cityscapes), _names(_cityscapes)
CITYSCAPES_COLOURS = _colours(_cityscapes)
# GTA V (Richter et al. 2016, "Playing for Data"): palette indices are Cityscapes labelIds, 34 is the licence plate.
GTA_LABEL_IDS: dict[int, int] = {**CITYSCAPES_LABEL_IDS, 34: IGNORE}
SYNTHIA_IDS = _train_ids(read_rows("synthia"))

_v12, _v2 = read_rows("mapillary-v1.2"), read_rows("mapillary-v2.0")
VISTAS_V12_IDS, VISTAS_V12_NAMES = _train_ids(_v12), _names(_v12)
VISTAS_V2_IDS, VISTAS_V2_NAMES = _train_ids(_v2), _names(_v2)

_idd = read_rows("idd")
IDD_IDS, IDD_LEVEL3_IDS = _train_ids(_idd), _train_ids(read_rows("idd-level3"))
IDD_NAMES: dict[str, int] = {row["name"]: int(row["id"]) for row in _idd}

# CamVid's classes are those of the common space, `mfuser.cityscapes.COMMON`; "" is void.
_camvid = read_rows("camvid")
CAMVID_COLOURS, CAMVID_NAMES = _colours(_camvid), _names(_camvid)
CAMVID_CLASSES: tuple[str, ...] = tuple(row["class"] for row in _camvid)
CAMVID_TUTORIAL: tuple[str, ...] = tuple(row["class"] for row in read_rows("camvid-tutorial"))
