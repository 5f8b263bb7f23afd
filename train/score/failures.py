"""Where a model fails most: the worst of the rendered example streets, on one sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfuser import images
from mfuser.cityscapes import colorize
from mfuser.config import STREAMS
from mfuser.inference.segmenter import Segmenter
from mfuser.loading import MFuser
from mfuser.pictures.charts import contact_sheet
from mfuser.pictures.visualize import STREAM_TITLES
from train.data import DATASETS, SegmentationData
from train.data.files import Pair
from train.metrics.scoring import CountStore, View, count_images, total
from train.runtime.hardware import Hardware

SPACE = "common"
LARGEST = 200_000  # bytes of a sheet
QUALITIES = (90, 85, 80, 75, 70, 60, 50, 40)


@dataclass(frozen=True)
class Frame:
    """A rendered street in a weather ("clear" too), with its score. miou, worst: per stream, in 0..1, and the name of
    the class of least IoU."""

    index: int
    title: str
    condition: str
    miou: Mapping[str, float]
    worst: Mapping[str, str]


def open_streets(folder: Path) -> tuple[SegmentationData, list[tuple[str, str]]]:
    """Open the streets that `examples.json` lists, in every weather they were rendered in.

    Args:
        folder: where the listing and the pictures lie.

    Returns:
        The pictures as a set, and (title, weather) of each.

    Raises:
        ValueError: there is no listing.
    """
    listing = folder / "examples.json"
    if not listing.is_file():
        raise ValueError(f"There is no {listing}: name the folder of example streets with --examples.")
    pairs, names = [], []
    for entry in json.loads(listing.read_text(encoding="utf-8")):
        files = {"clear": entry["file"], **{name: w["file"] for name, w in entry.get("weather", {}).items()}}
        for condition, file in files.items():
            pairs.append(Pair(folder / file, folder / entry["label"], condition=condition))
            names.append((entry["title"], condition))
    return SegmentationData(DATASETS["folder"], pairs, f"folder:{folder.name}"), names


def score_streets(
    model: MFuser,
    streams: Sequence[str],
    data: SegmentationData,
    names: Sequence[tuple[str, str]],
    hardware: Hardware,
    store: CountStore | None = None,
) -> list[Frame]:
    """Score every picture for itself in the common 11-class space, over the classes that it shows.

    Args:
        model: in evaluation mode.
        streams: those to score.
        data: as of `open_streets`.
        names: as of `open_streets`.
        hardware: device and loading processes.
        store: where counts of finished pictures are kept; None keeps none.

    Returns:
        One frame a picture, in their order.
    """
    counts, _ = count_images(model, streams, data, SPACE, hardware, View(batch=1), store=store)
    frames = []
    for index, (title, condition) in enumerate(names):
        matrices = total(streams, SPACE, {index: counts[index]})
        worst = {stream: matrix.names[np.nanargmin(matrix.iou())] for stream, matrix in matrices.items()}
        frames.append(Frame(index, title, condition, {s: m.mean_iou() for s, m in matrices.items()}, worst))
    return frames


def worst_frames(frames: Sequence[Frame], count: int, stream: str = "fused") -> list[Frame]:
    """At most `count` frames of lowest mIoU of a stream, worst first, one of each street."""
    chosen: dict[str, Frame] = {}
    for frame in sorted(frames, key=lambda f: (f.miou[stream], f.index)):
        chosen.setdefault(frame.title, frame)
    return list(chosen.values())[:count]


def failure_sheet(
    model: MFuser, data: SegmentationData, frames: Sequence[Frame], hardware: Hardware, width: int = 300
) -> bytes:
    """Draw picture, truth and the masks of all streams of each frame.

    Args:
        model: with the streams that were scored.
        data: the pictures.
        frames: those to show, one a row.
        hardware: device.
        width: of a cell in pixels.

    Returns:
        A JPEG of at most `LARGEST` bytes.

    Raises:
        ValueError: it cannot be made so small.
    """
    segmenter = Segmenter(model, str(hardware.device))
    rows = []
    for frame in frames:
        picture, label = data[frame.index]
        analysis = segmenter.analyse(picture)
        masks = [analysis.masks[s] for s in STREAMS if s in frame.miou]
        rows.append([picture, colorize(label), *map(colorize, masks)])
    columns = ["picture", "truth", *(STREAM_TITLES[s] for s in STREAMS if s in frames[0].miou)]
    sheet = contact_sheet(rows, [f.condition for f in frames], columns, width)
    for quality in QUALITIES:
        data_bytes = images.encode(sheet, ".jpg", quality)
        if len(data_bytes) <= LARGEST:
            return data_bytes
    raise ValueError(f"The sheet of {len(frames)} frames does not fit into {LARGEST / 1000:g} KB: lower --worst.")
