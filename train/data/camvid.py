"""CamVid in the 11-class edition of the SegNet tutorial, with Cityscapes trainIds as label values."""

from __future__ import annotations

from train.data.folder import train_id_table
from train.data.groups import COMMON_SPACE
from train.data.registry import DatasetType, register

CAMVID = register(
    DatasetType(
        name="camvid",
        title="CamVid as trainIds (0-18, 255)",
        groups=COMMON_SPACE,
        space="common",
        table=train_id_table(COMMON_SPACE.table()),
    )
)
