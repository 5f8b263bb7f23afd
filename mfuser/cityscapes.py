"""The 19 Cityscapes classes: names, palette, groups and label-id maps; colours of other names. No model code."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
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
    """Lookup table from train ids to groups.

    Args:
        groups: {name: train ids}, for example `COMMON`. The index of a group is its place.

    Returns:
        (256,) uint8. Ids in no group, and 255, map to 255.
    """
    table = np.full(256, IGNORE, np.uint8)
    for index, members in enumerate(groups.values()):
        table[list(members)] = index
    return table


def label_id_table() -> np.ndarray:
    """Lookup table from official labelIds to train ids, (256,) uint8. Every other id maps to 255."""
    table = np.full(256, IGNORE, np.uint8)
    for train_id, label_id in enumerate(LABEL_IDS):
        table[label_id] = train_id
    return table


def palette(classes: Sequence[str]) -> np.ndarray:
    """Colours of a class list.

    Args:
        classes: K names. The 19 of Cityscapes keep their colours. Other names get further colours in their order, all
            different.

    Returns:
        (K, 3) uint8 RGB.

    Raises:
        ValueError: more other names than there are colours (`FURTHER`).
    """
    new = [name for name in classes if name not in CLASSES]
    if len(new) > FURTHER:
        raise ValueError(f"{len(new)} names have no colour of Cityscapes: {FURTHER} are the most.")
    own = {**dict(zip(CLASSES, PALETTE, strict=True)), **dict(zip(new, _further(), strict=False))}
    return np.array([own[name] for name in classes], np.uint8).reshape(-1, 3)


FURTHER = 40


@lru_cache(maxsize=1)
def _further() -> np.ndarray:
    """Colours one after the other as far as possible from the 19, black, and those before, to the eye (CIELAB)."""
    levels = np.arange(15, 256, 24)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3).astype(np.uint8)
    chosen = [*PALETTE, np.zeros(3, np.uint8)]
    seen = _lab(candidates)
    nearest = np.linalg.norm(seen[:, None] - _lab(np.array(chosen)), axis=-1).min(1)
    for _ in range(FURTHER):
        best = int(nearest.argmax())
        chosen.append(candidates[best])
        nearest = np.minimum(nearest, np.linalg.norm(seen - seen[best], axis=-1))
    return np.array(chosen[len(PALETTE) + 1 :])


def _lab(colours: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]


def colorize(mask: np.ndarray, colours: np.ndarray = PALETTE) -> np.ndarray:
    """Paint a mask.

    Args:
        mask: (H, W) uint8 train ids, or indices of `colours`. 255 and any id without a colour become black.
        colours: (K, 3) uint8 RGB; the Cityscapes colours by default.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    return table[mask]
