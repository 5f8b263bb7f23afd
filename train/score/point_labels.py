"""Command line and measure of `python -m train spots`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor
from tqdm import tqdm

from mfuser import images, presets
from mfuser.cityscapes import CLASSES
from mfuser.inference.segmenter import Segmenter
from mfuser.inference.windows import working_size
from mfuser.writing import output_folder, write_bytes
from train.adapt.pseudo_labels import tempered
from train.data.groups import COMMON_SPACE
from train.data.held_back import DAWN
from train.metrics.scoring import semantic_scores
from train.runtime.hardware import choose_hardware
from train.runtime.markdown import table
from train.runtime.weights import load_model, stream_of, weights_folder

FEWEST = 10  # spots that a class needs to count in the mean over classes


@dataclass(frozen=True)
class SpotsConfig:
    """Accuracy of a preset's streams at hand-labelled points of photographs in fog, rain, snow and at night."""

    # Folder with the photographs.
    photographs: Path | None = None
    # JSON file: by photograph its condition and points [x, y, class], x and y as shares of width and height, classes as
    # Cityscapes train ids; default: the points of DAWN's photographs.
    spots: Path | None = None
    # Which preset.
    preset: str = "nano"
    # Folder that `fit` wrote, or one of its stream files, which stands for that stream; default: the preset's own.
    weights: Annotated[Path | None, tyro.conf.arg(aliases=["--checkpoint"])] = None
    # Which streams; default: that of a stream file, else all that the preset has.
    streams: tuple[Literal["fused", "vfm", "vlm"], ...] = ()
    # Folder of spots.json and spots.md; default: print only.
    out: Path | None = None
    # auto, cpu, cuda or cuda:N.
    device: str = "auto"


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(SpotsConfig, args=list(argv), prog="python -m train spots")
    if config.photographs is None:
        raise ValueError("No photographs: pass --photographs, the folder with the labelled ones.")
    preset = presets.get(config.preset)
    streams = config.streams or stream_of(config.weights) or preset.streams
    hardware = choose_hardware(config.device, "float32", 0)
    spots = read_spots(config.spots or DAWN)
    missing = [name for name in spots if not (config.photographs / name).is_file()]
    if missing:
        count = f"{len(missing)} of {len(spots)} photographs are"
        raise ValueError(f"{count} not in {config.photographs}, {missing[0]} for one: pass their --photographs folder.")
    folder = None if config.out is None else output_folder(config.out)
    model = load_model(preset, weights_folder(config.weights), streams).to(hardware.device).for_inference()
    guesses = guess_all(Segmenter(model, str(hardware.device)), spots, config.photographs, streams)
    rows = accuracies(spots, guesses)
    text = table(rows)
    print(text)
    if folder is not None:
        write_bytes(folder / "spots.md", (text + "\n").encode())
        report = {"accuracy": rows, "photographs": count_right(spots, guesses)}
        write_bytes(folder / "spots.json", (json.dumps(report, indent=1) + "\n").encode())


def read_spots(path: Path) -> dict[str, dict[str, Any]]:
    """Conditions and points (N, 3) float64 by photograph. Raises ValueError for a file of another form."""
    try:
        content = json.loads(path.read_text())
        spots = {
            name: {"condition": str(entry["condition"]), "points": np.array(entry["points"], float).reshape(-1, 3)}
            for name, entry in content.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path} must hold {{"PHOTOGRAPH": {{"condition": "fog", "points": [[x, y, class], ...]}}, ...}}.'
        ) from error
    for name, entry in spots.items():
        x, y, c = entry["points"].T
        if not (np.isin(c, range(len(CLASSES))).all() and all(((v >= 0) & (v <= 1)).all() for v in (x, y))):
            raise ValueError(f"{path}: the points of {name} need x and y from 0 to 1 and train ids 0 to 18.")
    return spots


@torch.inference_mode()
def guess_all(
    segmenter: Segmenter, spots: Mapping[str, dict[str, Any]], folder: Path, streams: Sequence[str]
) -> dict[str, np.ndarray]:
    """Train id that each stream gives every spot, (N,) in the order of the photographs; encoders embed each once."""
    model = segmenter.model
    found: dict[str, list[np.ndarray]] = {stream: [] for stream in streams}
    for name, entry in tqdm(spots.items(), desc="spots", unit="img", leave=False):
        picture = images.load(folder / name)
        pixels = segmenter.to_pixels(picture, working_size(picture.shape[:2], model.preset))
        for stream, scores in semantic_scores(model, streams, pixels, "single").items():
            probabilities = tempered(scores, model.temperatures[stream])[0]
            found[stream].append(read_at(probabilities, entry["points"]))
    return {stream: np.concatenate(parts) for stream, parts in found.items()}


def read_at(probabilities: Tensor, points: np.ndarray) -> np.ndarray:
    """Likeliest class at points (N, 3) of a map (19, h, w) of any size, interpolated as the page does, (N,) int64."""
    places = torch.from_numpy(points[:, :2] * 2 - 1).float().to(probabilities.device)
    how = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}
    values = F.grid_sample(probabilities[None], places[None, None], **how)
    return values[0, :, 0].argmax(0).cpu().numpy()


def count_right(spots: Mapping[str, dict[str, Any]], guesses: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """By photograph: its condition, its spots, and how many of them each stream has right in the 11 common classes."""
    common, first = COMMON_SPACE.table(), 0
    found: dict[str, dict[str, Any]] = {}
    for name, entry in spots.items():
        truth = common[entry["points"][:, 2].astype(int)]
        own = slice(first, first + len(truth))
        right = {stream: int((common[guess[own]] == truth).sum()) for stream, guess in guesses.items()}
        found[name] = {"condition": entry["condition"], "spots": len(truth), **right}
        first += len(truth)
    return found


def accuracies(spots: Mapping[str, dict[str, Any]], guesses: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row for each condition and one for all: percent of spots right in the 11 common classes, its standard error
    ("+-"), and the mean over the classes that have enough spots ("mean", None where none has), of each stream."""
    common = COMMON_SPACE.table()
    truth = common[np.concatenate([entry["points"][:, 2] for entry in spots.values()]).astype(int)]
    where = np.concatenate([[entry["condition"]] * len(entry["points"]) for entry in spots.values()])
    photographs, rows = count_right(spots, guesses).values(), []
    for condition in (*dict.fromkeys(where), "all"):
        here = np.ones(len(where), bool) if condition == "all" else where == condition
        seen = [p for p in photographs if p["spots"] and condition in ("all", p["condition"])]
        row: dict[str, Any] = {"condition": str(condition), "spots": int(here.sum())}
        for stream, guess in guesses.items():
            right = common[guess[here]] == truth[here]
            classes = [c for c in np.unique(truth[here]) if (truth[here] == c).sum() >= FEWEST]
            each = [100 * float(right[truth[here] == c].mean()) for c in classes]
            row[stream] = round(100 * float(right.mean()), 1)
            row[f"{stream} +-"] = round(100 * deviation([p[stream] for p in seen], [p["spots"] for p in seen]), 1)
            row[f"{stream} mean"] = round(sum(each) / len(each), 1) if each else None
        rows.append(row)
    return rows


def deviation(right: Sequence[int], spots: Sequence[int], draws: int = 2000) -> float:
    """Standard error of sum(right) / sum(spots) over photographs drawn again and again (bootstrap): the spots of one
    photograph are right or wrong together."""
    right, spots = np.array(right), np.array(spots)
    chosen = np.random.default_rng(0).integers(len(spots), size=(draws, len(spots)))
    return float((right[chosen].sum(1) / spots[chosen].sum(1)).std())
