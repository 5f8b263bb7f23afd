"""The report of a finished run: curves, scores by class, settings; one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from train.fit.charts import curves
from train.fit.log_window import by_kind

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color:#1f2937}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;border-bottom:1px solid #d8dce2;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%;margin:.5rem 0}h2{margin-top:2rem}"""


def write_report(folder: Path, streams: Sequence[str], settings: Mapping[str, Any]) -> Path:
    """Write `report.html` about the logs of a folder, beside and renamed. Returns its path."""
    logs = {stream: read_log(folder / f"stream-{stream}.jsonl") for stream in streams}
    parts = ["<h1>Training report</h1>"]
    scored = {s: log[-1]["evaluation"] for s, log in ((s, _evaluations(log)) for s, log in logs.items()) if log}
    for name in dict.fromkeys(name for scores in scored.values() for name in scores):
        parts.append(
            f"<h2>{html.escape(name)}</h2>" + score_table({s: v[name] for s, v in scored.items() if name in v})
        )
    for stream, log in logs.items():
        steps = [r for r in log if "loss" in r]
        if not steps:
            continue
        last = steps[-1]
        shown = f"{last['images_per_s']:.1f} images a second; {100 * last['waiting']:.1f} % of the time waited for data"
        parts.append(f"<h2>{stream}</h2><p>{last['step']} steps; at the end {shown}.</p>")
        terms = [(r["step"], by_kind(r["terms"])) for r in steps]
        kinds = {kind: {step: values[kind] for step, values in terms if kind in values} for kind in terms[-1][1]}
        parts.append(_picture(curves(kinds, "loss terms"), f"Loss terms of {stream} over the steps"))
        parts.append(_picture(curves({"": {r["step"]: r["lr"] for r in steps}}, "learning rate"), "Learning rate"))
        history = {
            name: {r["step"]: r["evaluation"][name]["miou"] for r in _evaluations(log) if name in r["evaluation"]}
            for name in (scored[stream] if stream in scored else ())
        }
        if history:
            parts.append(_picture(curves(history, "mIoU (%)"), f"mIoU of {stream} over the steps"))
        panel = folder / f"stream-{stream}.png"
        if panel.is_file():
            parts.append("<p>Input, ground truth, prediction, score map of the last picture:</p>")
            parts.append(_picture(np.asarray(Image.open(panel).convert("RGB")), "Input, truth, prediction, score map"))
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>" for k, v in settings.items())
    parts.append(f"<h2>Settings</h2><table>{rows}</table>")
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Training report</title><style>{STYLE}</style>'
    target, beside = folder / "report.html", folder / f"report.html.{os.getpid()}.part"  # streams may end together
    beside.write_text(page + "\n".join(parts) + "</html>\n")
    os.replace(beside, target)
    return target


def score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """IoU by class, one column for each stream."""
    head = "".join(f"<th>{stream}</th>" for stream in scores)
    lines = [f"<tr><th>IoU (%)</th>{head}</tr>"]
    for name in next(iter(scores.values()))["iou"]:
        values = [s["iou"].get(name) for s in scores.values()]
        cells = "".join(f"<td>{'-' if v is None else f'{v:.1f}'}</td>" for v in values)
        lines.append(f"<tr><td>{html.escape(name)}</td>{cells}</tr>")
    means = "".join(f"<td><b>{s['miou']:.2f}</b></td>" for s in scores.values())
    return f"<table>{''.join(lines)}<tr><td><b>mean</b></td>{means}</tr></table>"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a log; one that a kill cut short is left out."""
    records = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def _evaluations(log: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [record for record in log if "evaluation" in record]


def _picture(array: np.ndarray, alt: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", optimize=True)
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
