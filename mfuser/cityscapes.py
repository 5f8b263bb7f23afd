"""The 19 Cityscapes classes: names, palette, groups and label-id maps. Plain data, no model code."""

from __future__ import annotations

import numpy as np

IGNORE = 255

# Train-id order (Cityscapes, Cordts et al. 2016). The names are the text queries as well: MFuser uses no template.
CLASSES: tuple[str, ...] = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip

# The standard Cityscapes colours, (19, 3) uint8 RGB.
PALETTE = np.array(
    [
        [128, 64, 128], [244, 35, 232], [70, 70, 70], [102, 102, 156], [190, 153, 153], [153, 153, 153],
        [250, 170, 30], [220, 220, 0], [107, 142, 35], [152, 251, 152], [70, 130, 180], [220, 20, 60],
        [255, 0, 0], [0, 0, 142], [0, 0, 70], [0, 60, 100], [0, 80, 100], [0, 0, 230], [119, 11, 32],
    ],
    dtype=np.uint8,
)  # fmt: skip

# Official labelId (0..33) of each train id.
LABEL_IDS: tuple[int, ...] = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

# Groups of train ids. "common" is the 11-class space in which CamVid, IDD and others can be compared;
# "idd" is the 7 groups of IDD Lite.
COMMON: dict[str, tuple[int, ...]] = {
    "road": (0,), "sidewalk": (1,), "building": (2, 3), "fence": (4,), "pole": (5,), "sign or light": (6, 7),
    "vegetation": (8, 9), "sky": (10,), "person": (11,), "two-wheeler": (12, 17, 18), "vehicle": (13, 14, 15, 16),
}  # fmt: skip
IDD: dict[str, tuple[int, ...]] = {
    "drivable": (0,), "non-drivable": (1, 9), "living thing": (11, 12), "vehicle": (13, 14, 15, 16, 17, 18),
    "roadside object": (3, 4, 5, 6, 7), "far object": (2, 8), "sky": (10,),
}  # fmt: skip


def group_table(groups: dict[str, tuple[int, ...]]) -> np.ndarray:
    """Lookup table train id -> group index.

    Returns: (256,) uint8; ids in no group, and 255, map to 255.
    """
    table = np.full(256, IGNORE, np.uint8)
    for index, members in enumerate(groups.values()):
        table[list(members)] = index
    return table


def label_id_table() -> np.ndarray:
    """Lookup table official labelId -> train id, (256,) uint8; every other id maps to 255."""
    table = np.full(256, IGNORE, np.uint8)
    for train_id, label_id in enumerate(LABEL_IDS):
        table[label_id] = train_id
    return table


def colorize(mask: np.ndarray) -> np.ndarray:
    """Paint a mask in the Cityscapes colours.

    mask: (H, W) uint8 train ids; 255 and any id above 18 become black. Returns: (H, W, 3) uint8 RGB.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(PALETTE)] = PALETTE
    return table[mask]
