"""`python -m train evaluate`: what it writes, continues, and refuses. Scores: test_scoring; weights: test_weights."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mfuser import images
from mfuser.loading import MFuser
from mfuser.weights import tensors
from train.__main__ import main
from train.data import SegmentationData, open_dataset
from train.metrics import scoring
from train.metrics.scoring import CountStore, evaluate
from train.runtime.hardware import Hardware
from train.runtime.weights import load_model
from train.score import command as evaluation

CPU = Hardware(torch.device("cpu"), "float32")
ROOT = Path(__file__).resolve().parents[3]


def command(trained: Path, *more: str) -> list[str]:
    start = ["evaluate", "--preset", "tiny", "--checkpoint", str(trained), "--streams", "vlm", "fused"]
    return [*start, "--device", "cpu", "--workers", "0", *more]


def test_command_writes_json(streets, tiny_run, tiny_model, capsys):
    for stream in ("vfm", "fused"):
        tensors.save(tiny_run / f"stream-{stream}.safetensors", tiny_model.state_for(stream))
    target = tiny_run / "scores.json"
    arguments = ["evaluate", "--preset", "tiny", "--weights", str(tiny_run), "--streams", "vfm", "fused"]
    more = ["--data", f"camvid:{streets}", "--json", str(target), "--device", "cpu", "--workers", "0"]
    assert main([*arguments, *more]) == 0
    report = json.loads(target.read_text())
    assert report["space"] == "common" and report["images"] == 3 and set(report["streams"]) == {"vfm", "fused"}
    assert f"{report['streams']['fused']['miou']:.1f}" in capsys.readouterr().out.splitlines()[-1]
    assert main([*arguments[:-1], "vlm", *more]) == 2
    assert "No weights at" in capsys.readouterr().err


def test_several_sets_files_and_pictures(streets, trained, tmp_path, capsys):
    out = tmp_path / "scores"
    more = ["--data", f"camvid:{streets}", f"{streets}/val", "--out", str(out), "--sweep", "fog"]
    assert main(command(trained, *more)) == 0
    one, two = json.loads((out / "scores.json").read_text())
    assert (one["data"], one["space"], two["space"]) == ("camvid:streets/val", "common", "cityscapes")
    assert set(one["sweep"]["fog"]) == {"1", "2", "3", "4", "5"}
    rows = list(csv.DictReader((out / "scores.csv").open()))
    mean = next(r for r in rows if r["data"] == two["data"] and r["stream"] == "vlm" and r["class"] == "mean")
    assert float(mean["iou"]) == two["streams"]["vlm"]["miou"]
    assert sum(r["condition"] == "fog" for r in rows) == 2 * 2 * 5
    for name in ("confusion-camvid-streets-val-fused.png", "retention-camvid-streets-val-fog.png"):
        assert np.asarray(Image.open(out / name)).std() > 5
    assert "% of clear mIoU at severity 1 to 5" in capsys.readouterr().out


def test_sets_that_are_called_alike_keep_their_own_scores(streets, trained, tmp_path):
    for name, kept in (("A", 3), ("B", 2)):
        for kind in ("images", "labels"):
            (tmp_path / name / "val" / kind).mkdir(parents=True)
            for i in range(kept):
                shutil.copy(streets / "val" / kind / f"{i}.png", tmp_path / name / "val" / kind / f"{i}.png")
    specs = [f"camvid:{tmp_path}/{name}/val" for name in ("A", "B", "A")]
    out = tmp_path / "scores"
    assert main(command(trained, "--data", *specs, str(streets / "val"), "--out", str(out))) == 0
    reports = json.loads((out / "scores.json").read_text())
    names = ["camvid:A/val", "camvid:B/val", "camvid:A/val (2)", "folder:val"]
    assert [(r["data"], r["images"]) for r in reports] == list(zip(names, (3, 2, 3, 3), strict=True))
    rows = list(csv.DictReader((out / "scores.csv").open()))
    assert len({(r["data"], r["stream"], r["class"]) for r in rows}) == len(rows)
    assert len(list(out.glob("confusion-*-fused.png"))) == 4


def test_an_evaluation_continues_where_it_was_cut_off(streets, trained, tmp_path, monkeypatch):
    out = tmp_path / "scores"
    more = ["--data", f"camvid:{streets}", "--out", str(out), "--batch", "1"]
    assert main(command(trained, *more)) == 0
    whole = json.loads((out / "scores.json").read_text())
    (store,) = (out / "images").iterdir()
    lines = store.read_text().splitlines(keepends=True)
    store.write_text(lines[0] + lines[1][:40])  # killed while it wrote the second image
    seen, plain = [], scoring.semantic_scores
    monkeypatch.setattr(scoring, "semantic_scores", lambda *a: seen.append(1) or plain(*a))
    assert main(command(trained, *more)) == 0
    assert len(seen) == 2 and json.loads((out / "scores.json").read_text()) == whole
    assert main(command(trained, *more)) == 0 and len(seen) == 2
    assert main(command(trained, *more, "--weather", "fog")) == 0 and len(seen) == 5  # other settings, other counts


def test_a_corrected_label_is_scored_again(streets, trained, tmp_path):
    out = tmp_path / "scores"
    more = ["--data", f"camvid:{streets}", "--out", str(out), "--batch", "1"]
    assert main(command(trained, *more)) == 0
    before = json.loads((out / "scores.json").read_text())[0]
    path = streets / "val" / "labels" / "1.png"
    label = np.array(Image.open(path))
    label[:24] = 5
    Image.fromarray(label).save(path)
    assert main(command(trained, *more)) == 0
    after = json.loads((out / "scores.json").read_text())[0]
    iou = [r["streams"]["fused"]["iou"]["pole"] for r in (before, after)]
    assert iou[1] is not None and after != before and iou[0] != iou[1]


def test_sets_may_follow_one_another_or_repeat_the_option(streets, trained, tmp_path):
    one, two = f"camvid:{streets}", str(streets / "val")
    for words in (
        ["--data", one, two],
        ["--data", one, "--limit", "1", "--data", two],
        [f"--data={one}", "--data", two],
    ):
        out = tmp_path / "scores.json"
        assert main(command(trained, *words, "--limit", "1", "--json", str(out))) == 0
        assert [r["data"] for r in json.loads(out.read_text())] == ["camvid:streets/val", "folder:val"]


def test_encoders_are_prepared_for_inference_and_score_the_same(streets, trained, tmp_path, tiny_preset, monkeypatch):
    prepared, plain = [], MFuser.for_inference
    monkeypatch.setattr(MFuser, "for_inference", lambda self: prepared.append(1) or plain(self))
    out = tmp_path / "scores"
    assert main(command(trained, "--data", f"camvid:{streets}", "--out", str(out))) == 0 and prepared
    found = CountStore(out / "images", next((out / "images").iterdir()).name.split(".")[0]).read()
    model = load_model(tiny_preset, trained, ("vlm", "fused"))
    expected = evaluate(model, ("vlm", "fused"), open_dataset(f"camvid:{streets}", "val"), "common", CPU)
    for stream, matrix in expected.items():
        counts = sum(image[stream] for image in found.values())
        assert np.abs(counts[:, :-1] - matrix.counts).sum() <= 0.002 * matrix.counts.sum()  # ties may fall either way


def test_scores_by_condition(streets, trained, tmp_path):
    root = tmp_path / "acdc"
    for i, condition in enumerate(("fog", "night", "night")):
        for kind, folder, end in (("images", "rgb_anon", "_rgb_anon.png"), ("labels", "gt", "_gt_labelTrainIds.png")):
            target = root / folder / condition / "val" / "drive" / f"{i}{end}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(streets / "val" / kind / f"{i}.png", target)
    target = tmp_path / "scores.json"
    assert main(command(trained, "--data", f"acdc:{root}", "--json", str(target))) == 0
    report = json.loads(target.read_text())
    assert set(report["conditions"]) == {"fog", "night"} and report["images"] == 3
    night = tmp_path / "night.json"
    assert main(command(trained, "--data", f"acdc-night:{root}", "--json", str(night))) == 0
    assert json.loads(night.read_text())["streams"] == report["conditions"]["night"]


def test_an_image_that_becomes_unreadable_is_left_out_and_told(streets, trained, tmp_path, capsys, monkeypatch):
    plain = SegmentationData.image
    monkeypatch.setattr(SegmentationData, "image", lambda self, i: images.load(b"") if i == 1 else plain(self, i))
    target = tmp_path / "scores.json"
    assert main(command(trained, "--data", f"camvid:{streets}", "--json", str(target))) == 0
    report = json.loads(target.read_text())
    assert report["images"] == 2 and len(report["unreadable"]) == 1
    assert "left out: " in capsys.readouterr().out


def test_bfloat16_runs_as_the_segmenter_runs_it(streets, trained, monkeypatch):
    asked, plain = [], evaluation.lower
    monkeypatch.setattr(evaluation, "lower", lambda *a: asked.append(a[1:]) or plain(*a))
    for precision in ("float32", "bf16"):
        assert main(command(trained, "--data", f"camvid:{streets}", "--limit", "1", "--precision", precision)) == 0
    assert asked == [(torch.device("cpu"), torch.bfloat16)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command"),
        (["fly"], "unknown command 'fly'"),
        (["fit"], "No data to train on"),
        (["fit", "--data", "camvid:/nowhere", "--encoders", "/nowhere", "--out", "OUT"], "No encoders"),
        (["evaluate"], "No data to evaluate on"),
        (["evaluate", "--data", "martian:x"], "Unknown dataset 'martian'"),
        (["evaluate", "--data", "camvid:/nowhere"], "There is no folder /nowhere"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, tmp_path, capsys):
    assert main([str(tmp_path / "out") if a == "OUT" else a for a in arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err and len(err.strip().splitlines()) <= 2


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_is_one_sentence(streets, trained, tmp_path, monkeypatch, capsys, kept):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scoring, "semantic_scores", stop)
    out = ["--out", str(tmp_path / "out")] if kept else []
    with pytest.raises(SystemExit) as ended:
        main(command(trained, "--data", f"camvid:{streets}", *out))
    said = capsys.readouterr().err
    said = said.replace("\r", "\n").splitlines()[-1]  # the bar is gone
    way = "the same command continues" if kept else "with --out the same command would continue"
    assert ended.value.code == 130 and said == f"evaluate: stopped; {way}."
    monkeypatch.setattr("importlib.import_module", stop)  # while a command is being loaded
    assert main(["evaluate"]) == 130 and capsys.readouterr().err == "evaluate: stopped.\n"


def test_help_needs_no_data():
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-m", "train", "--help"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "pretrain" in done.stdout
