"""Boundary IoU against distances taken pixel by pixel, and against the paper's code."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from train.measure.probe.boundary_iou import band, band_width, count_bands


def blobs(seed: int, groups: int = 3, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    """A label map of smooth regions."""
    noise = np.random.default_rng(seed).normal(size=(*size, groups)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 4).argmax(2).astype(np.uint8)


def near_something_else(mask: np.ndarray, unknown: np.ndarray, width: int) -> np.ndarray:
    """Pixels of a mask with the frame, or a pixel known to be of no such mask, within `width` rows and columns."""
    other = np.pad(~mask & ~unknown, width, constant_values=True)
    windows = np.lib.stride_tricks.sliding_window_view(other, (2 * width + 1,) * 2)
    return mask & windows.any((2, 3))


@pytest.mark.parametrize("holes", [0.0, 0.02])
@pytest.mark.parametrize("share", [0.01, 0.04, 0.08])
def test_equals_distances_pixel_by_pixel(share, holes):
    """Group 3 is in the guess alone, and group 4 is nowhere."""
    truth, guess = blobs(0), blobs(10)
    guess[:, 28:], guess[3:10, 30:45] = truth[:, 28:], 3
    truth[np.random.default_rng(0).random(truth.shape) < holes] = 255
    unknown, width, expected = truth == 255, max(1, round(share * (40**2 + 56**2) ** 0.5)), np.zeros((2, 5))
    for group in range(5):
        a, b = (near_something_else((labels == group) & ~unknown, unknown, width) for labels in (truth, guess))
        expected[:, group] = (a & b).sum(), (a | b).sum()
    found = count_bands(truth, guess, 5, share)
    assert (
        (found == expected).all()
        and found[0, :3].min() > 0
        and found[0, 3] == 0 < found[1, 3]
        and not found[:, 4].any()
    )


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
    same, moved = (np.divide(*count_bands(truth, guess, 2)) for guess in (truth, shifted))
    inside = ((truth == 1) & (shifted == 1)).sum() / ((truth == 1) | (shifted == 1)).sum()
    assert same.tolist() == [1, 1] and inside > 0.95 and moved[1] < 0.65


def test_what_is_not_labelled_is_no_contour():
    """Neither a guess there, nor the edge of it, changes a score; a thin gap does not hide the contour behind it."""
    truth = np.zeros((60, 80), np.uint8)
    truth[:, 40:] = 1
    truth[20:40, 10:30] = 255
    wild = truth.copy()
    wild[20:40, 10:30] = np.random.default_rng(0).integers(0, 2, (20, 20))
    for guess in (np.where(truth == 255, 0, truth), np.where(truth == 255, 1, truth), wild):
        assert np.divide(*count_bands(truth, guess, 2)).tolist() == [1, 1]
    assert not band(truth == 0, truth == 255, 2)[30, 8]
    gap = truth.copy()
    gap[:, 39:41] = 255
    assert band(gap == 0, gap == 255, 3)[30, 38] and not band(gap == 0, gap == 255, 2)[30, 38]
