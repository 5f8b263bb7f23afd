"""Hand-labelled points: how they are read, what counts, and that the ones that come along are whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mfuser import images, presets
from mfuser.inference.segmenter import Segmenter
from train.__main__ import main
from train.adapt.pseudo_labels import class_probabilities
from train.data import has_split, open_dataset
from train.data.held_back import held_back
from train.runtime.weights import load_model
from train.score.point_labels import DAWN, accuracies, deviation, guess_all, read_at, read_spots


def test_the_points_of_dawn_are_whole():
    spots = read_spots(DAWN)
    assert len(spots) == 53 and sum(len(e["points"]) for e in spots.values()) == 1379
    assert {e["condition"] for e in spots.values()} == {"fog", "rain", "snow", "night"}


def test_what_scores_is_held_back_from_training(tmp_path):
    names = held_back()
    assert len(names) == 61 and names > set(read_spots(DAWN))
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "foggy-001.jpg", "foggy-004.png", "haze-003.jpg"):  # any, two that score, a near copy
        Image.new("RGB", (32, 32)).save(tmp_path / "images" / name)
    dataset = open_dataset(f"dawn:{tmp_path}", "train", labelled=False)
    assert [pair.image.name for pair in dataset.pairs] == ["a.jpg"]
    assert len(open_dataset(f"folder:{tmp_path}", "train", labelled=False)) == 4
    assert not has_split(f"dawn:{tmp_path}", "val"), "what trains does not score"
    (tmp_path / "images/a.jpg").unlink()
    with pytest.raises(ValueError, match="All photographs in .* are among those that score"):
        open_dataset(f"dawn:{tmp_path}", "train", labelled=False)


def test_points_are_read_where_they_lie():
    p = torch.zeros(19, 2, 4)
    p[3, 0, 0] = p[7, 1, 3] = p[11, 0, 3] = 1
    points = np.array([[0.05, 0.1, 0], [0.99, 0.9, 0], [0.99, 0.1, 0]])
    assert read_at(p, points).tolist() == [3, 7, 11]


def test_accuracy_and_its_mean_over_classes():
    points = np.array([[0.5, 0.5, 0]] * 30 + [[0.5, 0.5, 14]] * 10 + [[0.5, 0.5, 11]] * 2)
    spots = {"a": {"condition": "fog", "points": points[:20]}, "b": {"condition": "night", "points": points[20:]}}
    guess = np.array([0] * 30 + [13] * 5 + [11] * 5 + [0] * 2)  # car for truck is right: both are vehicles
    fog, night, every = accuracies(spots, {"fused": guess})
    assert (fog["fused"], fog["spots"]) == (100.0, 20) and night["fused"] == round(100 * 15 / 22, 1)
    assert every["fused"] == round(100 * 35 / 42, 1)
    assert every["fused mean"] == 75.0  # two persons are too few to count


def test_the_error_is_that_of_photographs_not_of_spots():
    """Photographs that are right or wrong as a whole are as few observations as there are photographs."""
    together = deviation([10] * 8 + [0] * 8, [10] * 16)
    apart = deviation([5] * 16, [10] * 16)
    assert together == pytest.approx(0.5 / 4, rel=0.1) and apart == 0


def test_the_command_scores_every_stream(streets, trained, tmp_path, capsys):
    spots = tmp_path / "spots.json"
    spots.write_text(json.dumps({"0.png": {"condition": "rain", "points": [[0.5, 0.1, 10], [0.5, 0.7, 0]]}}))
    command = ["spots", "--preset", "tiny", "--weights", str(trained), "--photographs", str(streets / "val/images")]
    command += ["--spots", str(spots), "--streams", "vlm", "fused", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(command) == 0
    report = json.loads((tmp_path / "out" / "spots.json").read_text())
    rows, (own,) = report["accuracy"], report["photographs"].values()
    assert [r["condition"] for r in rows] == ["rain", "all"] and {"vlm", "fused"} <= set(rows[0])
    assert own["spots"] == 2 and own["vlm"] == rows[0]["vlm"] / 50
    assert "| rain" in capsys.readouterr().out


def test_embedding_once_gives_what_each_stream_gives_by_itself(streets, trained, monkeypatch):
    folder, rng = streets / "val" / "images", np.random.default_rng(0)
    spots = {
        f"{i}.png": {"condition": "fog", "points": np.column_stack([rng.random((300, 2)), np.zeros(300)])}
        for i in range(3)
    }
    streams = ("vlm", "fused")
    segmenter = Segmenter(load_model(presets.get("tiny"), trained, streams).for_inference())
    segmenter.model.temperatures["fused"] = 3.0
    alone = {}
    for stream in streams:
        maps = [class_probabilities(segmenter, images.load(folder / name), stream, mirror=False) for name in spots]
        alone[stream] = np.concatenate([read_at(p, spots[n]["points"]) for n, p in zip(spots, maps, strict=True)])
    embedded, embed = [], segmenter.model.embed
    monkeypatch.setattr(segmenter.model, "embed", lambda pixels, name: embedded.append(name) or embed(pixels, name))
    found = guess_all(segmenter, spots, folder, streams)
    assert len(set(alone["vlm"])) > 1 and (alone["vlm"] != alone["fused"]).any()
    assert all((found[stream] == alone[stream]).all() for stream in streams)
    assert sorted(embedded) == 3 * ["vfm"] + 3 * ["vlm"]


@pytest.mark.parametrize(
    ("content", "why"),
    [("[]", "must hold"), ("{", "must hold"), ('{"0.png": {"points": []}}', "must hold"),
     ('{"0.png": {"condition": "fog", "points": [[0.5, 1.5, 3]]}}', "from 0 to 1"),
     ('{"0.png": {"condition": "fog", "points": [[0.5, 0.5, 19]]}}', "train ids"),
     ('{"gone.png": {"condition": "fog", "points": []}}', "gone.png")],
)  # fmt: skip
def test_bad_input_is_one_sentence(content: str, why: str, tmp_path, capsys):
    Image.new("RGB", (32, 32)).save(tmp_path / "0.png")
    (tmp_path / "spots.json").write_text(content)
    assert main(["spots", "--photographs", str(tmp_path), "--spots", str(tmp_path / "spots.json")]) == 2
    assert why in capsys.readouterr().err
    assert main(["spots"]) == 2 and "--photographs" in capsys.readouterr().err
