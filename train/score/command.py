"""Evaluation: `python -m train evaluate`. Sets in their own class spaces, in any weather, resumable per image."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from mfuser import presets, weather
from mfuser.inference.precision import PRECISIONS
from mfuser.inference.streamline import lower
from mfuser.weights import files as weight_files
from train.data import SegmentationData, open_datasets
from train.metrics.confusion import summary
from train.metrics.scoring import Counts, CountStore, View, count_images, total
from train.runtime.distributed import Processes, open_processes
from train.runtime.files import require_writable
from train.runtime.hardware import choose_hardware
from train.runtime.options import joined
from train.runtime.weights import load_model, stream_of, weights_folder
from train.score.report import say, write_pictures, write_scores


@dataclass(frozen=True)
class EvaluateConfig:
    """Mean IoU of a preset's streams on labelled sets."""

    # Labelled photographs, [name:]ROOT[/split]; several may follow, or repeat the option.
    data: tuple[str, ...] = ()
    # Which preset.
    preset: str = "nano"
    # Folder that `fit` wrote, or one of its stream files, which stands for that stream; default: the preset's own.
    weights: Annotated[Path | None, tyro.conf.arg(aliases=["--checkpoint"])] = None
    # How the encoders meet, where it is not the preset's own way: "mvfuser", "self-attention", "separate-attention",
    # "deformable", "convolution", "learnable-tokens", "separate" or "concat"; "": as the preset says.
    fusion: str = ""
    # Which streams; default: that of a stream file, else all that the preset has.
    streams: tuple[Literal["fused", "vfm", "vlm"], ...] = ()
    # Classes to score in; default: what the labels can tell apart.
    space: Literal["auto", "cityscapes", "common", "idd"] = "auto"
    # "single": the whole image in one pass. "sliding": the paper's 512-pixel windows with stride 341.
    windows: Literal["single", "sliding"] = "single"
    # Weather to render first, as "fog" or "rain+night".
    weather: str = ""
    # Of the weather, 1 to 5.
    severity: int = 3
    # Conditions of a sweep over severities 1 to 5, for curves of retained mIoU; "all" for fog, rain, snow and night.
    sweep: tuple[str, ...] = ()
    # At most so many images of each set, spread over it; 0 for all.
    limit: int = 0
    # Images per forward pass.
    batch: int = 4
    # Short side in pixels; 0 for the preset's.
    resolution: int = 0
    # Folder of scores.json, scores.csv, confusion matrices and curves; images done there are not done again.
    out: Path | None = None
    # Also write the scores here.
    json: Path | None = None
    # auto, cpu, cuda or cuda:N.
    device: str = "auto"
    # Of the forward pass.
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    # Processes that load images; -1 chooses by cores.
    workers: int = -1

    def __post_init__(self) -> None:
        for name in ("limit", "resolution"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(self, name)}.")
        if self.batch < 1:
            raise ValueError(f"--batch must be above 0, got {self.batch}.")

    def swept(self) -> tuple[str, ...]:
        """Conditions of the sweep."""
        return tuple(weather.CONDITIONS) if "all" in self.sweep else self.sweep


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(EvaluateConfig, args=joined(argv, "--data"), prog="python -m train evaluate")
    if not config.data:
        raise ValueError("No data to evaluate on: pass --data, for example --data camvid:PATH/val.")
    try:
        with open_processes(config.device) as processes:
            run(config, processes)
    except KeyboardInterrupt:
        kept = "the same command continues" if config.out else "with --out the same command would continue"
        print(f"evaluate: stopped; {kept}.", file=sys.stderr)
        raise SystemExit(130) from None


def run(config: EvaluateConfig, processes: Processes) -> list[dict[str, Any]]:
    """Evaluate on every set; the writer prints and writes. Returns one report for each set."""
    preset = presets.get(config.preset)
    preset = presets.with_fusion(preset, config.fusion) if config.fusion else preset
    streams = config.streams or stream_of(config.weights) or preset.streams
    hardware = choose_hardware(str(processes.device or config.device), config.precision, config.workers)
    if config.json is not None and (config.json.is_dir() or not config.json.absolute().parent.is_dir()):
        raise ValueError(f"--json {config.json} is no file in a folder that exists: choose another.")
    if config.out is not None:
        require_writable(config.out)
    folder = weights_folder(config.weights) or weight_files.folder_of(preset)
    datasets = open_datasets(config.data, "val", limit=config.limit or None)
    for condition in (*config.swept(), *([config.weather] if config.weather else [])):
        weather.apply(np.zeros((32, 32, 3), np.uint8), condition, config.severity)  # say at once what is wrong
    model = load_model(preset, folder, streams).to(hardware.device).for_inference()
    if config.precision == "bf16":  # as Segmenter runs it
        lower(model, hardware.device, PRECISIONS["bf16"])
    stamp = weights_stamp(folder, streams)
    reports = []
    for spec, dataset in zip(config.data, datasets, strict=True):
        space = dataset.kind.space if config.space == "auto" else config.space
        files = dataset.stamp()

        def score(condition: str, severity: int, spec=spec, dataset=dataset, space=space, files=files):
            view = View(config.batch, condition, severity, config.resolution, config.windows)
            settings = [preset.name, config.fusion, stamp, spec, files, space, condition, severity]
            settings += [config.resolution, config.windows, config.precision, list(streams)]
            store = None if config.out is None else make_store(config.out, settings, processes)
            return count_images(model, streams, dataset, space, hardware, view, processes, store)

        counts, faults = score(config.weather, config.severity if config.weather else 0)
        report = make_report(config, dataset, space, streams, counts, faults)
        for condition in config.swept():
            for severity in range(1, 6):
                swept = {s: m.mean_iou() for s, m in total(streams, space, score(condition, severity)[0]).items()}
                report.setdefault("sweep", {}).setdefault(condition, {})[str(severity)] = swept
        reports.append(report)
        if processes.writer:
            say(report, total(streams, space, counts), several=len(datasets) > 1)
            if config.out is not None:
                write_pictures(config.out, report, total(streams, space, counts))
    if processes.writer:
        write_scores(config.out, config.json, reports)
    return reports


def make_report(
    config: EvaluateConfig,
    dataset: SegmentationData,
    space: str,
    streams: Sequence[str],
    counts: Mapping[int, Counts],
    faults: Sequence[str],
) -> dict[str, Any]:
    """What is written about one set."""
    report: dict[str, Any] = {"preset": config.preset, "data": dataset.name, "images": len(counts), "space": space}
    report["windows"] = config.windows
    if config.weather:
        report |= {"weather": config.weather, "severity": config.severity}
    if faults:
        report["unreadable"] = list(faults)
    report["streams"] = summary(total(streams, space, counts))
    conditions = dataset.conditions
    if any(conditions):
        report["conditions"] = {
            name: summary(total(streams, space, {i: c for i, c in counts.items() if conditions[i] == name}))
            for name in sorted(set(conditions))
        }
    return report


def weights_stamp(folder: Path | None, streams: Sequence[str]) -> list[list[Any]]:
    """Which weights these are: sizes and times of their files."""
    if folder is None:
        return []
    names = [*(f"stream-{s}.safetensors" for s in streams), "encoder-vfm.safetensors", "encoder-vlm.safetensors"]
    stats = [(name, (folder / name).stat()) for name in names if (folder / name).is_file()]
    return [[name, s.st_size, s.st_mtime_ns] for name, s in stats]


def make_store(folder: Path, settings: Sequence[Any], processes: Processes) -> CountStore:
    """Where the counts of finished images lie, for these very settings."""
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    return CountStore(folder / "images", key, processes.rank)
