"""The model card's measurements on the tiny model, and their Markdown on made-up numbers."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mfuser.weights import tensors
from train.__main__ import main
from train.runtime.distributed import Processes
from train.runtime.hardware import choose_hardware
from train.runtime.weights import load_model
from train.score import card, card_tables, failures
from train.score.card import CardConfig, make_card
from train.score.command import EvaluateConfig
from train.score.command import run as evaluate_sets
from train.score.failures import Frame


@pytest.fixture
def weights(tiny_run, tiny_model):
    """A whole folder of the tiny preset; the fused stream's confidence has a temperature."""
    for stream in ("vfm", "vlm", "fused"):
        made = {"stream": stream, "temperature": "2.0" if stream == "fused" else "1.0"}
        tensors.save(tiny_run / f"stream-{stream}.safetensors", tiny_model.state_for(stream), made)
    return tiny_run


@pytest.fixture
def examples(tmp_path, streets):
    """Three streets, of which the first two were rendered in fog as well."""
    folder = tmp_path / "examples"
    folder.mkdir()
    entries = []
    for i in range(3):
        picture = np.asarray(Image.open(streets / "train" / "images" / f"{i}.png"))
        Image.fromarray(picture).save(folder / f"{i}.jpg")
        Image.fromarray(picture // 2 + 100).save(folder / f"{i}-fog.jpg")
        (folder / f"{i}.png").write_bytes((streets / "train" / "labels" / f"{i}.png").read_bytes())
        fog = {"weather": {"fog": {"file": f"{i}-fog.jpg", "text": "fog"}}} if i < 2 else {}
        entries.append({"file": f"{i}.jpg", "label": f"{i}.png", "title": f"Street {i}", "alt": "", **fog})
    (folder / "examples.json").write_text(json.dumps(entries))
    return folder


@pytest.fixture
def config(streets, weights, examples, tmp_path) -> CardConfig:
    return CardConfig(
        data=(f"camvid:{streets}/val",),
        preset="tiny",
        weights=weights,
        conditions=("fog",),
        limit=2,
        examples=examples,
        worst=2,
        out=tmp_path / "card",
        device="cpu",
        workers=0,
    )


def test_a_card_has_every_part_and_is_not_measured_twice(config, monkeypatch):
    text = make_card(config)
    names = {path.name for path in config.out.iterdir()}
    assert names >= {"scores.md", "retention.md", "retention.png", "calibration.md", "failures.md", "failures.jpg"}
    assert text.strip() == (config.out / "card.md").read_text().strip()
    command = "python -m train card --weights run --data camvid:CAMVID/val --preset tiny --limit 2"
    assert text.endswith(f"    {command} --conditions fog --worst 2")
    assert str(config.out) not in text and "/tmp" not in text
    (plain,) = evaluate_sets(
        EvaluateConfig(data=config.data, preset="tiny", weights=config.weights, limit=2, device="cpu", workers=0),
        Processes(),
    )
    shown = next(line for line in text.splitlines() if line.startswith("| clear |"))
    assert shown.split(" | ")[1:4] == [f"{plain['streams'][s]['miou']:.1f}" for s in ("vfm", "vlm", "fused")]
    sheet = Image.open(config.out / "failures.jpg")
    assert sheet.width > 5 * 300 and (config.out / "failures.jpg").stat().st_size <= failures.LARGEST

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr("train.metrics.scoring.semantic_scores", never)
    monkeypatch.setattr(card, "score_cells", never)
    assert make_card(config) == text


def test_a_card_of_some_parts_has_a_table_for_every_stream_and_says_which_parts(config):
    text = make_card(replace(config, parts=("scores", "retention"), conditions=("fog", "night")))
    heads = [line for line in text.splitlines() if line.endswith("| clear | fog | night |")]
    assert [head.split(" | ")[0] for head in heads] == ["| VFM only", "| VLM only", "| MFuser"]
    means = text[text.index("| mIoU |") :].split("\n\n")[0].splitlines()
    assert [row.split(" | ")[0] for row in means[2:]] == ["| clear", "| fog", "| night"]
    assert "calibration" not in text and "--parts scores retention --conditions fog night" in text


def test_calibration_is_told_before_and_after_the_temperature(config):
    make_card(replace(config, parts=("calibration",)))
    found = json.loads((config.out / "card.json").read_text())["calibration"].popitem()[1]["as they are"]
    assert found["fused"]["temperature"] == 2 and found["fused"]["before"] != found["fused"]["after"]
    assert found["vlm"]["before"] == found["vlm"]["after"] and 0 <= found["vlm"]["before"] <= 1


def test_corrected_labels_are_measured_again(config, streets, examples):
    settings = replace(config, parts=("calibration", "failures"))
    make_card(settings)
    before = json.loads((config.out / "card.json").read_text())
    for path in (streets / "val" / "labels" / "0.png", examples / "0.png"):
        label = np.array(Image.open(path))
        label[:30] = 5
        Image.fromarray(label).save(path)
    make_card(settings)
    after = json.loads((config.out / "card.json").read_text())
    assert before["calibration"] != after["calibration"] and before["failures"] != after["failures"]


def test_the_worst_frames_are_those_of_lowest_score(config):
    model = load_model(config.chosen_preset(), config.weights, ("vfm", "fused"))
    data, names = failures.open_streets(config.examples)
    assert names == [(f"Street {i}", c) for i in (0, 1) for c in ("clear", "fog")] + [("Street 2", "clear")]
    hardware = choose_hardware("cpu", "float32", 0)
    frames = failures.score_streets(model, ("vfm", "fused"), data, names, hardware)
    chosen = failures.worst_frames(frames, 2)
    assert len({frame.title for frame in chosen}) == 2
    assert chosen[0].miou["fused"] == min(frame.miou["fused"] for frame in frames)
    sheet = np.asarray(Image.open(io.BytesIO(failures.failure_sheet(model, data, chosen, hardware, 200))))
    assert sheet.shape[1] > 4 * 200, "picture, truth and two masks"


def test_one_frame_of_a_street_at_most():
    scores = [("a", 0.1), ("a", 0.2), ("b", 0.4), ("c", 0.3)]
    frames = [Frame(i, title, "clear", {"fused": score}, {}) for i, (title, score) in enumerate(scores)]
    assert [frame.index for frame in failures.worst_frames(frames, 3)] == [0, 3, 2]
    assert [frame.index for frame in failures.worst_frames(frames, 9)] == [0, 3, 2]


def test_a_sheet_that_does_not_fit_is_refused(config, monkeypatch):
    monkeypatch.setattr(failures, "LARGEST", 1000)
    with pytest.raises(ValueError, match="does not fit into 1 KB: lower --worst"):
        make_card(replace(config, parts=("failures",)))


def report(*values: float) -> dict:
    return {
        "streams": {
            s: {"miou": v, "iou": {"road": 2 * v, "pole": None}}
            for s, v in zip(("vfm", "vlm", "fused"), values, strict=True)
        }
    }


def test_tables():
    reports = {"clear": report(40, 45, 50), "fog": report(20, 30, 29)}
    assert card_tables.class_table(reports, "vlm").splitlines() == [
        "| VLM only | clear | fog |",
        "| --- | ---: | ---: |",
        "| road | 90.0 | 60.0 |",
        "| pole | - | - |",
        "| **mean** | **45.0** | **30.0** |",
    ]
    assert card_tables.mean_table(reports).splitlines()[2:] == [
        "| clear | 40.0 | 45.0 | 50.0 | +5.0 |",
        "| fog | 20.0 | 30.0 | 29.0 | -1.0 |",
    ]
    frame = Frame(0, "Old town", "night", {"vfm": 0.1, "fused": 0.256}, {"vfm": "sky", "fused": "person"})
    assert card_tables.failure_table([frame]).splitlines()[2] == "| Old town | night | 10.0 | 25.6 | person |"


def test_retention_is_the_share_of_the_clear_score():
    line = {str(s): {"vfm": 0.4 - 0.05 * s, "vlm": 0.0, "fused": 0.5} for s in range(1, 6)}
    night = {str(s): {"vfm": 0.1, "vlm": 0.0, "fused": 0.25} for s in range(1, 6)}
    swept = {**report(40, 0, 50), "sweep": {"fog": line, "night": night}}
    found = card_tables.retention(swept)
    assert found["fused"] == pytest.approx({0: 1, **dict.fromkeys(range(1, 6), 0.75)})
    assert found["vfm"][1] == pytest.approx((0.35 + 0.1) / 2 / 0.4) and np.isnan(found["vlm"][3])
    rows = card_tables.retention_table(swept).splitlines()[2:]
    assert len(rows) == 9 and rows[2] == "| mean | MFuser | 75.0 | 75.0 | 75.0 | 75.0 | 75.0 |"
    assert rows[3].startswith("| fog | VFM only | 87.5 | 75.0 |") and "| - |" in rows[1]


def test_bad_input_is_one_sentence(config, streets, tmp_path, capsys):
    own = ["--preset", "tiny", "--weights", str(config.weights), "--out", str(tmp_path / "x"), "--device", "cpu"]
    for arguments, message in (
        ([], "No data to measure on: pass --data"),
        (["--data", f"camvid:{streets}/val", "--conditions", "hail"], "hail"),
        (["--parts", "failures", "--examples", str(tmp_path / "none")], "name the folder of example streets"),
        (["--parts", "failures", "--worst", "0"], "--worst must be above 0"),
        (["--data", "camvid:/nowhere"], "There is no folder /nowhere"),
    ):
        assert main(["card", *own, *arguments]) == 2
        err = capsys.readouterr().err
        assert message in err and len(err.strip().splitlines()) == 1
