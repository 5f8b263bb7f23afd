"""Both passes over a set of three colours, with a source that sees colours and one that sees nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from train.data import open_dataset
from train.measure.probe import evaluation
from train.measure.probe.boundary_iou import count_bands
from train.measure.probe.cka import cka
from train.measure.probe.evaluation import Names, View, gather, score
from train.measure.probe.features import BOTH, PatchFeatures
from train.metrics.confusion import ConfusionMatrix
from train.runtime.free_memory import Memory
from train.runtime.hardware import choose_hardware

TEXTS = torch.eye(11)
NAMES = Names(np.r_[np.arange(11), [255] * 245].astype(np.uint8), TEXTS, TEXTS)


class ByColour:
    """Patches of 8 pixels: "vfm" is red and green, "vlm" blue, "blind" the same everywhere."""

    rows = ("vfm", "vlm", BOTH, "blind")

    def __init__(self):
        self.seen = []

    def features(self, pixels, compare=False):
        self.seen.append(pixels)
        cells = F.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) / 255
        rows = {"vfm": cells[..., :2], "vlm": cells[..., 2:], "blind": torch.ones_like(cells)}
        found = PatchFeatures(tuple(cells.shape[1:3]), rows)
        if compare:
            sky = F.one_hot((cells[..., 2] > 0.7).long() * 7, 11).float()  # its text for sky, else the one for road
            found.texts["vlm"] = sky
            flat = cells.flatten(1, 2)
            found.compared["halves"] = [flat, flat], [2 * flat + 1, flat.flip(1)]
        return found


@pytest.fixture
def view(tiny_preset) -> View:
    return View(tiny_preset, choose_hardware("cpu", "float32", 0), batch=2)


@pytest.fixture
def sets(streets):
    return open_dataset(f"camvid:{streets}/train"), open_dataset(f"camvid:{streets}/val")


def evaluate(sets, view, names=NAMES, samples=8, seed=0):
    """Source, probes and scores."""
    source = ByColour()
    probes = evaluation.train(*gather(source, sets[0], view), source.rows)
    return source, probes, score(source, probes, names, sets[1], view, samples, seed)


def test_what_sees_colours_finds_what_colours_tell(sets, view):
    source, probes, found = evaluate(sets, view, samples=60)
    assert [len(pixels) for pixels in source.seen[:3]] == [2, 2, 2], "six photographs, two at a time"
    scores = {row: found["rows"][row]["miou"] for row in source.rows}
    assert min(scores[BOTH], scores["vfm"]) > 0.8 > scores["vlm"] > scores["blind"]
    assert probes[BOTH].weight.shape == (11, 3) and found["rows"]["blind"]["iou by group"]["vehicle"] == 0
    assert found["rows"][BOTH]["iou by group"]["person"] is found["rows"][BOTH]["boundary by group"]["person"] is None
    texts = found["rows"]["vlm"]["retrieval"]
    assert texts["regions"] == 9 and texts["to text"] == pytest.approx(2 / 3) and 0.5 < texts["to region"] < 1
    assert "retrieval" not in found["rows"]["vfm"] and "zero-shot" not in found["rows"]["vfm"]
    assert found["cka"]["halves"][0] == pytest.approx(1) and found["cka"]["halves"][1] < 0.9 and found["samples"] == 60


def test_scores_are_those_of_the_enlarged_logits(sets, view):
    """Those of a probe, and those of the nearest name, which needs none."""
    source, probes, found = evaluate(sets, view)
    for kind in ("probe", "zero-shot"):
        matrix, bands = ConfusionMatrix(sets[1].groups.names), 0
        for pixels, _, labels in evaluation.photographs(sets[1], view, ""):
            seen = source.features(pixels, compare=True)
            logits = probes["vfm"](seen.rows["vfm"]) if kind == "probe" else seen.texts["vlm"] @ TEXTS.T
            logits = F.interpolate(logits.permute(0, 3, 1, 2), labels.shape[1:], mode="bilinear", align_corners=False)
            for truth, guess in zip(labels.numpy(), logits.argmax(1).numpy().astype(np.uint8), strict=True):
                matrix.update(truth, guess)
                bands = bands + count_bands(truth, guess, 11)
        if kind == "zero-shot":
            assert found["rows"]["vlm"][kind] == pytest.approx(matrix.mean_iou(), abs=1e-3) and matrix.mean_iou() > 0.2
            continue
        boundary = bands[0] / np.maximum(bands[1], 1)
        assert found["rows"]["vfm"]["miou"] == pytest.approx(matrix.mean_iou(), abs=1e-3)
        assert found["rows"]["vfm"]["boundary"] == pytest.approx(boundary[matrix.present].mean(), abs=1e-3)
        assert found["rows"]["vfm"]["boundary by group"]["sky"] == pytest.approx(boundary[7], abs=1e-3)


def test_answers_count_as_the_groups_of_the_scored_set(sets, view):
    swapped = replace(NAMES, table=NAMES.table[[7, 1, 2, 3, 4, 5, 6, 0, *range(8, 256)]])
    found, other = (evaluate(sets, view, names)[2]["rows"] for names in (NAMES, swapped))
    assert other["vlm"]["zero-shot"] < found["vlm"]["zero-shot"] and other["vfm"]["miou"] < found["vfm"]["miou"]
    assert other["vlm"]["retrieval"] == found["vlm"]["retrieval"], "regions and their texts are the scored set's own"


def test_only_photographs_that_score_are_softened(sets, view):
    plain, soft = (evaluate(sets, replace(view, soften=soften))[0].seen for soften in (0, 0.5))
    assert [torch.equal(a, b) for a, b in zip(plain, soft, strict=True)] == [True] * 3 + [False] * 2
    picture = torch.rand(1, 3, 32, 48) * 255
    found = evaluation.softened(picture, 0.5)
    half = F.avg_pool2d(picture, 2)
    assert torch.allclose(found, F.interpolate(half, scale_factor=2, mode="bilinear"), atol=1e-3)


def test_only_labelled_patches_are_kept(streets, view):
    label = np.array(Image.open(streets / "train" / "labels" / "0.png"))
    label[:, 32:] = 255
    Image.fromarray(label).save(streets / "train" / "labels" / "0.png")
    shares, features = gather(ByColour(), open_dataset(f"camvid:{streets}/train"), view)
    assert len(shares) == len(features["vfm"]) == 5 * 96 + 48, "half of the first photograph"
    assert shares.sum(1).min() > 0 and set(features) == {"vfm", "vlm", "blind"}


def test_the_same_patches_are_compared_whatever_the_source(sets, view):
    source, _, found = evaluate(sets, view, samples=60, seed=5)
    kept = [([], []), ([], [])]
    for pixels, indices, _ in evaluation.photographs(sets[1], view, ""):
        sides = source.features(pixels, compare=True).compared["halves"]
        for place, index in enumerate(indices):
            chosen = evaluation.sample(sides[0][0].shape[1], 20, (5, index))
            for step, pair in enumerate(kept):
                for side, parts in zip(sides, pair, strict=True):
                    parts.append(side[step][place][chosen])
    assert found["cka"]["halves"] == [cka(torch.cat(a), torch.cat(b)) for a, b in kept] and found["samples"] == 60
    drawn = [evaluation.sample(96, 20, (seed, 3)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2]) and len(drawn[0].unique()) == 20
    assert evaluation.sample(5, 20, (0, 0)).sort().values.tolist() == [0, 1, 2, 3, 4]


def test_features_that_do_not_fit_are_refused(sets, view, monkeypatch):
    monkeypatch.setattr(evaluation, "host_memory", lambda: Memory(20_000, "free RAM"))
    with pytest.raises(ValueError, match=r"6 photographs \(576 patches\) needs .* GB .*: lower --limit"):
        gather(ByColour(), sets[0], view)


def test_a_file_that_has_become_unreadable_is_named(streets, view):
    dataset = open_dataset(f"camvid:{streets}/train", cache_bytes=0)
    (streets / "train" / "images" / "3.png").write_bytes(b"cut short")
    with pytest.raises(ValueError, match="3.png"):
        gather(ByColour(), dataset, view)


def test_no_label_at_all_is_named():
    with pytest.raises(ValueError, match="nothing to score"):
        evaluation.row_scores(ConfusionMatrix(("road",)), np.zeros((2, 1), np.int64))
