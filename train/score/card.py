"""`python -m train card`: everything that the model card says in numbers, as Markdown and pictures.

OUT gets scores.md (IoU by class in every weather), retention.md and .png (severities 1 to 5), calibration.md (expected
calibration error), failures.md and .jpg (the worst of the example streets), and card.md, all of it. Finished
photographs are not done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mfuser import config as config_module
from mfuser import images, weather
from mfuser.config import STREAMS
from mfuser.loading import MFuser
from mfuser.pictures.charts import retention_chart
from mfuser.writing import write_bytes, write_json, write_text
from train.data import SegmentationData, open_dataset
from train.data.registry import shown_spec
from train.runtime.distributed import Processes
from train.runtime.files import require_writable
from train.runtime.hardware import Hardware, choose_hardware
from train.runtime.model_options import ModelOptions
from train.runtime.options import Append
from train.score import card_tables, failures
from train.score.calibration import calibration_error, score_cells, shown_confidence
from train.score.command import EvaluateConfig, make_store, require_weather, weights_stamp
from train.score.command import run as evaluate_sets
from train.score.report import file_name
from train.score.report import retention as retained

PARTS = ("scores", "retention", "calibration", "failures")
EXAMPLES = config_module.ASSETS / "examples"


@dataclass(frozen=True)
class CardConfig(ModelOptions):
    """Measure what the model card says: scores in weather, retention, calibration, worst frames."""

    # Labelled photographs that taught the weights nothing, [name:]ROOT[/split]; repeat for several sets.
    data: Annotated[tuple[str, ...], Append] = ()
    # What is measured.
    parts: tuple[Literal["scores", "retention", "calibration", "failures"], ...] = PARTS
    # Weather of the tables and curves.
    conditions: tuple[str, ...] = weather.CONDITIONS
    # Of the weather in the tables by class, 1 to 5.
    severity: int = 3
    # At most so many photographs of each set, spread over it; 0 for all.
    limit: int = 0
    # The same for the retention curves, which see each photograph in every weather and severity.
    sweep_limit: int = 26
    # Folder of example streets, in which the worst frames are looked for; default: those that the page shows.
    examples: Path | None = None
    # How many of them the sheet shows.
    worst: int = 4
    # Folder of the fragments.
    out: Path = Path("runs/card")
    # Images per forward pass.
    batch: int = 1
    # Short side in pixels; 0 for the preset's.
    resolution: int = 0
    # Processes that load images; -1 chooses by cores.
    workers: int = -1


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(CardConfig, args=list(argv), prog="python -m train card")
    if not config.data and set(config.parts) - {"failures"}:
        raise ValueError("No data to measure on: pass --data, for example --data camvid:PATH/val.")
    print(make_card(config))


def make_card(config: CardConfig) -> str:
    """Measure the parts asked for and write their fragments.

    Args:
        config: the options.

    Returns:
        What card.md holds.

    Raises:
        ValueError: bad options, data or weights.
        OSError: a folder that cannot be written.
    """
    config.require_at_least(0, "limit", "sweep_limit", "resolution")
    config.require_at_least(1, "worst")
    if not config.parts:
        raise ValueError(f"--parts needs one part or more: {', '.join(PARTS)}.")
    if not config.conditions and "retention" in config.parts:
        raise ValueError(f"--conditions needs one condition or more: {', '.join(weather.CONDITIONS)}.")
    require_writable(config.out)
    require_weather(config.conditions, config.severity)
    hardware = choose_hardware(config.device, "float32", config.workers)
    model = config.load(config.chosen_preset().streams, hardware)
    texts, found = [], {}
    for part in PARTS:
        if part in config.parts:
            text, found[part] = MEASURES[part](config, model, hardware)
            write_text(config.out / f"{part}.md", text)
            texts.append(text)
    command = shown_command(config)
    card = "\n\n".join([*texts, f"    {command}"])
    write_text(config.out / "card.md", card)
    write_json(config.out / "card.json", {"command": command, **found})
    return card


def scores(config: CardConfig, model: MFuser, hardware: Hardware) -> tuple[str, Any]:
    """IoU by class in clear and in every weather, one table a stream."""
    by_weather = {"clear": evaluated(config, "clear", limit=config.limit)}
    for condition in config.conditions:
        by_weather[condition] = evaluated(config, condition, limit=config.limit, weather=condition)
    texts = []
    for place, first in enumerate(by_weather["clear"]):
        reports = {condition: reports[place] for condition, reports in by_weather.items()}
        texts.append(
            f"IoU in percent on {first['images']} photographs of {first['data']}, in clear weather and in rendered "
            f"weather of severity {config.severity}:\n\n{card_tables.mean_table(reports)}"
        )
        texts += [card_tables.class_table(reports, s) for s in STREAMS if s in first["streams"]]
    return "\n\n".join(texts), by_weather


def retention(config: CardConfig, model: MFuser, hardware: Hardware) -> tuple[str, Any]:
    """How much of the clear mIoU is kept at every severity, with a chart."""
    limit = min((n for n in (config.limit, config.sweep_limit) if n), default=0)
    reports = evaluated(config, "sweep", limit=limit, sweep=config.conditions)
    texts = []
    for report in reports:
        name = "retention.png" if len(reports) == 1 else f"retention-{file_name(report['data'])}.png"
        chart = retention_chart(retained(report), "mIoU, share of clear", "Mean over the weathers")
        images.save(config.out / name, chart)
        texts.append(
            f"Share of the clear mIoU that is kept at severities 1 to 5, in percent, on {report['images']} photographs "
            f"of {report['data']}:\n\n![Retention curves]({name})\n\n{card_tables.retention_table(report)}"
        )
    return "\n\n".join(texts), reports


def evaluated(config: CardConfig, folder: str, **settings: Any) -> list[dict[str, Any]]:
    """Reports of `train evaluate`, one for each set; what is in the folder is not done again."""
    shared = {name: getattr(config, name) for name in ("data", "preset", "weights", "severity", "batch", "resolution")}
    hardware = {"device": config.device, "workers": config.workers}
    return evaluate_sets(EvaluateConfig(**shared, **hardware, **settings, out=config.out / folder), Processes())


def calibration(config: CardConfig, model: MFuser, hardware: Hardware) -> tuple[str, Any]:
    """Expected calibration error of every stream, as photographed and in weather of random kind and severity."""
    texts, found, store = [], {}, config.out / "calibration.json"
    known = json.loads(store.read_text()) if store.is_file() else {}
    streams = [s for s in STREAMS if s in model.heads]
    for spec in config.data:
        dataset = open_dataset(spec, "val", limit=config.limit or None)
        rows = {}
        for name, share in (("as they are", 0.0), ("in random weather", 1.0)):
            key = json.dumps([weights_stamp(config.folder(), streams), shown_spec(spec), dataset.stamp(), share])
            if key not in known:
                known[key] = _calibration_errors(model, streams, dataset, hardware, share)
                write_json(store, known)
            rows[name] = known[key]
        found[dataset.name] = rows
        texts.append(
            f"Expected calibration error of the confidence (15 bins, percent) before and after its temperature, on "
            f"{len(dataset)} photographs of {dataset.name}:\n\n{card_tables.calibration_table(rows)}"
        )
    return "\n\n".join(texts), found


def _calibration_errors(
    model: MFuser, streams: Sequence[str], dataset: SegmentationData, hardware: Hardware, share: float
) -> dict[str, dict[str, float]]:
    """{stream: "temperature", error "before" (at 1) and "after" it, "accuracy" of the cells}, all in 0..1."""
    cells, labels = score_cells(model, streams, dataset, hardware, share, seed=1, colours=False)
    found = {}
    for stream in streams:
        temperature = model.temperatures.get(stream, 1.0)
        before, after = (shown_confidence(cells[stream], labels, dataset.groups, t) for t in (1.0, temperature))
        found[stream] = {
            "temperature": temperature,
            "before": calibration_error(*before),
            "after": calibration_error(*after),
            "accuracy": float(after[1].float().mean()),
        }
    return found


def worst(config: CardConfig, model: MFuser, hardware: Hardware) -> tuple[str, Any]:
    """The example streets on which fused fails most, as a table and a sheet."""
    data, names = failures.open_streets(config.examples or EXAMPLES)
    streams = [s for s in STREAMS if s in model.heads]
    settings = [config.preset, weights_stamp(config.folder(), streams), data.stamp()]
    store = make_store(config.out / "streets", settings, Processes())
    frames = failures.score_streets(model, streams, data, names, hardware, store)
    chosen = failures.worst_frames(frames, config.worst, streams[-1])
    write_bytes(config.out / "failures.jpg", failures.failure_sheet(model, data, chosen, hardware))
    text = (
        f"The worst of {len(frames)} rendered pictures of {len(set(t for t, _ in names))} streets, one of each street, "
        f"mIoU in percent over the classes that each shows:\n\n![Worst frames](failures.jpg)\n\n"
        + card_tables.failure_table(chosen)
    )
    return text, [vars(frame) for frame in frames]


Measure = Callable[[CardConfig, MFuser, Hardware], tuple[str, Any]]
MEASURES: dict[str, Measure] = dict(zip(PARTS, (scores, retention, calibration, worst), strict=True))


def shown_command(config: CardConfig) -> str:
    """The command that made a card, with the names of sets in place of their folders."""
    words = ["python -m train card"]
    if config.weights is not None:
        words.append(f"--weights {config.weights.name}")
    words += [f"--data {shown_spec(spec)}" for spec in config.data]
    for name in ("preset", "limit", "sweep_limit", "severity", "resolution", "parts", "conditions", "worst"):
        value = getattr(config, name)
        if value != getattr(CardConfig, name):
            words.append(f"--{name.replace('_', '-')} {' '.join(value) if isinstance(value, tuple) else value}")
    return " ".join(words)
