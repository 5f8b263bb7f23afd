"""Scores against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from mfuser.cityscapes import LABEL_IDS
from train.metrics.confusion import ConfusionMatrix

NAMES = ("a", "b", "c", "d")


def pair(seed: int = 0, groups: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, groups, (30, 40)).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, groups, truth.shape)).astype(np.uint8)
    truth[:5] = 255
    return truth, prediction


def test_equals_scikit_learn():
    matrix = ConfusionMatrix(NAMES)
    pairs = [pair(0), pair(1)]
    for truth, prediction in pairs:
        matrix.update(truth, prediction)
    truth, prediction = (np.concatenate([p[i][5:].ravel() for p in pairs]) for i in range(2))
    assert (matrix.counts == confusion_matrix(truth, prediction)).all()
    np.testing.assert_allclose(matrix.iou(), jaccard_score(truth, prediction, average=None))
    assert matrix.mean_iou() == pytest.approx(jaccard_score(truth, prediction, average="macro"))
    assert matrix.accuracy() == pytest.approx(accuracy_score(truth, prediction))


def test_a_class_without_truth_does_not_count():
    """Its false positives still lower the others."""
    truth, prediction = pair(groups=3)
    prediction[6:8] = 3
    matrix = ConfusionMatrix(NAMES)
    matrix.update(truth, prediction)
    assert np.isnan(matrix.iou()[3]) and not matrix.present[3]
    expected = jaccard_score(truth[5:].ravel(), prediction[5:].ravel(), average=None, labels=[0, 1, 2])
    np.testing.assert_allclose(matrix.iou()[:3], expected)
    assert matrix.mean_iou() == pytest.approx(expected.mean())


def test_predictions_outside_the_space_are_wrong():
    truth, prediction = pair()
    matrix = ConfusionMatrix(NAMES)
    prediction[10:20] = 255
    matrix.update(truth, prediction)
    union = jaccard_score(truth[5:].ravel(), prediction[5:].ravel(), average=None, labels=[0, 1, 2, 3])
    np.testing.assert_allclose(matrix.iou(), union)
    assert matrix.missed.sum() == 400 and matrix.accuracy() < 0.7


def test_faults_are_named():
    matrix = ConfusionMatrix(NAMES)
    with pytest.raises(ValueError, match="same shape"):
        matrix.update(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="below 4"):
        matrix.update(np.full((2, 2), 4, np.uint8), np.zeros((2, 2), np.uint8))
    matrix.update(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="nothing to score"):
        matrix.mean_iou()


def many_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Twelve images of 19 classes, some of which never occur, with ignored pixels."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(12):
        truth = rng.choice([c for c in range(19) if c != 16], (37, 53)).astype(np.uint8)
        guess = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 19, truth.shape)).astype(np.uint8)
        truth[rng.random(truth.shape) < 0.1] = 255
        found.append((truth, guess))
    return found


def our_iou(pairs: list[tuple[np.ndarray, np.ndarray]]) -> ConfusionMatrix:
    matrix = ConfusionMatrix([str(c) for c in range(19)])
    for truth, guess in pairs:
        matrix.update(truth, guess)
    return matrix


def test_equals_torchmetrics():
    import mfuser.encoders.torchvision_ops  # noqa: F401  torchmetrics imports torchvision

    metrics = pytest.importorskip("torchmetrics.classification")
    import torch

    theirs = metrics.MulticlassJaccardIndex(19, average=None, ignore_index=255)
    for truth, guess in many_pairs():
        theirs.update(torch.from_numpy(guess).long(), torch.from_numpy(truth).long())
    matrix, scores = our_iou(many_pairs()), theirs.compute().numpy()
    np.testing.assert_allclose(matrix.iou()[matrix.present], scores[matrix.present], atol=1e-6)
    assert matrix.mean_iou() == pytest.approx(scores[matrix.present].mean(), abs=1e-6)


def test_equals_the_evaluator_of_cityscapesscripts(cityscapesscripts):
    evaluator = cityscapesscripts("evaluation.evalPixelLevelSemanticLabeling")
    table = np.full(256, 0, np.uint8)
    table[:19], table[255] = LABEL_IDS, 0
    arguments = evaluator.args
    arguments.evalLabels = [label.id for label in evaluator.labels if 0 <= label.id]
    arguments.evalInstLevelScore = False
    size = max(arguments.evalLabels) + 1
    theirs = np.zeros((size, size), np.uint64)
    for truth, guess in many_pairs():
        np.add.at(theirs, (table[truth], table[guess]), 1)
    scores = {i: evaluator.getIouScoreForLabel(i, theirs, arguments) for i in LABEL_IDS}
    matrix = our_iou(many_pairs())
    expected = np.array([scores[i] for i in LABEL_IDS])
    np.testing.assert_allclose(matrix.iou()[matrix.present], expected[matrix.present], atol=1e-6)
    assert matrix.mean_iou() == pytest.approx(np.nanmean(expected[matrix.present]), abs=1e-6)
