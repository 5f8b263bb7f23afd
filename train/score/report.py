"""What an evaluation says and leaves: tables on the screen, JSON, CSV, confusion matrices and curves."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mfuser.pictures.charts import retention_chart
from train.metrics.confusion import ConfusionMatrix
from train.score.charts import confusion_picture


def table(scores: Mapping[str, ConfusionMatrix]) -> str:
    """IoU in per cent, one row per class and one column per stream."""
    streams, names = list(scores), next(iter(scores.values())).names
    width = max(map(len, names)) + 2
    lines = ["IoU (%)".ljust(width) + "".join(s.rjust(8) for s in streams)]
    columns = [matrix.iou() * 100 for matrix in scores.values()]
    for row, name in enumerate(names):
        cells = ("-" if np.isnan(c[row]) else f"{c[row]:.1f}" for c in columns)
        lines.append(name.ljust(width) + "".join(cell.rjust(8) for cell in cells))
    lines.append("mean".ljust(width) + "".join(f"{100 * m.mean_iou():.1f}".rjust(8) for m in scores.values()))
    return "\n".join(lines)


def say(report: Mapping[str, Any], matrices: Mapping[str, ConfusionMatrix], several: bool) -> None:
    """Print one set's scores."""
    if several:
        print(f"\n{report['data']}: {report['images']} images")
    for fault in report.get("unreadable", ()):
        print(f"left out: {fault}")
    for name, scores in report.get("conditions", {}).items():
        print(f"{name}: " + ", ".join(f"{stream} {s['miou']:.1f}" for stream, s in scores.items()))
    for name, line in report.get("sweep", {}).items():
        clear = {stream: s["miou"] for stream, s in report["streams"].items()}
        kept = {s: [100 * 100 * v[s] / clear[s] if clear[s] else float("nan") for v in line.values()] for s in clear}
        print(f"{name}, % of clear mIoU at severity 1 to 5:")
        print("\n".join(f"  {stream:6}" + "".join(f"{v:7.1f}" for v in values) for stream, values in kept.items()))
    print(table(matrices))


def write_pictures(folder: Path, report: Mapping[str, Any], matrices: Mapping[str, ConfusionMatrix]) -> None:
    """Confusion matrices, and a curve for every condition of a sweep."""
    name = report["data"].replace(":", "-").replace("/", "-")
    for stream, matrix in matrices.items():
        Image.fromarray(confusion_picture(matrix, f"{stream}, {report['data']}")).save(
            folder / f"confusion-{name}-{stream}.png"
        )
    for condition, line in report.get("sweep", {}).items():
        series = {
            stream: {0: scores["miou"] / 100, **{int(severity): v[stream] for severity, v in line.items()}}
            for stream, scores in report["streams"].items()
        }
        chart = retention_chart(series, title=f"{condition}, {report['data']}")
        Image.fromarray(chart).save(folder / f"retention-{name}-{condition}.png")


def write_scores(folder: Path | None, file: Path | None, reports: Sequence[Mapping[str, Any]]) -> None:
    """JSON and CSV in a folder, and JSON in a file, which of a single set holds its report itself; all of it is written
    beside and renamed."""
    targets = {} if folder is None else {folder / "scores.json": list(reports)}
    if file is not None:
        targets[file] = reports[0] if len(reports) == 1 else list(reports)
    for path, content in targets.items():
        beside = path.with_name(path.name + ".part")
        beside.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(beside, path)
    if folder is not None:
        beside = folder / "scores.csv.part"
        with beside.open("w", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow(["data", "condition", "severity", "stream", "class", "iou"])
            for report in reports:
                writer.writerows(csv_rows(report))
        os.replace(beside, folder / "scores.csv")


def csv_rows(report: Mapping[str, Any]) -> list[list[Any]]:
    """(data, condition, severity, stream, class or "mean", IoU in per cent) of one set."""
    own = (report.get("weather", ""), report.get("severity", ""))
    blocks = [(*own, report["streams"]), *((name, "", s) for name, s in report.get("conditions", {}).items())]
    rows = []
    for condition, severity, streams in blocks:
        for stream, scores in streams.items():
            for name, value in (*scores["iou"].items(), ("mean", scores["miou"])):
                rows.append([report["data"], condition, severity, stream, name, "" if value is None else value])
    for condition, line in report.get("sweep", {}).items():
        for severity, streams in line.items():
            rows += [[report["data"], condition, severity, s, "mean", round(100 * v, 3)] for s, v in streams.items()]
    return rows
