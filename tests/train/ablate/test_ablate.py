"""Ablation: rows trained alike in processes, continued, and set beside the paper's numbers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train.__main__ import main
from train.ablate import command, curves, launch
from train.ablate import table as table_module
from train.ablate.command import AblateConfig, settings
from train.ablate.curves import ablation_picture
from train.ablate.table import TABLE4, edges, table
from train.fit.command import fit
from train.runtime.interrupt import Interrupt

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "tiny_command.py"))


def here(run, *_) -> None:
    """In place of a process."""
    assert fit(run, Interrupt())


def config(streets, out, **changes) -> AblateConfig:
    small = {"rows": ("vlm", "mvfuser"), "iterations": 2, "batch": 2, "crop": 64, "points": 64, "device": "cpu"}
    return AblateConfig(
        **{"data": (f"camvid:{streets}",), "preset": "tiny", "out": out, "encoders": out.parent / "run", "workers": 0}
        | small
        | changes
    )


def test_rows_in_processes_and_their_table(streets, tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launch, "LAUNCH", COMMAND)
    out = tmp_path / "ablation"
    report = command.ablate(config(streets, out, parallel=2), "the command")
    assert list(report["rows"]) == ["vlm", "mvfuser"] and report["command"] == "the command"
    written = json.loads((out / "table.json").read_text())
    assert written["rows"]["vlm"]["miou"] == report["rows"]["vlm"]["miou"]
    assert written["rows"]["mvfuser"]["trained"] > written["rows"]["vlm"]["trained"] > 0
    text = (out / "table.md").read_text()
    assert "| VLM only |" in text and "66.15 |" in text and "2 steps of 2 crops of 64 pixels" in text
    assert text.strip() in capsys.readouterr().out
    monkeypatch.setattr(launch, "LAUNCH", ("/nowhere",))  # nothing is left to train
    assert command.ablate(config(streets, out), "")["rows"] == report["rows"]


def test_the_best_rate_of_short_runs_trains_a_row(streets, tiny_run, tmp_path, monkeypatch):
    trained = []

    def noted(run, *_):
        trained.append((run.out.name, run.lr, run.iterations))
        assert fit(run, Interrupt())

    monkeypatch.setattr(launch, "train_one", noted)
    scores = {"tune-vlm-0.0001": 1.0, "tune-vlm-0.01": 2.0}
    monkeypatch.setattr(command, "mean_score", lambda run: scores[run.out.name])
    changes = {"rows": ("vlm",), "lrs": (1e-4, 1e-2), "tune_iterations": 1}
    report = command.ablate(config(streets, tmp_path / "ablation", **changes))
    assert trained == [("tune-vlm-0.0001", 1e-4, 1), ("tune-vlm-0.01", 1e-2, 1), ("vlm", 1e-2, 2)]
    assert report["rows"]["vlm"]["lr"] == 1e-2 and report["tried"] == {"vlm": [1.0, 2.0]}
    last = (tmp_path / "ablation" / "table.md").read_text().strip().splitlines()[-1]
    assert "the highest was the best for VLM only: rates beyond" in last


def test_rates_at_the_end_of_those_tried_are_told():
    rows = {"vfm": 2e-4, "vlm": 8e-4, "concat": 4e-4, "mvfuser": 8e-4}
    report = {"lrs": [4e-4, 2e-4, 8e-4], "rows": {n: {"title": TABLE4[n].title, "lr": lr} for n, lr in rows.items()}}
    assert edges(report) == (
        "Of the learning rates tried the highest was the best for VLM only, MVFuser (shared), and the lowest was the "
        "best for VFM only: rates beyond may be better still."
    )
    assert edges({**report, "rows": {"concat": report["rows"]["concat"]}}) == ""
    assert edges({"lrs": [2e-4], "rows": {"vfm": report["rows"]["vfm"]}}) == ""


def test_rates_are_chosen_by_photographs_that_taught_nothing(streets, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "train_one", here)
    changes = {"rows": ("vlm",), "lrs": (1e-4, 1e-3), "tune_iterations": 1, "tune_holdout": 3}
    given = config(streets, tmp_path / "ablation", val=(f"camvid:{streets}/val",), **changes)
    assert settings(given, "vlm", 1e-4, 1).holdout == 0 and settings(given, "vlm", 1e-4, 1).val == given.val
    report = command.ablate(given)
    assert list(report["rows"]["vlm"]["miou"]) == ["camvid:val"]
    for lr in ("0.0001", "0.001"):
        assert [*table_module.last_scores(settings(given, "vlm", float(lr), 1, tune=True))] == [
            "camvid:streets/train, held out"
        ]
    monkeypatch.setattr(launch, "train_one", None)  # nothing is left to train
    assert command.ablate(given)["tried"] == report["tried"]
    with pytest.raises(ValueError, match="it was trained with holdout = 3, not 2"):
        command.ablate(replace(given, tune_holdout=2))


def test_scores_are_followed_and_drawn(streets, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "train_one", here)
    given = config(streets, tmp_path / "ablation", rows=("vlm",), seeds=(1, 2), eval_every=1)
    assert settings(given, "vlm", 1e-4, 1, tune=True).eval_every == 0
    command.ablate(given)
    drawn = {}
    monkeypatch.setattr(curves, "run_curves", drawn.update)
    ablation_picture({"vlm": [settings(given, "vlm", 4e-4, 1, seed=s) for s in given.seeds]})
    assert list(drawn) == ["mIoU on camvid:streets/val (%)", "training loss, smoothed"]
    (line,) = drawn["mIoU on camvid:streets/val (%)"]
    assert line.title == "VLM only" and [list(run) for run in line.runs] == [[1, 2], [1, 2]]
    ends = [table_module.last_scores(settings(given, "vlm", 4e-4, 1, seed=s)) for s in given.seeds]
    assert [run[2] for run in line.runs] == [end["camvid:streets/val"] for end in ends]
    assert Image.open(tmp_path / "ablation" / "curves.png").size[0] == 900


def test_one_evaluation_gives_the_curve_of_the_loss_alone(streets, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "train_one", here)
    drawn = {}

    def draw(panels):
        drawn.update(panels)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(curves, "run_curves", draw)
    command.ablate(config(streets, tmp_path / "ablation", rows=("vlm",)))
    assert list(drawn) == ["training loss, smoothed"]


def test_rows_differ_in_nothing_but_stream_and_fusion(streets, tmp_path, tiny_run):
    given = config(streets, tmp_path / "ablation", rows=("table4",))
    assert given.chosen() == list(TABLE4)
    runs = [settings(given, name, 4e-4, parallel=1) for name in given.chosen()]
    assert len({replace(run, out=Path(), fusion="", streams=("all",)) for run in runs}) == 1
    assert [run.streams[0] for run in runs] == ["vfm", "vlm"] + 5 * ["fused"]
    assert len({(run.streams, run.fusion) for run in runs}) == 7
    assert all(round(sum(row.paper[:3]) / 3, 1) == pytest.approx(row.paper[3], abs=0.15) for row in TABLE4.values())


def test_seeds_give_means_and_deviations(streets, tiny_run, tmp_path, monkeypatch):
    seeds = []

    def noted(run, *_):
        seeds.append((run.out.name, run.seed))
        assert fit(run, Interrupt())

    monkeypatch.setattr(launch, "train_one", noted)
    monkeypatch.setattr(table_module, "last_scores", lambda run: {"val": {1: 40.0, 2: 44.0}[run.seed]})
    report = command.ablate(config(streets, tmp_path / "ablation", rows=("vlm",), seeds=(1, 2)))
    assert seeds == [("vlm-seed1", 1), ("vlm-seed2", 2)]
    assert report["rows"]["vlm"]["miou"] == {"val": 42.0} and report["rows"]["vlm"]["each"][1] == {"val": 44.0}
    assert report["rows"]["vlm"]["deviation"]["val"] == pytest.approx(8**0.5)
    assert "**42.00** ± 2.83" in table(report) and "seeds 1, 2" in table(report)


def test_faults_are_named(capsys):
    assert main(["ablate"]) == 2 and "No data to train on" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--lrs needs one learning rate"):
        AblateConfig(lrs=())
    with pytest.raises(ValueError, match="--seeds needs one seed"):
        AblateConfig(seeds=(1, 1))
    with pytest.raises(ValueError, match="--eval-every must not be negative"):
        AblateConfig(eval_every=-1)
    for apart in (-0.5, 1.5, float("nan")):
        with pytest.raises(ValueError, match="--apart must lie between 0 and 1, or be -1"):
            AblateConfig(apart=apart)
    with pytest.raises(ValueError, match="--tune-holdout must be 2 or more"):
        AblateConfig(tune_holdout=1)
    with pytest.raises(ValueError, match="--tune-holdout and --tune-val contradict"):
        AblateConfig(tune_holdout=4, tune_val=("a",))


@pytest.mark.parametrize("name", [name for name, row in TABLE4.items() if row.stream == "fused"])
def test_every_fusion_can_be_trained(name, streets, tiny_run, tmp_path):
    run = replace(settings(config(streets, tmp_path / "ablation"), name, 1e-3, parallel=1), eval_limit=1)
    assert fit(run, Interrupt())
    score = table_module.last_scores(run)
    assert 0 <= score["camvid:streets/val"] <= 100
    assert (table_module.trained_parameters(run) > 0) and main(
        [
            "evaluate",
            "--preset",
            "tiny",
            "--fusion",
            TABLE4[name].fusion,
            "--weights",
            str(run.out),
            "--streams",
            "fused",
        ]
        + ["--data", f"camvid:{streets}", "--device", "cpu", "--workers", "0"]
    ) == 0
