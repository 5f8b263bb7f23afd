"""What an evaluation prints and leaves: tables on the screen, JSON, CSV, confusion matrices and curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mfuser import images
from mfuser.pictures.charts import retention_chart
from mfuser.writing import write_bytes, write_json
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


def print_scores(report: Mapping[str, Any], matrices: Mapping[str, ConfusionMatrix], several: bool) -> None:
    """Print one set's scores.

    Args:
        report: of the set, as of `train.score.command.run`.
        matrices: by stream.
        several: name the set.
    """
    if several:
        print(f"\n{report['data']}: {report['images']} images")
    for fault in report.get("unreadable", ()):
        print(f"left out: {fault}")
    for name, scores in report.get("conditions", {}).items():
        print(f"{name}: " + ", ".join(f"{stream} {s['miou']:.1f}" for stream, s in scores.items()))
    for name in report.get("sweep", {}):
        print(f"{name}, % of clear mIoU at severity 1 to 5:")
        for stream, kept in retention(report, [name]).items():
            print(f"  {stream:6}" + "".join(f"{100 * kept[severity]:7.1f}" for severity in range(1, 6)))
    print(table(matrices))


def retention(report: Mapping[str, Any], conditions: Sequence[str] | None = None) -> dict[str, dict[int, float]]:
    """Share of the clear mIoU that is kept in weather.

    Args:
        report: of a set, with a sweep.
        conditions: which conditions of the sweep; None for all.

    Returns:
        {stream: {severity: share, mean over the conditions}}; severity 0 is clear, 1.0. NaN for a stream that finds
        nothing in clear weather.
    """
    found = {}
    for stream, scores in report["streams"].items():
        clear = scores["miou"] / 100 or float("nan")
        lines = [report["sweep"][name] for name in conditions or report["sweep"]]
        kept = {n: sum(line[str(n)][stream] for line in lines) / len(lines) / clear for n in range(1, 6)}
        found[stream] = {0: 1.0, **kept}
    return found


def write_pictures(folder: Path, report: Mapping[str, Any], matrices: Mapping[str, ConfusionMatrix]) -> None:
    """Write a confusion matrix of each stream, and a curve of each condition of a sweep.

    Args:
        folder: where.
        report: of the set.
        matrices: by stream.
    """
    name = file_name(report["data"])
    for stream, matrix in matrices.items():
        picture = confusion_picture(matrix, f"{stream}, {report['data']}")
        images.save(folder / f"confusion-{name}-{stream}.png", picture)
    for condition, line in report.get("sweep", {}).items():
        series = {
            stream: {0: scores["miou"] / 100, **{int(severity): v[stream] for severity, v in line.items()}}
            for stream, scores in report["streams"].items()
        }
        chart = retention_chart(series, title=f"{condition}, {report['data']}")
        images.save(folder / f"retention-{name}-{condition}.png", chart)


def file_name(data: str) -> str:
    """Name of a set as part of a file's name."""
    return data.replace(":", "-").replace("/", "-")


def write_scores(folder: Path | None, file: Path | None, reports: Sequence[Mapping[str, Any]]) -> None:
    """Write reports, each file beside its place and renamed.

    Args:
        folder: gets scores.json and scores.csv; None for neither.
        file: gets JSON as well; of a single set it holds the report itself.
        reports: one a set.
    """
    if file is not None:
        write_json(file, reports[0] if len(reports) == 1 else list(reports))
    if folder is not None:
        write_json(folder / "scores.json", list(reports))
        lines = io.StringIO(newline="")
        writer = csv.writer(lines)
        writer.writerow(["data", "condition", "severity", "stream", "class", "iou"])
        writer.writerows(row for report in reports for row in csv_rows(report))
        write_bytes(folder / "scores.csv", lines.getvalue().encode())


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
