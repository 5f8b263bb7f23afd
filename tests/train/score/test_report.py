"""How scores are shown and written."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from train.data import open_dataset
from train.metrics.confusion import ConfusionMatrix, summary
from train.metrics.scoring import evaluate
from train.runtime.hardware import Hardware
from train.score.report import table, write_scores

CPU = Hardware(torch.device("cpu"), "float32")


def test_table_and_summary(streets, seeing):
    matrices = evaluate(seeing, ("vfm", "fused"), open_dataset(f"camvid:{streets}", "val"), "common", CPU)
    lines = table(matrices).splitlines()
    assert lines[0].split()[-2:] == ["vfm", "fused"] and len(lines) == 13
    assert lines[4].split() == ["fence", "-", "-"]
    scores = summary(matrices)["fused"]
    seen = [v for v in scores["iou"].values() if v is not None]
    assert len(seen) == 3 and scores["miou"] == pytest.approx(np.mean(seen), abs=2e-3)


def test_one_report_is_written_as_itself_and_several_as_a_list(tmp_path):
    matrix = ConfusionMatrix(("road", "sky"))
    matrix.update(np.array([[0, 0, 1]], np.uint8), np.array([[0, 1, 1]], np.uint8))
    report = {"data": "camvid:val", "streams": summary({"fused": matrix})}
    report["sweep"] = {"fog": {"2": {"fused": 0.25}}}
    for reports, expected in (([report], report), ([report, report], [report, report])):
        write_scores(tmp_path, tmp_path / "file.json", reports)
        assert json.loads((tmp_path / "file.json").read_text()) == expected
        assert json.loads((tmp_path / "scores.json").read_text()) == reports
    rows = [tuple(row.values()) for row in csv.DictReader((tmp_path / "scores.csv").open())]
    assert rows[:3] == [("camvid:val", "", "", "fused", c, "50.0") for c in ("road", "sky", "mean")]
    assert rows[3] == ("camvid:val", "fog", "2", "fused", "mean", "25.0")
    assert not list(tmp_path.glob("*.part"))
