"""Any folder of `images/` and `labels/` of Cityscapes trainIds."""

from __future__ import annotations

import numpy as np

from mfuser.cityscapes import IGNORE
from train.data.files import ILLEGAL
from train.data.groups import CITYSCAPES, COUNT
from train.data.registry import DatasetType, register


def train_id_table(groups: np.ndarray) -> np.ndarray:
    """Label table of trainId files: ids 0..18 through `groups` ((256,) uint8), 255 ignored, all others illegal."""
    table = np.full(256, ILLEGAL, np.uint8)
    table[:COUNT] = groups[:COUNT]
    table[IGNORE] = IGNORE
    return table


FOLDER = register(
    DatasetType(
        name="folder",
        title="Cityscapes trainIds (0-18, 255)",
        groups=CITYSCAPES,
        space="cityscapes",
        table=train_id_table(CITYSCAPES.table()),
    )
)
