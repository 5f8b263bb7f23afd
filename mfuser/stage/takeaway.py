"""What a visitor takes home of a picture: masks, colours, features and numbers in one ZIP."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import numpy as np

from mfuser import images
from mfuser.inference.analysis import Analysis
from mfuser.stage.bundle import class_iou

README = """Written by MFuser.

mask-STREAM.png       8-bit grey PNG, {ids}; STREAM is vfm, vlm or fused
colour-STREAM.png     the same in the colours of the classes
features-STREAM.npy   last patch tokens, (rows, columns, channels) float16
numbers.csv           share of the pixels of each class, and IoU where the truth is known
analysis.json         what ran: model, weights, device, precision, sizes, milliseconds

The same from Python:

    import mfuser
    analysis = mfuser.load({preset!r}).analyse("your-photograph.jpg"{options})
"""


def zipped(analysis: Analysis, truth: np.ndarray | None = None) -> bytes:
    """Everything of an analysis that other programs can use.

    Args:
        analysis: of `Segmenter.analyse`.
        truth: (H, W) uint8 indices of the classes, 255 where unlabelled; None when it is not known.

    Returns:
        A ZIP file.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for stream, mask in analysis.masks.items():
            archive.writestr(f"mask-{stream}.png", images.encode(mask))
            archive.writestr(f"colour-{stream}.png", images.encode(analysis.palette[mask]))
        for stream, tokens in analysis.tokens.items():
            buffer = io.BytesIO()
            np.save(buffer, tokens, allow_pickle=False)
            archive.writestr(f"features-{stream}.npy", buffer.getvalue())
        archive.writestr("numbers.csv", numbers(analysis, truth))
        archive.writestr(
            "analysis.json", json.dumps({"made": analysis.made, "ran": analysis.ran}, indent=2, default=str)
        )
        archive.writestr("README.txt", _readme(analysis))
    return out.getvalue()


def numbers(analysis: Analysis, truth: np.ndarray | None = None) -> str:
    """Rows of stream, class, share of the pixels and IoU, as CSV. Arguments as of `zipped`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["stream", "class", "share", "iou"])
    for stream, mask in analysis.masks.items():
        shares = analysis.shares(stream)
        scores = [None] * len(analysis.classes) if truth is None else class_iou(mask, truth, len(analysis.classes))
        for name, score in zip(analysis.classes, scores, strict=True):
            share = shares.get(name, 0.0)
            if share or score is not None:
                writer.writerow([stream, name, f"{share:.6f}", "" if score is None else f"{score:.6f}"])
    return out.getvalue()


def _readme(analysis: Analysis) -> str:
    ran = analysis.ran
    options = "" if ran["windows"] == "single" else f', windows="{ran["windows"]}"'
    if not analysis.trained_classes:
        options += f", classes={list(analysis.classes)!r}"
    ids = "Cityscapes trainIds" if analysis.trained_classes else "places in your class list, from 0"
    return README.format(ids=ids, preset=ran["preset"], options=options)
