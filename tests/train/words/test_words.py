"""Scores of texts against plain loops and scikit-learn, and the command on a tiny model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from mfuser import presets
from mfuser.inference.segmenter import Segmenter
from mfuser.loading import MFuser
from mfuser.weights import folder as folder_module
from train.__main__ import main
from train.data import open_dataset
from train.data.groups import COMMON_SPACE, SPACES
from train.runtime.hardware import Hardware
from train.texts import evaluation_phrases
from train.texts.evaluation_phrases import Phrase
from train.words import command, phrase_scores, similarity_maps, teaching_texts
from train.words.command import WordsConfig
from train.words.similarity_maps import Tally, compare, patch_weights, region_histogram

CPU = Hardware(torch.device("cpu"), "float32")
CAR, SKY = Phrase("auto", "synonym", frozenset({13})), Phrase("air", "synonym", frozenset({10}))
SOFA = Phrase("sofa", "object", frozenset())


def test_average_precision_by_hand_and_by_scikit_learn():
    # From the highest score down: right, wrong, right. Precision 1 at half the recall, 2/3 at the other half.
    by_hand = np.zeros((2, 10), int)
    by_hand[1, 9], by_hand[0, 5], by_hand[1, 2] = 1, 1, 1
    assert phrase_scores.average_precision(by_hand) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    rng = np.random.default_rng(0)
    truth, values = rng.random(5000) < 0.2, rng.integers(0, 60, 5000)
    values = values + 15 * truth  # many ties
    histogram = np.stack([np.bincount(values[truth == side], minlength=80) for side in (False, True)])
    assert phrase_scores.average_precision(histogram) == pytest.approx(
        average_precision_score(truth, values), abs=1e-12
    )
    assert np.isnan(phrase_scores.average_precision(np.eye(2, 5, dtype=int)[[0, 0]] * [[1], [0]]))


def test_histogram_keeps_the_average_precision_of_every_pixel():
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(6, 8, generator=generator) * 2 - 1
    truth = torch.randint(0, 3, (48, 64), generator=generator).byte()
    truth[:5] = 255
    wanted = torch.tensor([False, True, False])
    full = torch.nn.functional.interpolate(cosines[None, None], size=(48, 64), mode="bilinear", align_corners=False)
    inside = truth != 255
    labels, values = (truth == 1)[inside].numpy(), full[0, 0][inside].numpy()
    histogram = region_histogram(cosines, truth, wanted)
    assert histogram.sum(1).tolist() == [(~labels).sum(), labels.sum()]
    exact = average_precision_score(labels, values)
    assert phrase_scores.average_precision(histogram) == pytest.approx(exact, abs=2e-3)


def test_weights_of_patches_sum_the_enlarged_map():
    generator = torch.Generator().manual_seed(1)
    cosines = torch.rand(3, 5, generator=generator).double()
    truth = torch.randint(0, 4, (37, 50), generator=generator).byte()
    truth[truth == 3] = 255
    weights, counts = patch_weights(truth, (3, 5), 3)
    full = torch.nn.functional.interpolate(cosines[None, None], size=(37, 50), mode="bilinear", align_corners=False)
    for group in range(3):
        assert counts[group] == (truth == group).sum()
        assert (weights[group] * cosines).sum().item() == pytest.approx(full[0, 0][truth == group].sum().item())


def test_auroc_of_present_against_absent_by_hand_and_by_scikit_learn():
    # Groups 7 and 10 are sky and vehicle. Sky is in both pictures, a car in the second, and in the first too little.
    counts = np.zeros((2, 11), int)
    counts[:, 7], counts[:, 10] = 1000, (1, 500)
    tally = Tally(counts=list(counts), peaks=[np.array([0.9, 0.5, 0.3]), np.array([0.4, 0.6, 0.45])])
    wanted = phrase_scores.expected_groups([CAR, SKY, SOFA], COMMON_SPACE)
    assert wanted.nonzero()[1].tolist() == [10, 7]
    found = phrase_scores.presence(tally, [CAR, SKY, SOFA], wanted, 0.01)
    # Present: 0.4 (car), 0.5 and 0.6 (sky). Absent: the sofa's 0.3 and 0.45. Pairs in order: 5 of 6.
    assert found["all"] == found["objects"] == pytest.approx(5 / 6) and np.isnan(found["classes"])
    assert found["all"] == pytest.approx(roc_auc_score([1, 1, 1, 0, 0], [0.4, 0.5, 0.6, 0.3, 0.45]))
    counts[0, 10] = 0  # now the car is absent from the first picture, where it looks like one all the same
    found = phrase_scores.presence(tally, [CAR, SKY, SOFA], wanted, 0.01)
    assert found["all"] == pytest.approx(5 / 9) and found["classes"] == 0


def test_top1_counts_what_the_set_can_show():
    means = np.full((3, 11), -np.inf)
    means[:, [0, 7]] = [[0.1, 0.3], [0.1, 0.3], [0.2, 0.1]]
    wanted = phrase_scores.expected_groups([CAR, SKY, SOFA], COMMON_SPACE)
    there = np.isfinite(means[0])
    right = phrase_scores.top1(means.argmax(1), wanted, there)
    assert np.isnan(right[0]) and right[1] == 1 and np.isnan(right[2]), "no car in the set, and no sofa anywhere"
    assert phrase_scores.by_kind(np.array([0.0, 1.0, np.nan]), [CAR, SKY, SOFA]) == {
        "all": (50.0, 2),
        "synonym": (50.0, 2),
    }


def test_class_means_are_over_all_pixels_of_the_set():
    counts = [np.array([10, 0, 1]), np.array([30, 0, 0])]
    sums = [np.array([[5.0, 0.0, 0.3]]), np.array([[3.0, 0.0, 0.0]])]
    assert Tally(counts, sums).class_means().tolist() == [[0.2, -np.inf, 0.3]]


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_preset, fresh_model):
    """The tiny preset under its name, and a folder of all its weights."""
    monkeypatch.setitem(presets.PRESETS, tiny_preset.name, tiny_preset)
    folder = tmp_path / "run"
    folder_module.save_folder(fresh_model, folder)
    return folder


def test_similarities_are_those_of_the_page(streets, fresh_model: MFuser):
    dataset = open_dataset(f"camvid:{streets}/val")
    segmenter = Segmenter(fresh_model)
    words = ["a car", "sky"]
    texts = {s: torch.from_numpy(segmenter.encode_text(words, s)) for s in similarity_maps.STREAMS}
    wanted = torch.zeros(11, dtype=torch.bool)
    wanted[10] = True
    tallies, faults = compare(fresh_model, dataset, SPACES["common"], texts, {"car": (0, wanted)}, CPU, batch=2)
    assert faults == []
    table = dataset.groups.into(SPACES["common"])
    for stream, tally in tallies.items():
        histogram = 0
        for i in range(len(dataset)):
            analysis, truth = segmenter.analyse(dataset.image(i)), table[dataset.label(i)]
            for row, word in enumerate(words):
                field = analysis.similarity(word, stream)
                for group in np.flatnonzero(tally.counts[i]):
                    mean = tally.sums[i][row, group] / tally.counts[i][group]
                    assert mean == pytest.approx(field[truth == group].mean(), abs=2e-3)  # the page stores half floats
                assert field.max() <= tally.peaks[i][row] + 2e-3
            histogram = histogram + (truth == 10).sum()
        assert tally.histograms["car"][1].sum() == histogram > 0


def test_the_command_writes_what_it_prints(run, streets, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["words", "--preset", "tiny", "--checkpoint", str(run), "--out", str(out), "--workers", "0"]
    assert main([*arguments, "--data", f"camvid:{streets}/val"]) == 0
    printed, report = capsys.readouterr().out, json.loads((out / "words.json").read_text())
    assert (out / "words.md").read_text() == printed and "| AP of car |" in printed
    assert report["images"] == 3 and report["space"] == "common" and report["phrases"] == len(evaluation_phrases.load())
    for stream in ("vlm", "fused"):
        scored = report["streams"][stream]
        assert 0 <= scored["AUROC"]["all"] <= 1 and 0 <= scored["AP"]["sky"] <= 1
        share, count = scored["image top-1"]["all"]
        assert 0 < count < len(evaluation_phrases.load()) and len(scored["wrong"]) == round(count * (1 - share / 100))
        assert set(scored["mean similarity"]["tarmac"]) == {"road", "sky", "vehicle"}
    assert report["streams"]["vlm"]["AUROC"] != report["streams"]["fused"]["AUROC"]


def test_a_recipe_is_chosen_by_other_phrases(run, streets, tmp_path, monkeypatch):
    phrases = (Phrase("boulevard", "synonym", frozenset({0})), Phrase("teapot", "object", frozenset()))
    monkeypatch.setattr(teaching_texts, "development", lambda: phrases)
    config = WordsConfig(f"camvid:{streets}/val", run, "tiny", development=True, out=tmp_path, workers=0)
    report = command.run(config)
    assert report["phrases"] == 2 and report["streams"]["vlm"]["image top-1"]["synonym"][1] == 1


def test_bad_input_is_one_sentence(run, streets, tmp_path, capsys):
    assert main(["words"]) == 2 and "No data to look at" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--minimum must be at least 0"):
        WordsConfig(minimum=1)
    arguments = ["words", "--preset", "tiny", "--checkpoint", str(tmp_path / "gone"), "--data", str(streets)]
    assert main(arguments) == 2 and "Traceback" not in capsys.readouterr().err
