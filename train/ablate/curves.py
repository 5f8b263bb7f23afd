"""Curves of an ablation over the steps: mIoU on every set, and the training loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mfuser.pictures.charts import STREAM_COLOURS
from train.ablate.table import TABLE4, records
from train.fit.config import FitConfig
from train.fit.training_curves import Line, run_curves, smoothed

# Those of the three streams where they are rows, so that figures agree; the others told apart by the colour-blind too.
COLOURS = {
    "vfm": STREAM_COLOURS[False]["vfm"],
    "vlm": STREAM_COLOURS[False]["vlm"],
    "concat": "#8c8c8c",
    "convolution": "#CC79A7",
    "tokens": "#8A7A00",
    "separate": "#56B4E9",
    "mvfuser": STREAM_COLOURS[False]["fused"],
}


def ablation_picture(runs: Mapping[str, Sequence[FitConfig]]) -> np.ndarray:
    """A panel for each set that was scored more often than once, and one of the loss, (H, 900, 3) uint8.

    runs: the finished runs of each row of `TABLE4`, one for each seed.
    """
    scores = {name: [_scores(records(run, "evaluation")) for run in own] for name, own in runs.items()}
    losses = {name: [{r["step"]: r["loss"] for r in records(run, "loss")} for run in own] for name, own in runs.items()}
    panels = {}
    for dataset in dict.fromkeys(d for own in scores.values() for one in own for d in one):
        lines = _lines({name: [one.get(dataset, {}) for one in own] for name, own in scores.items()})
        if any(len(run) > 1 for line in lines for run in line.runs):
            panels[f"mIoU on {dataset} (%)"] = lines
    panels["training loss, smoothed"] = _lines({name: [*map(smoothed, own)] for name, own in losses.items()})
    return run_curves(panels)


def _scores(log: Sequence[Mapping]) -> dict[str, dict[int, float]]:
    """{set: {step: mIoU in per cent}}."""
    found: dict[str, dict[int, float]] = {}
    for record in log:
        for name, value in record["evaluation"].items():
            found.setdefault(name, {})[record["step"]] = value["miou"]
    return found


def _lines(series: Mapping[str, Sequence[Mapping[int, float]]]) -> list[Line]:
    return [Line(TABLE4[name].title, COLOURS[name], own) for name, own in series.items() if any(own)]
