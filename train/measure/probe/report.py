"""What probes found as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from train.measure.probe.boundary_iou import SHARE
from train.measure.probe.features import TITLES
from train.measure.probe.retrieval import MINIMUM
from train.runtime.markdown import number_table


def markdown(report: Mapping[str, Any]) -> str:
    """The report of `command.run`: a table of scores, one of CKA, how they are meant, and the command.

    Args:
        report: as `command.run` writes it to probe.json.
    """
    several = len(report["weights"]) > 1
    rows, alike, samples = [], [], 0
    for name, found in report["weights"].items():
        for row, scores in found["rows"].items():
            texts = scores.get("retrieval", {})
            cells = [scores["miou"], scores["boundary"], scores.get("zero-shot")]
            cells += [texts.get("to text"), texts.get("to region")]
            title = [name] if several else []
            rows.append([*title, TITLES.get(row, f"trunk, {row}"), str(scores["width"]), *map(_percent, cells)])
        samples = max(samples, found["samples"])
        for compared, values in found["cka"].items():
            alike.append([*([name] if several else []), compared, *("-" if v is None else f"{v:.2f}" for v in values)])
    first = ["weights"] if several else []
    numbers = ["width", "mIoU", "boundary IoU", "zero-shot mIoU", "region to text", "text to region"]
    groups = " into ".join(map(str, dict.fromkeys(map(len, report["groups"]))))
    soft = f", shrunk to {report['soften']:g} and enlarged again" if report["soften"] else ""
    texts = [
        f"Linear probes on frozen features, trained on {report['images'][0]} photographs of {report['data']}, scored "
        f"on {report['images'][1]} of {report['val']}{soft}, {groups} groups, in percent:",
        number_table([*first, "features", *numbers], rows),
        f"mIoU: one linear layer on the features of single patches. Boundary IoU (Cheng et al. 2021): of the same "
        f"predictions, within {100 * SHARE:g} % of the diagonal of a contour. Zero-shot: every pixel gets the nearest "
        f"of the names of the groups of {report['data']}, without a probe. Region to text: of all regions of a "
        f"photograph of one group ({100 * MINIMUM:g} % of its labelled pixels or more), the share whose own name is "
        "nearest; text to region: of as many nearest regions as a name has, the share that is its own.",
    ]
    if alike:
        head = [*first, "CKA of patch tokens", *(f"pair {p}" if p.isdigit() else p for p in report["places"])]
        texts += [
            f"Linear CKA (Kornblith et al. 2019, unbiased) on {samples} patches of {report['val']}; "
            "1 is the same up to rotation and scale. Before the blocks, and after pairs of them:",
            number_table(head, alike),
        ]
    texts.append("![Principal components of the features](pca.jpg)")
    return "\n\n".join([*texts, f"    {report['command']}"])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
