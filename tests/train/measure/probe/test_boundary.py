"""Boundary IoU against distances taken pixel by pixel, and against the paper's code."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from train.measure.probe.boundary import BoundaryIoU, band, band_width


def blobs(seed: int, groups: int = 3, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    """A label map of smooth regions."""
    noise = np.random.default_rng(seed).normal(size=(*size, groups)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 4).argmax(2).astype(np.uint8)


def near_something_else(mask: np.ndarray, unknown: np.ndarray, width: int) -> np.ndarray:
    """Pixels of a mask with the frame, or a pixel known to be of no such mask, within `width` rows and columns."""
    height, breadth = mask.shape
    found = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        if y < width or x < width or y >= height - width or x >= breadth - width:
            found[y, x] = True
            continue
        window = np.s_[y - width : y + width + 1, x - width : x + width + 1]
        found[y, x] = (~mask[window] & ~unknown[window]).any()
    return found


@pytest.mark.parametrize("holes", [0.0, 0.02])
@pytest.mark.parametrize("share", [0.01, 0.04, 0.08])
def test_equals_distances_pixel_by_pixel(share, holes):
    """Group 3 is in the first picture alone, and guessed in all; group 4 is guessed, and nowhere."""
    measured = BoundaryIoU(5, share)
    common, either = np.zeros((2, 5))
    for seed in range(3):
        truth, guess = blobs(seed), blobs(seed + 10)
        guess[:, 28:] = truth[:, 28:]
        guess[3:10, 30:45], guess[30:34, 5:9] = 3, 4
        if not seed:
            truth[4:12, 28:44] = 3
        truth[np.random.default_rng(seed).random(truth.shape) < holes] = 255
        truth[10:22, 5:9] = 255 if holes else truth[10:22, 5:9]
        measured.update(truth, guess)
        unknown, width = truth == 255, max(1, round(share * (40**2 + 56**2) ** 0.5))
        for group in range(5):
            a = near_something_else(truth == group, unknown, width)
            b = near_something_else((guess == group) & ~unknown, unknown, width)
            common[group] += (a & b).sum()
            either[group] += (a | b).sum()
    expected = common[:4] / either[:4]
    np.testing.assert_allclose(measured.iou()[:4], expected)
    assert np.isnan(measured.iou()[4]), "a group that the truth lacks does not count"
    assert measured.mean_iou() == pytest.approx(expected.mean()) and 0.005 < expected.min() < expected.max() < 0.95


def test_without_holes_it_is_the_papers_code():
    """mask_to_boundary of github.com/bowenc0221/boundary-iou-api."""
    mask = (blobs(0, 2, (90, 120)) == 1).astype(np.uint8)
    dilation = max(1, int(round(0.02 * np.sqrt(90**2 + 120**2))))
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=dilation)[1:91, 1:121]
    assert dilation == band_width((90, 120)) == 3
    assert (band(mask > 0, np.zeros(mask.shape, bool), dilation) == (mask - eroded > 0)).all()
    assert band_width((360, 480)) == 12 and band_width((8, 8)) == 1


def test_it_sees_contours_where_region_iou_hardly_does():
    truth = np.zeros((200, 200), np.uint8)
    truth[40:160, 40:160] = 1
    shifted = np.roll(truth, 3, axis=1)
    measured = BoundaryIoU(2)
    measured.update(truth, truth)
    assert measured.mean_iou() == 1
    measured = BoundaryIoU(2)
    measured.update(truth, shifted)
    inside = ((truth == 1) & (shifted == 1)).sum() / ((truth == 1) | (shifted == 1)).sum()
    assert inside > 0.95 and measured.iou()[1] < 0.65


def test_what_is_not_labelled_is_no_contour():
    """Neither a guess there, nor the edge of it, changes a score; a thin gap does not hide the contour behind it."""
    truth = np.zeros((60, 80), np.uint8)
    truth[:, 40:] = 1
    truth[20:40, 10:30] = 255
    wild = truth.copy()
    wild[20:40, 10:30] = np.random.default_rng(0).integers(0, 2, (20, 20))
    for guess in (np.where(truth == 255, 0, truth), np.where(truth == 255, 1, truth), wild):
        measured = BoundaryIoU(2)
        measured.update(truth, guess)
        assert measured.mean_iou() == 1
    assert not band(truth == 0, truth == 255, 2)[30, 8]
    gap = truth.copy()
    gap[:, 39:41] = 255
    assert band(gap == 0, gap == 255, 3)[30, 38] and not band(gap == 0, gap == 255, 2)[30, 38]


def test_faults_are_named():
    with pytest.raises(ValueError, match="must have the same shape"):
        BoundaryIoU(2).update(np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8))
    nothing = BoundaryIoU(2)
    nothing.update(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match="nothing to score"):
        nothing.mean_iou()
