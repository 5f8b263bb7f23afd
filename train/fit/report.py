"""The report of a finished run: curves, scores by class, settings; one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mfuser.writing import write_text
from train.fit.run_files import read_log
from train.fit.running_means import by_kind
from train.fit.training_curves import curves

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color:#1f2937}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;border-bottom:1px solid #d8dce2;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%;margin:.5rem 0}h2{margin-top:2rem}"""


def write_report(folder: Path, streams: Sequence[str], settings: Mapping[str, Any]) -> Path:
    """Write `report.html` about the logs of a folder.

    Args:
        folder: of the run.
        streams: the streams that the run trained.
        settings: name and value, for the table at the end.

    Returns:
        The path of the report.
    """
    logs = {stream: read_log(folder / f"stream-{stream}.jsonl") for stream in streams}
    scores = {s: r["evaluation"] for s, log in logs.items() for r in log if "evaluation" in r}  # the last one stays
    parts = ["<h1>Training report</h1>"]
    for name in dict.fromkeys(name for own in scores.values() for name in own):
        by_stream = {stream: own[name] for stream, own in scores.items() if name in own}
        parts += [f"<h2>{html.escape(name)}</h2>", score_table(by_stream)]
    for stream, log in logs.items():
        parts += _stream_section(stream, log, folder / f"stream-{stream}.png")
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>" for k, v in settings.items())
    parts.append(f"<h2>Settings</h2><table>{rows}</table>")
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Training report</title><style>{STYLE}</style>'
    write_text(folder / "report.html", page + "\n".join(parts) + "</html>")
    return folder / "report.html"


def _stream_section(stream: str, log: Sequence[Mapping[str, Any]], panel: Path) -> Iterator[str]:
    """Speed, curves and the last pictures of a stream, as HTML; nothing for a stream without steps."""
    steps = [record for record in log if "loss" in record]
    if not steps:
        return
    last = steps[-1]
    speed = f"{last['images_per_s']:.1f} images a second; {100 * last['waiting']:.1f} % of the time waited for data"
    yield f"<h2>{stream}</h2><p>{last['step']} steps; at the end {speed}.</p>"
    kinds: dict[str, dict[int, float]] = {}
    for record in steps:
        for kind, value in by_kind(record["terms"]).items():
            kinds.setdefault(kind, {})[record["step"]] = value
    yield _picture(curves(kinds, "loss terms"), f"Loss terms of {stream} over the steps")
    yield _picture(curves({"": {r["step"]: r["lr"] for r in steps}}, "learning rate"), "Learning rate")
    if history := score_history(log):
        yield _picture(curves(history, "mIoU (%)"), f"mIoU of {stream} over the steps")
    if panel.is_file():
        yield "<p>Input, ground truth, prediction, score map of the last picture:</p>"
        yield _picture(np.asarray(Image.open(panel).convert("RGB")), "Input, truth, prediction, score map")


def score_history(log: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    """mIoU in per cent over the steps, {set: {step: mIoU}}."""
    found: dict[str, dict[int, float]] = {}
    for record in log:
        for name, value in record.get("evaluation", {}).items():
            found.setdefault(name, {})[record["step"]] = value["miou"]
    return found


def score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of IoU by class as HTML, one column for each stream.

    Args:
        scores: {stream: {"iou": {class: per cent or None}, "miou": per cent}} of one set.
    """
    head = "".join(f"<th>{stream}</th>" for stream in scores)
    lines = [f"<tr><th>IoU (%)</th>{head}</tr>"]
    for name in next(iter(scores.values()))["iou"]:
        values = [s["iou"].get(name) for s in scores.values()]
        cells = "".join(f"<td>{'-' if v is None else f'{v:.1f}'}</td>" for v in values)
        lines.append(f"<tr><td>{html.escape(name)}</td>{cells}</tr>")
    means = "".join(f"<td><b>{s['miou']:.2f}</b></td>" for s in scores.values())
    return f"<table>{''.join(lines)}<tr><td><b>mean</b></td>{means}</tr></table>"


def _picture(array: np.ndarray, alt: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", optimize=True)
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
