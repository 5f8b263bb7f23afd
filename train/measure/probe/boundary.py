"""Boundary IoU (Cheng et al., CVPR 2021): overlap near the contours, where region IoU hardly looks.

Of every group, truth and prediction keep the pixels that lie within d of their own contour, d = 2 % of the picture's
diagonal; the IoU is that of these two bands, summed over a set. As in the paper's code, distance is counted in steps of
a 3 x 3 erosion (the larger of rows and columns), and the frame of the picture is a contour.

A pixel that is not labelled counts nowhere, and what lies there is not known: truth and prediction alike have no
contour towards it. So a band holds the pixels within d of one that is known to be something else.
"""

from __future__ import annotations

import cv2
import numpy as np

from mfuser.cityscapes import IGNORE

SHARE = 0.02  # of the diagonal


class BoundaryIoU:
    """Pixels of the bands' intersections and unions, (G,) int64 each, summed over pictures."""

    def __init__(self, groups: int, share: float = SHARE):
        self.share = share
        self.common, self.either = np.zeros((2, groups), np.int64)
        self.present = np.zeros(groups, bool)

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Count one picture: both (H, W) uint8 group indices, 255 in the truth = not labelled.

        Raises ValueError for different shapes.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"Truth {truth.shape} and prediction {prediction.shape} must have the same shape.")
        unknown, width = truth == IGNORE, band_width(truth.shape, self.share)
        for group in range(len(self.common)):
            masks = (truth == group) & ~unknown, (prediction == group) & ~unknown
            self.present[group] |= masks[0].any()
            if masks[0].any() or masks[1].any():
                a, b = (band(mask, unknown, width) for mask in masks)
                self.common[group] += np.count_nonzero(a & b)
                self.either[group] += np.count_nonzero(a | b)

    def iou(self) -> np.ndarray:
        """Boundary IoU of each group, (G,) float64 in 0..1; NaN where it does not occur in the truth."""
        return np.where(self.present, self.common / np.maximum(self.either, 1), np.nan)

    def mean_iou(self) -> float:
        """Mean over the groups that occur in the truth. Raises ValueError when none does."""
        if not self.present.any():
            raise ValueError("There is nothing to score: every label pixel is ignored.")
        return float(np.nanmean(self.iou()))


def band_width(size: tuple[int, int], share: float = SHARE) -> int:
    """Pixels from the contour inwards, 1 at least."""
    return max(1, round(share * float(np.hypot(*size))))


def band(mask: np.ndarray, unknown: np.ndarray, width: int) -> np.ndarray:
    """Pixels of a mask within `width` of its contour: the mask less its erosion, (H, W) bool.

    mask, unknown: (H, W) bool, disjoint. Unknown pixels erode nothing.
    """
    solid = np.pad((mask | unknown).astype(np.uint8), 1)  # outside the frame is no pixel of the mask
    inner = cv2.erode(solid, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & (inner == 0)
