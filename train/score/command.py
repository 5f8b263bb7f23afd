"""`python -m train evaluate`: mean IoU on labelled sets in their own class spaces, in any weather, resumable."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from mfuser import presets, weather
from mfuser.inference.precision import PRECISIONS
from mfuser.inference.streamline import lower
from train.data import SegmentationData, open_datasets
from train.metrics.confusion import summary
from train.metrics.scoring import Counts, CountStore, View, count_images, total
from train.runtime.distributed import Processes, open_processes
from train.runtime.files import require_writable
from train.runtime.hardware import choose_hardware
from train.runtime.model_options import StreamOptions
from train.runtime.options import joined
from train.runtime.weights import ENCODERS, load_model
from train.score.report import print_scores, write_pictures, write_scores


@dataclass(frozen=True)
class EvaluateConfig(StreamOptions):
    """Mean IoU of a preset's streams on labelled sets."""

    # Labelled photographs, [name:]ROOT[/split]; several may follow, or repeat the option.
    data: tuple[str, ...] = ()
    # How the encoders meet, where it is not the preset's own way: "mvfuser", "self-attention", "separate-attention",
    # "deformable", "convolution", "learnable-tokens", "separate" or "concat"; "": as the preset says.
    fusion: str = ""
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
    # Of the forward pass.
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    # Processes that load images; -1 chooses by cores.
    workers: int = -1

    def __post_init__(self) -> None:
        self.require_at_least(0, "limit", "resolution")
        self.require_at_least(1, "batch")

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
    """Evaluate on every set; the first process prints and writes.

    Args:
        config: the options.
        processes: those that share the images.

    Returns:
        One report for each set, as scores.json holds it.

    Raises:
        ValueError: bad options, data or weights.
        OSError: a folder that cannot be written.
    """
    preset = config.chosen_preset()
    preset = presets.with_fusion(preset, config.fusion) if config.fusion else preset
    streams, folder = config.chosen_streams(), config.folder()
    hardware = choose_hardware(str(processes.device or config.device), config.precision, config.workers)
    if config.json is not None and (config.json.is_dir() or not config.json.absolute().parent.is_dir()):
        raise ValueError(f"--json {config.json} is no file in a folder that exists: choose another.")
    if config.out is not None:
        require_writable(config.out)
    datasets = open_datasets(config.data, "val", limit=config.limit or None)
    require_weather([*config.swept(), *filter(None, [config.weather])], config.severity)
    model = load_model(preset, folder, streams).to(hardware.device).for_inference()
    if config.precision == "bf16":  # as Segmenter runs it
        lower(model, hardware.device, PRECISIONS["bf16"])
    stamp = weights_stamp(folder, streams)
    reports = []
    for spec, dataset in zip(config.data, datasets, strict=True):
        space = dataset.kind.space if config.space == "auto" else config.space
        identity = [preset.name, config.fusion, stamp, spec, dataset.stamp(), space]

        def count(condition: str, severity: int, dataset=dataset, space=space, identity=identity):
            view = View(config.batch, condition, severity, config.resolution, config.windows)
            settings = [*identity, condition, severity, config.resolution, config.windows, config.precision]
            store = None if config.out is None else make_store(config.out, [*settings, list(streams)], processes)
            return count_images(model, streams, dataset, space, hardware, view, processes, store)

        counts, faults = count(config.weather, config.severity if config.weather else 0)
        report, matrices = _make_report(config, dataset, space, streams, counts, faults), total(streams, space, counts)
        for condition in config.swept():
            report.setdefault("sweep", {})[condition] = {
                str(severity): {
                    s: m.mean_iou() for s, m in total(streams, space, count(condition, severity)[0]).items()
                }
                for severity in range(1, 6)
            }
        reports.append(report)
        if processes.writer:
            print_scores(report, matrices, several=len(datasets) > 1)
            if config.out is not None:
                write_pictures(config.out, report, matrices)
    if processes.writer:
        write_scores(config.out, config.json, reports)
    return reports


def require_weather(conditions: Sequence[str], severity: int) -> None:
    """Say at once what is wrong with weather that will be rendered later.

    Args:
        conditions: as "fog" or "rain+night".
        severity: 1 to 5.

    Raises:
        ValueError: an unknown condition, or another severity.
    """
    for condition in conditions:
        weather.apply(np.zeros((32, 32, 3), np.uint8), condition, severity)


def _make_report(
    config: EvaluateConfig,
    dataset: SegmentationData,
    space: str,
    streams: Sequence[str],
    counts: Mapping[int, Counts],
    faults: Sequence[str],
) -> dict[str, Any]:
    """What scores.json holds about one set; counts and faults as of `count_images`."""
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
    """Name, size and time of change of each file of the weights in a folder; [] for None."""
    if folder is None:
        return []
    names = [*(f"stream-{s}.safetensors" for s in streams), *ENCODERS]
    stats = [(name, (folder / name).stat()) for name in names if (folder / name).is_file()]
    return [[name, s.st_size, s.st_mtime_ns] for name, s in stats]


def make_store(folder: Path, settings: Sequence[Any], processes: Processes) -> CountStore:
    """Where the counts of finished images lie, for these very settings."""
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    return CountStore(folder / "images", key, processes.rank)
