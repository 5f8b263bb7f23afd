"""Scores of a model on a set: against a plain loop, in every space, in weather, in windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mfuser.inference import windows as sliding
from mfuser.inference.windows import window_places, working_size
from train.data import open_dataset
from train.metrics import scoring
from train.metrics.scoring import View, evaluate, same_size_batches
from train.runtime.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")


def test_scores_are_those_of_a_plain_loop(streets, seeing):
    dataset = open_dataset(f"camvid:{streets}", "val")
    matrices = evaluate(seeing, ("fused", "vlm"), dataset, "common", CPU, View(batch=2))
    for stream, matrix in matrices.items():
        counts = np.zeros((11, 11), np.int64)
        for image, label in (dataset[i] for i in range(len(dataset))):
            height, width = working_size(image.shape[:2], seeing.preset)
            assert (height, width) == (64, 96)
            pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
            pixels = F.interpolate(pixels, size=(height, width), mode="bicubic", align_corners=False).clamp(0, 255)
            scores = seeing(pixels.round(), stream).semantic()
            guess = F.interpolate(scores, size=label.shape, mode="bilinear", align_corners=False).argmax(1)[0].numpy()
            groups = dataset.groups.table()[guess]
            np.add.at(counts, (label[label != 255], groups[label != 255]), 1)
        assert np.abs(counts - matrix.counts).sum() < 0.02 * counts.sum()  # torch and OpenCV resize differently
        assert matrix.counts.sum() == counts.sum()
        assert matrix.mean_iou() > 0.7  # road, sky and car are found; a bus is a vehicle


def test_batches_do_not_change_scores(streets, seeing):
    dataset = open_dataset(f"camvid:{streets}", "val")
    one, three = (evaluate(seeing, ("fused",), dataset, "common", CPU, View(batch=b))["fused"] for b in (1, 3))
    assert np.abs(one.counts - three.counts).sum() <= 4  # ties may flip with summation order


def test_workers_do_not_change_scores(streets, seeing):
    dataset = open_dataset(f"camvid:{streets}", "val")
    forked = Hardware(torch.device("cpu"), "float32", workers=2)
    one, two = (
        evaluate(seeing, ("fused",), dataset, "common", h, View(condition="fog"))["fused"] for h in (CPU, forked)
    )
    assert (one.counts == two.counts).all()


def test_neighbours_of_equal_size_are_stacked():
    items = [(i, torch.zeros(3, s, 8), torch.zeros(s, 8)) for i, s in enumerate((4, 4, 4, 6, 4))]
    assert [tuple(p.shape) for _, p, _ in same_size_batches(iter(items), 2)] == [
        (2, 3, 4, 8),
        (1, 3, 4, 8),
        (1, 3, 6, 8),
        (1, 3, 4, 8),
    ]


def test_spaces(streets, seeing):
    full = open_dataset(str(streets), "val")  # 19 classes
    for stream, space, name, least, most in (
        ("vfm", "cityscapes", "car", 0.7, 1),
        ("vlm", "cityscapes", "car", 0, 0),
        ("vlm", "common", "vehicle", 0.7, 1),
        ("vlm", "idd", "vehicle", 0.7, 1),
    ):
        matrix = evaluate(seeing, (stream,), full, space, CPU)[stream]
        assert least <= matrix.iou()[matrix.names.index(name)] <= most
    with pytest.raises(ValueError, match="cannot be scored"):
        evaluate(seeing, ("vlm",), open_dataset(f"camvid:{streets}", "val"), "cityscapes", CPU)


def test_weather_changes_the_scores(streets, seeing):
    dataset = open_dataset(f"camvid:{streets}", "val")
    clear = evaluate(seeing, ("vlm",), dataset, "common", CPU)["vlm"]
    night, again = (evaluate(seeing, ("vlm",), dataset, "common", CPU, View(4, "night", 5))["vlm"] for _ in range(2))
    assert (night.counts == again.counts).all() and night.mean_iou() < clear.mean_iou()
    with pytest.raises(ValueError, match="Unknown weather"):
        evaluate(seeing, ("vlm",), dataset, "common", CPU, View(condition="locusts"))


def test_sliding_windows_cover_the_image(streets, seeing, monkeypatch):
    """A model that decides by colour gives the same mask from windows as from the whole."""
    dataset = open_dataset(f"camvid:{streets}", "val")
    monkeypatch.setattr(sliding, "window_places", lambda h, w: window_places(h, w, crop=32, stride=24))
    whole, parts = (
        evaluate(seeing, ("fused",), dataset, "common", CPU, View(windows=windows))["fused"]
        for windows in ("single", "sliding")
    )
    assert parts.counts.sum() == whole.counts.sum()
    assert np.abs(parts.counts - whole.counts).sum() < 0.03 * whole.counts.sum()


@pytest.mark.parametrize("count", [1, 2])
@torch.no_grad()
def test_windows_run_together_and_score_the_same(fresh_model, monkeypatch, count: int):
    monkeypatch.setattr(sliding, "window_places", lambda h, w: window_places(h, w, crop=32, stride=24))
    pixels = torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    sizes, embed = [], fresh_model.embed
    monkeypatch.setattr(fresh_model, "embed", lambda x, name: sizes.append(len(x)) or embed(x, name))
    one = scoring.semantic_scores(fresh_model, ("vfm", "vlm"), pixels, "sliding")
    alone, sizes[:] = list(sizes), []
    several = scoring.semantic_scores(fresh_model, ("vfm", "vlm"), pixels, "sliding", 5)
    assert set(alone) == {count} and max(sizes) == 5 // count * count and sum(sizes) == sum(alone)
    for stream, scores in one.items():
        torch.testing.assert_close(several[stream], scores, rtol=1e-4, atol=1e-5)


def test_windows_of_a_single_image_fill_the_batch(streets, seeing, monkeypatch):
    monkeypatch.setattr(sliding, "window_places", lambda h, w: window_places(h, w, crop=32, stride=24))
    sizes, embed = [], seeing.embed
    monkeypatch.setattr(seeing, "embed", lambda x, name: sizes.append(len(x)) or embed(x, name))
    evaluate(
        seeing, ("vlm",), open_dataset(f"camvid:{streets}", "val", limit=1), "common", CPU, View(4, windows="sliding")
    )
    assert max(sizes) == 4
