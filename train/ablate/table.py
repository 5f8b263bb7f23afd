"""The table of an ablation: the rows of the paper's Table 4, what their runs came to, and Markdown of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from train.fit.config import FitConfig
from train.fit.report import read_log
from train.fit.run_files import RunFiles
from train.runtime.markdown import number_table


@dataclass(frozen=True)
class Row:
    """A choice: its name in the paper, and the stream and the fusion that make it.

    paper: mIoU (%) of DINOv2-L and EVA02-L, from GTA V to Cityscapes, BDD100K, Mapillary, and their mean.
    """

    title: str
    stream: str
    fusion: str
    paper: tuple[float, float, float, float]


TABLE4: dict[str, Row] = {
    "vfm": Row("VFM only", "vfm", "", (67.68, 60.82, 66.89, 65.13)),
    "vlm": Row("VLM only", "vlm", "", (68.26, 60.02, 70.18, 66.15)),
    "concat": Row("plain concatenation, no adapter", "fused", "concat", (66.96, 58.88, 68.25, 64.70)),
    "convolution": Row("convolution adapter", "fused", "convolution", (69.28, 61.45, 69.78, 66.83)),
    "tokens": Row("cross-attention to learnable tokens", "fused", "learnable-tokens", (69.67, 60.52, 70.43, 66.87)),
    "separate": Row("separate MVFuser per encoder", "fused", "separate", (69.57, 62.88, 70.59, 67.68)),
    "mvfuser": Row("MVFuser (shared)", "fused", "mvfuser", (70.19, 63.13, 71.28, 68.20)),
}
FIVE = ("vfm", "vlm", "concat", "separate", "mvfuser")


def records(run: FitConfig, kind: str) -> list[dict[str, Any]]:
    """The lines of a run's log that have an entry: "loss" or "evaluation"."""
    return [record for record in read_log(RunFiles(run.out, run.streams[0]).log) if kind in record]


def last_scores(run: FitConfig) -> dict[str, float]:
    """{set: mIoU in per cent} at the end of a run. Raises ValueError when it was never evaluated."""
    if not (found := records(run, "evaluation")):
        raise ValueError(f"The run in {run.out} was not evaluated: pass --val, a set with labels.")
    return {name: scores["miou"] for name, scores in found[-1]["evaluation"].items()}


def mean_score(run: FitConfig) -> float:
    """Mean mIoU over the sets at the end of a run, in per cent."""
    return statistics.mean(last_scores(run).values())


def row_result(row: Row, runs: Sequence[FitConfig]) -> dict[str, Any]:
    """What the table says about a row: means over its seeds, and the standard deviation of a sample of them."""
    every, steps = [last_scores(run) for run in runs], [records(run, "loss")[-1] for run in runs]
    scores = {name: [one[name] for one in every] for name in every[0]}
    return {
        "title": row.title,
        "miou": {name: statistics.mean(own) for name, own in scores.items()},
        "deviation": {name: statistics.stdev(own) if len(own) > 1 else 0.0 for name, own in scores.items()},
        "each": every,
        "lr": runs[0].lr,
        "trained": trained_parameters(runs[0]),
        "loss": round(statistics.mean(step["loss"] for step in steps), 3),
        "images_per_s": round(statistics.mean(step["images_per_s"] for step in steps), 2),
        "paper": row.paper,
    }


def trained_parameters(run: FitConfig) -> int:
    """Numbers that were trained, counted in the row's file (its buffers are few)."""
    from safetensors import safe_open

    with safe_open(RunFiles(run.out, run.streams[0]).weights, "pt") as file:
        slices = (file.get_slice(name).get_shape() for name in file.keys())
        return sum(int(torch.Size(shape).numel()) for shape in slices)


def earlier_minutes(path: Path) -> float:
    """What a table that is made anew had taken before."""
    return json.loads(path.read_text())["minutes"] if path.is_file() else 0.0


def table(report: dict[str, Any]) -> str:
    """Markdown: our mIoU on every set beside the paper's four numbers."""
    rows = list(report["rows"].values())
    sets, several = list(rows[0]["miou"]), len(report["seeds"]) > 1
    best = {name: max(row["miou"][name] for row in rows) for name in sets}
    lines = []
    for row in rows:
        ours = [f"**{row['miou'][s]:.2f}**" if row["miou"][s] == best[s] else f"{row['miou'][s]:.2f}" for s in sets]
        if several:
            ours = [f"{text} ± {row['deviation'][s]:.2f}" for text, s in zip(ours, sets, strict=True)]
        paper = [f"{value:.2f}" for value in row["paper"]]
        lines.append([row["title"], *ours, f"{row['lr']:g}", f"{row['trained'] / 1e6:.2f}", *paper])
    rendered = number_table(["", *sets, "learning rate", "trained (M)", "paper: C", "B", "M", "mean"], lines)
    said = f"{report['preset']}, {report['iterations']} steps of {report['batch']} crops of {report['crop']} pixels"
    seeds = ("seeds " if several else "seed ") + ", ".join(map(str, report["seeds"]))
    remarks = [f"{said}, {seeds}, {report['device']}, {report['minutes']} minutes.", edges(report)]
    return "\n\n".join([rendered, *filter(None, remarks)]) + "\n"


def edges(report: dict[str, Any]) -> str:
    """A sentence naming the rows whose best rate is the highest or the lowest that was tried; "" for none."""
    lrs = report["lrs"]
    if len(set(lrs)) < 2:
        return ""
    ends = {"highest": max(lrs), "lowest": min(lrs)}
    at = {end: [row["title"] for row in report["rows"].values() if row["lr"] == lr] for end, lr in ends.items()}
    said = [f"the {end} was the best for {', '.join(titles)}" for end, titles in at.items() if titles]
    return f"Of the learning rates tried {', and '.join(said)}: rates beyond may be better still." if said else ""
