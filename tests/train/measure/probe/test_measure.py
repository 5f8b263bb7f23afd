"""Both passes over a set of three colours, with a source that sees colours and one that sees nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from train.data import open_dataset
from train.measure.probe import measure
from train.measure.probe.boundary import BoundaryIoU
from train.measure.probe.features import BOTH, Seen
from train.measure.probe.measure import Names, View, gather, score
from train.measure.probe.similarity import Likeness
from train.metrics.confusion import ConfusionMatrix
from train.runtime.free_memory import Memory
from train.runtime.hardware import choose_hardware

TEXTS = torch.eye(11)
NAMES = Names(np.r_[np.arange(11), [255] * 245].astype(np.uint8), TEXTS, TEXTS)


class ByColour:
    """Patches of 8 pixels: "vfm" is red and green, "vlm" blue, "blind" the same everywhere."""

    rows = ("vfm", "vlm", BOTH, "blind")

    def __init__(self):
        self.batches = []

    def look(self, pixels, closely=False):
        self.batches.append(pixels.shape)
        cells = F.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) / 255
        rows = {"vfm": cells[..., :2], "vlm": cells[..., 2:], "blind": torch.ones_like(cells)}
        seen = Seen(tuple(cells.shape[1:3]), rows)
        if closely:
            sky = F.one_hot((cells[..., 2] > 0.7).long() * 7, 11).float()  # its text for sky, else the one for road
            seen.texts["vlm"] = sky
            flat = cells.flatten(1, 2)
            seen.compared["halves"] = [flat, flat], [2 * flat + 1, flat.flip(1)]
        return seen


@pytest.fixture
def view(tiny_preset) -> View:
    return View(tiny_preset, choose_hardware("cpu", "float32", 0), batch=2)


@pytest.fixture
def sets(streets):
    return open_dataset(f"camvid:{streets}/train"), open_dataset(f"camvid:{streets}/val")


def test_what_sees_colours_finds_what_colours_tell(sets, view):
    source = ByColour()
    patches = gather(source, sets[0], view)
    assert source.batches[0][0] == 2 and sum(shape[0] for shape in source.batches) == 6
    probes = measure.train(patches, source.rows, view.hardware)
    found = score(source, probes, NAMES, sets[1], view, samples=60, seed=0)
    scores = {row: found["rows"][row]["miou"] for row in source.rows}
    assert min(scores[BOTH], scores["vfm"]) > 0.8 > scores["vlm"] > scores["blind"]
    assert probes[BOTH].weight.shape == (11, 3) and found["rows"]["blind"]["iou by group"]["vehicle"] == 0
    assert found["rows"][BOTH]["iou by group"]["person"] is None
    assert found["rows"]["vlm"]["retrieval"] == {
        "regions": 9,
        "to text": pytest.approx(2 / 3),
        "to region": pytest.approx(2 / 3),
    }
    assert "retrieval" not in found["rows"]["vfm"] and "zero-shot" not in found["rows"]["vfm"]
    assert found["cka"]["halves"][0] == pytest.approx(1) and found["cka"]["halves"][1] < 0.9 and found["samples"] == 60


def test_scores_are_those_of_the_enlarged_logits(sets, view):
    source = ByColour()
    probes = measure.train(gather(source, sets[0], view), source.rows, view.hardware)
    found = score(source, probes, NAMES, sets[1], view, 8, 0)["rows"]["vfm"]
    matrix, contours = ConfusionMatrix(sets[1].groups.names), BoundaryIoU(11)
    for pixels, _, labels in measure.photographs(sets[1], view, ""):
        logits = probes["vfm"](source.look(pixels).rows["vfm"]).permute(0, 3, 1, 2)
        guesses = F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False).argmax(1)
        for truth, guess in zip(labels, guesses.numpy().astype(np.uint8), strict=True):
            matrix.update(truth, guess)
            contours.update(truth, guess)
    assert found["miou"] == pytest.approx(matrix.mean_iou(), abs=1e-3)
    assert found["boundary"] == pytest.approx(contours.mean_iou(), abs=1e-3)
    assert found["boundary by group"]["sky"] == pytest.approx(contours.iou()[7], abs=1e-3)


def test_zero_shot_is_the_nearest_name_of_every_pixel(sets, view):
    source, matrix = ByColour(), ConfusionMatrix(sets[1].groups.names)
    probes = measure.train(gather(source, sets[0], view), source.rows, view.hardware)
    found = score(source, probes, NAMES, sets[1], view, 8, 0)["rows"]
    for pixels, _, labels in measure.photographs(sets[1], view, ""):
        cosines = (source.look(pixels, closely=True).texts["vlm"] @ TEXTS.T).permute(0, 3, 1, 2)
        guesses = F.interpolate(cosines, size=labels.shape[1:], mode="bilinear", align_corners=False).argmax(1)
        for truth, guess in zip(labels, guesses.numpy().astype(np.uint8), strict=True):
            matrix.update(truth, guess)
    assert found["vlm"]["zero-shot"] == pytest.approx(matrix.mean_iou(), abs=1e-3) and matrix.mean_iou() > 0.2
    swapped = replace(NAMES, table=NAMES.table[[7, 1, 2, 3, 4, 5, 6, 0, *range(8, 256)]])
    other = score(source, probes, swapped, sets[1], view, 8, 0)["rows"]
    assert other["vlm"]["zero-shot"] < found["vlm"]["zero-shot"] and other["vfm"]["miou"] < found["vfm"]["miou"]
    assert other["vlm"]["retrieval"] == found["vlm"]["retrieval"], "regions and their texts are the scored set's own"


def test_only_photographs_that_score_are_softened(sets, view):
    def seen(soften: float) -> list[torch.Tensor]:
        source, own, kept = ByColour(), replace(view, soften=soften), []
        look = source.look
        source.look = lambda pixels, closely=False: kept.append(pixels) or look(pixels, closely)
        probes = measure.train(gather(source, sets[0], own), source.rows, own.hardware)
        score(source, probes, NAMES, sets[1], own, 8, 0)
        return kept

    for taught, (plain, soft) in zip([True] * 3 + [False] * 2, zip(seen(0), seen(0.5), strict=True), strict=True):
        assert torch.equal(plain, soft) == taught
    picture = torch.rand(1, 3, 32, 48) * 255
    found = measure.softened(picture, 0.5)
    half = F.avg_pool2d(picture, 2)
    assert torch.allclose(found, F.interpolate(half, scale_factor=2, mode="bilinear"), atol=1e-3)


def test_only_labelled_patches_are_kept(streets, view):
    label = np.array(Image.open(streets / "train" / "labels" / "0.png"))
    label[:, 32:] = 255
    Image.fromarray(label).save(streets / "train" / "labels" / "0.png")
    patches = gather(ByColour(), open_dataset(f"camvid:{streets}/train"), view)
    count = len(patches.shares[1])
    assert len(patches.shares[0]) == count // 2 == len(patches.rows["vfm"][0])
    assert torch.stack([shares.sum(1).min() for shares in patches.shares]).min() > 0
    whole = patches.matrix(BOTH)
    assert whole.dtype == torch.float32 and whole.shape == (sum(map(len, patches.shares)), 3)
    assert torch.equal(whole[:, :2], patches.matrix("vfm")) and torch.equal(whole[:, 2:], patches.matrix("vlm"))


def test_the_same_patches_are_compared_whatever_the_source(sets, view):
    source = ByColour()
    probes = measure.train(gather(source, sets[0], view), source.rows, view.hardware)
    found = score(source, probes, NAMES, sets[1], view, samples=60, seed=5)
    likeness = Likeness()
    for pixels, indices, _ in measure.photographs(sets[1], view, ""):
        a, b = source.look(pixels, closely=True).compared["halves"]
        for place, index in enumerate(indices):
            chosen = measure.sample(a[0].shape[1], 20, (5, index))
            likeness.update(*([step[place][chosen] for step in side] for side in (a, b)))
    assert found["cka"]["halves"] == likeness.values() and found["samples"] == len(likeness) == 60
    drawn = [measure.sample(96, 20, (seed, 3)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2]) and len(drawn[0].unique()) == 20
    assert measure.sample(5, 20, (0, 0)).sort().values.tolist() == [0, 1, 2, 3, 4]


def test_features_that_do_not_fit_are_refused(sets, view, monkeypatch):
    monkeypatch.setattr(measure, "host_memory", lambda: Memory(20_000, "free RAM"))
    with pytest.raises(ValueError, match=r"Features of 6 photographs \(576 patches\) needs .* GB .*: lower --limit"):
        gather(ByColour(), sets[0], view)


def test_a_file_that_has_become_unreadable_is_named(streets, view):
    dataset = open_dataset(f"camvid:{streets}/train", cache_bytes=0)
    (streets / "train" / "images" / "3.png").write_bytes(b"cut short")
    with pytest.raises(ValueError, match="3.png"):
        gather(ByColour(), dataset, view)
