"""IDD Lite: Indian roads, labelled with 7 groups (Varma et al. 2019)."""

from __future__ import annotations

import numpy as np

from mfuser.cityscapes import IGNORE
from train.data.files import ILLEGAL
from train.data.groups import IDD_SPACE
from train.data.registry import DatasetType, register

_TABLE = np.full(256, ILLEGAL, np.uint8)
_TABLE[: len(IDD_SPACE)] = np.arange(len(IDD_SPACE))
_TABLE[IGNORE] = IGNORE

IDD_LITE = register(
    DatasetType(
        name="idd_lite",
        title="IDD Lite's 7 groups (0-6, 255)",
        groups=IDD_SPACE,
        space="idd",
        table=_TABLE,
        labels="labels_group",
    )
)
