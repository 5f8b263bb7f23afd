"""The scale of similarity: on values whose answer is known, and through the command line with the tiny model."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mfuser.stage import scales
from train.__main__ import main
from train.data.groups import COMMON_SPACE
from train.score import similarity_scale
from train.score.similarity_scale import Measured, pair_cosines, pure_patches, split_peaks, text_scores, threshold
from train.score.similarity_words import Words, read_words


def test_the_threshold_lies_between_the_marks_or_keeps_that_of_absent_phrases():
    present, absent = np.linspace(0.5, 1.5, 101), np.linspace(0, 0.4, 101)
    assert threshold(present, absent) == pytest.approx((0.38 + 0.7) / 2)
    assert threshold(absent, present) == pytest.approx(1.45), "no value meets both marks"


def test_scores_subtract_nothing_the_mean_or_the_highest():
    patches, texts, generic = np.eye(2), np.array([[1.0, 0.0]]), np.array([[0.6, 0.8], [0.8, 0.6]])
    found = text_scores(patches, texts, generic)
    assert list(found) == list(scales.SCORES)
    expected = {"cosine": [1, 0], "above mean": [0.3, -0.7], "above highest": [0.2, -0.8]}
    assert all(found[score][:, 0] == pytest.approx(values) for score, values in expected.items())


def test_present_is_what_is_labelled_and_absent_what_no_street_has():
    words = Words(
        ("car", "bus", "giraffe", "sofa"), (*map(frozenset, ([13], [15], [], [])),), np.array([1, 0, 1, 0]) > 0
    )
    shares = np.zeros((2, len(COMMON_SPACE)))
    shares[0, COMMON_SPACE.names.index("vehicle")] = 0.2
    shares[1, COMMON_SPACE.names.index("vehicle")] = 0.001
    peaks = list(np.arange(8.0).reshape(2, 4))
    present, absent = split_peaks(peaks, Measured(list(shares)), COMMON_SPACE, words, 0.01)
    assert present.tolist() == [0], "a vehicle need not be a bus, and a few pixels are neither"
    assert absent.tolist() == [2, 3, 6, 7]
    present, absent = split_peaks(peaks, Measured(list(shares)), COMMON_SPACE, words, 0.01, ~words.half)
    assert present.tolist() == [] and absent.tolist() == [3, 7]


def test_patches_of_one_class_are_compared_in_pairs():
    label = np.full((8, 8), 255, np.uint8)
    label[:4], label[4:, :4] = 0, 1
    places, labels = pure_patches(label, (2, 2), 2, seed=0)
    assert sorted(zip(places.tolist(), labels.tolist(), strict=True)) == [(0, 0), (1, 0), (2, 1)][: len(places)]
    tokens = np.array([[[2.0, 0], [1, 0]], [[0, 3], [5, 5]]])
    same, different = pair_cosines(tokens, np.array([0, 1, 2]), np.array([0, 0, 1]))
    assert same.tolist() == [1] and different.tolist() == [0, 0]


def test_words_are_many_and_halves_alike():
    words = read_words()
    assert words.absent.sum() >= 60 and len(set(words.texts)) == len(words.texts)
    for mask in (words.absent, ~words.absent):
        assert abs(words.half[mask].mean() - 0.5) < 0.02


@pytest.fixture
def few_words(monkeypatch):
    words = read_words()
    keep = [i for i, text in enumerate(words.texts) if text in ("road", "sky", "car", "giraffe", "violin", "zzzz")]
    few = Words(*(tuple(of[i] for i in keep) for of in (words.texts, words.classes)), np.arange(len(keep)) % 2 == 0)
    monkeypatch.setattr(similarity_scale, "read_words", lambda: few)
    monkeypatch.setattr(similarity_scale, "PURE", 0.3)  # a patch of the tiny model is as large as a car
    return few


def test_the_command_writes_a_scale_that_the_page_reads(streets, trained, few_words, capsys):
    arguments = ["--data", f"camvid:{streets}/train", "--report", f"camvid:{streets}/val", "--preset", "tiny"]
    assert main(["similarity-scale", *arguments, "--weights", str(trained), "--device", "cpu", "--limit", "2"]) == 0
    assert "left out" in capsys.readouterr().out
    content = json.loads((trained / scales.FILE).read_text())
    read = scales.read(trained)
    assert set(read.text) == {"vlm", "fused"} and set(read.point) == {"vfm", "vlm", "fused"}
    assert "/tmp" not in content["command"] and content["command"].startswith("python -m train similarity-scale")
    rows = {(r["set"], r["stream"], r["phrases"]): r for r in content["shown"]}
    assert len(rows) == 8 and len(content["photographs"]) == 2
    for (_, _, phrases), row in rows.items():
        assert row["absent pairs"] == 2 * few_words.absent.sum() and row["present pairs"] == 6, phrases
    for scale in content["text"].values():
        compared = scale["present % at 5 % absent"]
        assert set(compared) == set(scales.SCORES) and compared[scale["score"]] >= compared["cosine"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No data to choose the scale on"),
        (["--data", "camvid:DATA", "--minimum", "0"], "--minimum must be above 0"),
        (["--data", "camvid:DATA", "--limit", "-1"], "--limit must not be negative"),
        (["--data", "camvid:DATA", "--preset", "mega"], "Unknown preset 'mega'"),
        (["--data", "camvid:/nowhere"], "/nowhere"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, streets, capsys):
    assert main(["similarity-scale", *(a.replace("DATA", str(streets)) for a in arguments)]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1
