"""Boundary IoU (Cheng et al., CVPR 2021): overlap near the contours, where region IoU hardly looks.

Of every group, truth and prediction keep the pixels within d of their own contour, d = 2 % of the picture's diagonal.
The score is the IoU of these two bands. As in the paper's code, distance is counted in steps of a 3 x 3 erosion, and
the frame of the picture is a contour. A pixel without a label counts nowhere, and nothing has a contour towards it.
"""

from __future__ import annotations

import cv2
import numpy as np

from mfuser.cityscapes import IGNORE

SHARE = 0.02  # of the diagonal


def band_width(size: tuple[int, int], share: float = SHARE) -> int:
    """Pixels from the contour inwards, 1 or more, of a picture of (height, width)."""
    return max(1, round(share * float(np.hypot(*size))))


def band(mask: np.ndarray, unknown: np.ndarray, width: int) -> np.ndarray:
    """Pixels of a mask within `width` of its contour, (H, W) bool: the mask less its erosion.

    Args:
        mask: (H, W) bool.
        unknown: (H, W) bool, pixels without a label. They erode nothing, and none of them is in the mask.
        width: pixels.
    """
    solid = np.pad((mask | unknown).astype(np.uint8), 1)  # outside the frame is no pixel of the mask
    inner = cv2.erode(solid, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & (inner == 0)


def count_bands(truth: np.ndarray, prediction: np.ndarray, groups: int, share: float = SHARE) -> np.ndarray:
    """Pixels in both bands and in either band of every group of one picture, (2, G) int64.

    Args:
        truth: (H, W) uint8 group indices, 255 = not labelled.
        prediction: (H, W) uint8 group indices.
        groups: how many groups there are.
        share: width of a band as a share of the diagonal.
    """
    unknown, width = truth == IGNORE, band_width(truth.shape, share)
    counts = np.zeros((2, groups), np.int64)
    for group in np.union1d(truth[~unknown], prediction[~unknown]):
        a, b = (band((labels == group) & ~unknown, unknown, width) for labels in (truth, prediction))
        counts[:, group] = np.count_nonzero(a & b), np.count_nonzero(a | b)
    return counts
