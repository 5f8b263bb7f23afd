"""Evaluation: `python -m train evaluate`. One pass per image at the preset's resolution, scored in a class space."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mfuser import images, presets, weather
from mfuser.model import MFuser, encoders_of
from mfuser.segmenter import working_size
from train.config import Hardware, choose_hardware
from train.data import SegmentationData, open_dataset
from train.data.batches import worker_options
from train.data.groups import CITYSCAPES, SPACES
from train.metrics import ConfusionMatrix
from train.weights import load_model


@dataclass(frozen=True)
class EvaluateConfig:
    """Mean IoU of a preset's streams on a labelled set."""

    # Labelled photographs, [name:]ROOT[/split].
    data: str = ""
    # Which preset.
    preset: str = "nano"
    # Folder that `fit` wrote; default: the preset's own weights.
    weights: Path | None = None
    # Which streams; default: all that the preset has.
    streams: tuple[Literal["fused", "vfm", "vlm"], ...] = ()
    # Classes to score in; default: what the labels can tell apart.
    space: Literal["auto", "cityscapes", "common", "idd"] = "auto"
    # Weather to render first, as "fog" or "rain+night".
    weather: str = ""
    # Of the weather, 1 to 5.
    severity: int = 3
    # At most so many images, spread over the set; 0 for all.
    limit: int = 0
    # Images per forward pass.
    batch: int = 4
    # Short side in pixels; 0 for the preset's.
    resolution: int = 0
    # Also write the scores here.
    json: Path | None = None
    # auto, cpu, cuda or cuda:N.
    device: str = "auto"
    # Of the forward pass.
    precision: Literal["float32", "bf16"] = "float32"
    # Processes that load images; -1 chooses by cores.
    workers: int = -1


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(EvaluateConfig, args=list(argv), prog="python -m train evaluate")
    if not config.data:
        raise ValueError("No data to evaluate on: pass --data, for example --data camvid:PATH/val.")
    preset = presets.get(config.preset)
    streams = config.streams or preset.streams
    hardware = choose_hardware(config.device, config.precision, config.workers)
    dataset = open_dataset(config.data, "val", limit=config.limit or None)
    space = dataset.kind.space if config.space == "auto" else config.space
    model = load_model(preset, config.weights, streams).to(hardware.device)
    scores = evaluate(
        model, streams, dataset, space, hardware, config.batch, config.weather, config.severity, config.resolution
    )
    print(table(scores))
    if config.json is not None:
        conditions = {"weather": config.weather, "severity": config.severity} if config.weather else {}
        report = {"preset": preset.name, "data": dataset.name, "images": len(dataset), "space": space, **conditions}
        beside = config.json.with_name(config.json.name + ".part")
        beside.write_text(json.dumps({**report, "streams": summary(scores)}, indent=2) + "\n")
        os.replace(beside, config.json)


@torch.no_grad()
def evaluate(
    model: MFuser,
    streams: Sequence[str],
    dataset: SegmentationData,
    space: str,
    hardware: Hardware,
    batch: int = 4,
    condition: str = "",
    severity: int = 3,
    resolution: int = 0,
) -> dict[str, ConfusionMatrix]:
    """Score streams on a dataset.

    space: key of `SPACES`; prediction and label are both mapped into it. condition, severity: weather rendered on
    every image first, seeded by its index. resolution: short side in pixels; 0 for the preset's.
    The model is left in evaluation mode. Raises ValueError when the labels cannot be scored in the space.
    """
    groups = SPACES[space]
    to_space, truth_table = CITYSCAPES.into(groups), dataset.groups.into(groups)
    model.eval()
    matrices = {stream: ConfusionMatrix(groups.names) for stream in streams}
    encoders = dict.fromkeys(name for stream in streams for name in encoders_of(stream))
    items = EvaluationItems(dataset, model.preset, condition, severity, resolution)
    loader = DataLoader(items, **worker_options(min(hardware.workers, len(dataset), 8)))
    progress = tqdm(total=len(dataset), desc=f"evaluate {dataset.name}", leave=False, unit="img", mininterval=1)
    for pixels, labels in same_size_batches(loader, batch):
        with hardware.autocast():
            embedded: dict[str, Any] = {}
            for name in encoders:
                embedded |= model.embed(pixels.to(hardware.device).float(), name)
            for stream in streams:
                semantic = model.decode(model.features(embedded, stream), stream).semantic().float()
                full = F.interpolate(semantic, size=labels.shape[-2:], mode="bilinear", align_corners=False)
                for truth, guess in zip(labels.numpy(), full.argmax(1).byte().cpu().numpy(), strict=True):
                    matrices[stream].update(truth_table[truth], to_space[guess])
        progress.update(len(pixels))
    progress.close()
    return matrices


class EvaluationItems(Dataset):
    """Images at working size (3, h, w) uint8 with their labels (H, W) uint8 at full size."""

    def __init__(
        self, dataset: SegmentationData, preset: presets.Preset, condition: str, severity: int, resolution: int
    ):
        self.dataset, self.preset, self.resolution = dataset, preset, resolution or None
        self.condition, self.severity = condition, severity
        if condition:  # say at once what is wrong with it
            weather.apply(np.zeros((32, 32, 3), np.uint8), condition, severity)
        working_size((preset.divisor,) * 2, preset, self.resolution)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture, label = self.dataset[index]
        if self.condition:
            picture = weather.apply(picture, self.condition, self.severity, seed=index)
        resized = images.resize(picture, *working_size(picture.shape[:2], self.preset, self.resolution))
        return torch.from_numpy(resized).permute(2, 0, 1), torch.from_numpy(label.copy())


def same_size_batches(items: Iterator[tuple[Tensor, Tensor]], batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Stack neighbours of equal size, at most `batch` of them."""
    for _, run in groupby(items, key=lambda item: (item[0].shape, item[1].shape)):
        held: list[tuple[Tensor, Tensor]] = []
        for item in run:
            held.append(item)
            if len(held) == batch:
                yield torch.stack([p for p, _ in held]), torch.stack([y for _, y in held])
                held = []
        if held:
            yield torch.stack([p for p, _ in held]), torch.stack([y for _, y in held])


def summary(scores: dict[str, ConfusionMatrix]) -> dict[str, dict[str, Any]]:
    """{"fused": {"miou": per cent, "accuracy": per cent, "iou": {class: per cent or None}}}."""
    return {
        stream: {
            "miou": round(100 * matrix.mean_iou(), 3),
            "accuracy": round(100 * matrix.accuracy(), 3),
            "iou": {
                name: None if np.isnan(value) else round(100 * float(value), 3)
                for name, value in zip(matrix.names, matrix.iou(), strict=True)
            },
        }
        for stream, matrix in scores.items()
    }


def table(scores: dict[str, ConfusionMatrix]) -> str:
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
