"""What was measured as Markdown, in pieces for a model card. Numbers in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mfuser.config import STREAMS
from mfuser.pictures.visualize import STREAM_TITLES
from train.runtime.markdown import number_table
from train.score.failures import Frame
from train.score.report import retention

Report = Mapping[str, Any]  # of one set, as `train.score.command.run` makes it


def class_table(reports: Mapping[str, Report], stream: str) -> str:
    """IoU in per cent by class, one column for each weather. reports: {weather: report}, "clear" among them."""
    cells = {c: r["streams"][stream] for c, r in reports.items()}
    names = list(next(iter(cells.values()))["iou"])
    rows = [[name, *(_percent(c["iou"][name]) for c in cells.values())] for name in names]
    rows.append(["**mean**", *(f"**{_percent(c['miou'])}**" for c in cells.values())])
    return number_table([STREAM_TITLES[stream], *cells], rows)


def mean_table(reports: Mapping[str, Report]) -> str:
    """mIoU in per cent, one row for each weather, and by how much fused lies above the better of the others."""
    streams = _streams(next(iter(reports.values()))["streams"])
    compared = "fused" in streams and len(streams) > 1
    rows = []
    for condition, report in reports.items():
        miou = {s: report["streams"][s]["miou"] for s in streams}
        gap = [f"{miou['fused'] - max(v for s, v in miou.items() if s != 'fused'):+.1f}"] if compared else []
        rows.append([condition, *(_percent(miou[s]) for s in streams), *gap])
    head = ["mIoU", *(STREAM_TITLES[s] for s in streams)] + (["MFuser over the better one"] if compared else [])
    return number_table(head, rows)


def retention_table(report: Report) -> str:
    """Share of the clear mIoU that is kept, in per cent: the mean over the weathers, then every weather."""
    kinds = {"mean": retention(report), **{name: retention(report, [name]) for name in report["sweep"]}}
    rows = [
        [kind, STREAM_TITLES[s], *(_percent(100 * line[s][severity]) for severity in range(1, 6))]
        for kind, line in kinds.items()
        for s in _streams(report["streams"])
    ]
    return number_table(["weather", "model", *map(str, range(1, 6))], rows)


def calibration_table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Expected calibration error in per cent at temperature 1 and at the stored one.

    Args:
        found: {weather: {stream: {"temperature", "before", "after" (errors in 0..1), "accuracy"}}}.

    Returns:
        A table in Markdown.
    """
    rows = [
        [condition, STREAM_TITLES[stream], f"{line['temperature']:.3f}"]
        + [f"{100 * line[key]:.2f}" for key in ("before", "after", "accuracy")]
        for condition, streams in found.items()
        for stream, line in streams.items()
    ]
    return number_table(["photographs", "model", "temperature", "ECE at 1", "ECE", "right cells"], rows)


def failure_table(frames: Sequence[Frame]) -> str:
    """The frames of a sheet: street, weather, mIoU in per cent of every stream, the class that fused misses most."""
    streams = _streams(frames[0].miou)
    rows = [[f.title, f.condition, *(_percent(100 * f.miou[s]) for s in streams), f.worst[streams[-1]]] for f in frames]
    return number_table(["street", "weather", *(STREAM_TITLES[s] for s in streams), "least IoU"], rows)


def _streams(scored: Mapping[str, Any]) -> list[str]:
    """The streams that were scored, in the order of STREAMS."""
    return [s for s in STREAMS if s in scored]


def _percent(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.1f}"
