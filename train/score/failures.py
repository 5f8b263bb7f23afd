"""Where a model fails most: the worst of the rendered example streets, on one sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mfuser import images
from mfuser.cityscapes import colorize
from mfuser.config import STREAMS
from mfuser.inference.segmenter import Segmenter
from mfuser.loading import MFuser
from mfuser.pictures.charts import contact_sheet
from mfuser.pictures.visualize import STREAM_TITLES
from train.data import DATASETS, SegmentationData
from train.data.files import Pair
from train.data.groups import SPACES
from train.metrics.confusion import ConfusionMatrix
from train.metrics.scoring import CountStore, View, count_images
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
    """The streets that `examples.json` lists, in every weather they were rendered in, and (title, weather) of each.

    Raises ValueError when there is no listing.
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
    """Every frame's own mIoU in the common 11-class space, over the classes that it shows."""
    counts, _ = count_images(model, streams, data, SPACE, hardware, View(batch=1), store=store)
    found = []
    for index, (title, condition) in enumerate(names):
        miou, worst = {}, {}
        for stream in streams:
            matrix = ConfusionMatrix(SPACES[SPACE].names)
            matrix.add(counts[index][stream])
            lowest = min((iou, name) for iou, name in zip(matrix.iou(), matrix.names, strict=True) if iou == iou)
            miou[stream], worst[stream] = matrix.mean_iou(), lowest[1]
        found.append(Frame(index, title, condition, miou, worst))
    return found


def worst_frames(frames: Sequence[Frame], count: int, stream: str = "fused") -> list[Frame]:
    """The frames of lowest mIoU, worst first, at most one of each street."""
    chosen: dict[str, Frame] = {}
    for frame in sorted(frames, key=lambda f: (f.miou[stream], f.index)):
        if frame.title not in chosen and len(chosen) < count:
            chosen[frame.title] = frame
    return list(chosen.values())


def failure_sheet(
    model: MFuser, data: SegmentationData, frames: Sequence[Frame], hardware: Hardware, width: int = 300
) -> bytes:
    """Picture, truth and the masks of all streams of each frame, as a JPEG of at most `LARGEST` bytes.

    Raises ValueError when it cannot be made so small.
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
