"""`python -m train spots`: are hand-labelled points of photographs in bad weather given the right class?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor
from tqdm import tqdm

from mfuser import images
from mfuser.cityscapes import CLASSES
from mfuser.inference.segmenter import Segmenter
from mfuser.inference.windows import working_size
from mfuser.writing import output_folder, write_json, write_text
from train.data.groups import COMMON_SPACE
from train.data.held_back import DAWN
from train.metrics.scoring import semantic_scores
from train.metrics.tempering import tempered_logits
from train.runtime.hardware import choose_hardware
from train.runtime.markdown import table
from train.runtime.model_options import StreamOptions

FEWEST = 10  # spots that a class needs to count in the mean over classes


@dataclass(frozen=True)
class SpotsConfig(StreamOptions):
    """Accuracy of a preset's streams at hand-labelled points of photographs in fog, rain, snow and at night."""

    # Folder with the photographs.
    photographs: Path | None = None
    # JSON file: by photograph its condition and points [x, y, class], x and y as shares of width and height, classes as
    # Cityscapes train ids; default: the points of DAWN's photographs.
    spots: Path | None = None
    # Folder of spots.json and spots.md; default: print only.
    out: Path | None = None


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(SpotsConfig, args=list(argv), prog="python -m train spots")
    if config.photographs is None:
        raise ValueError("No photographs: pass --photographs, the folder with the labelled ones.")
    streams = config.chosen_streams()
    hardware = choose_hardware(config.device, "float32", 0)
    spots = read_spots(config.spots or DAWN)
    missing = [name for name in spots if not (config.photographs / name).is_file()]
    if missing:
        count = f"{len(missing)} of {len(spots)} photographs are"
        raise ValueError(f"{count} not in {config.photographs}, {missing[0]} for one: pass their --photographs folder.")
    folder = None if config.out is None else output_folder(config.out)
    model = config.load(streams, hardware).for_inference()
    guesses = guess_all(Segmenter(model, str(hardware.device)), spots, config.photographs, streams)
    rows = accuracies(spots, guesses)
    text = table(rows)
    print(text)
    if folder is not None:
        write_text(folder / "spots.md", text)
        write_json(folder / "spots.json", {"accuracy": rows, "photographs": count_right(spots, guesses)})


def read_spots(path: Path) -> dict[str, dict[str, Any]]:
    """Read labelled points.

    Args:
        path: JSON file, as of `SpotsConfig.spots`.

    Returns:
        {photograph: "condition" and "points", (N, 3) float64 of x, y and train id}.

    Raises:
        ValueError: a file of another form.
    """
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
    """Classify every point with every stream; encoders embed each photograph once.

    Args:
        segmenter: with the streams.
        spots: as of `read_spots`.
        folder: of the photographs.
        streams: those to ask.

    Returns:
        {stream: train ids (N,) int64}, in the order of the photographs and their points.
    """
    model = segmenter.model
    found: dict[str, list[np.ndarray]] = {stream: [] for stream in streams}
    for name, entry in tqdm(spots.items(), desc="spots", unit="img", leave=False):
        picture = images.load(folder / name)
        pixels = segmenter.to_pixels(picture, working_size(picture.shape[:2], model.preset))
        for stream, scores in semantic_scores(model, streams, pixels, "single").items():
            probabilities = tempered_logits(scores, model.temperatures[stream]).softmax(1)[0]
            found[stream].append(read_at(probabilities, entry["points"]))
    return {stream: np.concatenate(parts) for stream, parts in found.items()}


def read_at(probabilities: Tensor, points: np.ndarray) -> np.ndarray:
    """Likeliest class at points (N, 3) of a map (19, h, w) of any size, interpolated as the page does, (N,) int64."""
    places = torch.from_numpy(points[:, :2] * 2 - 1).float().to(probabilities.device)
    how = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}
    values = F.grid_sample(probabilities[None], places[None, None], **how)
    return values[0, :, 0].argmax(0).cpu().numpy()


def count_right(spots: Mapping[str, dict[str, Any]], guesses: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Count right points of each photograph in the 11 common classes.

    Args:
        spots: as of `read_spots`.
        guesses: as of `guess_all`.

    Returns:
        {photograph: "condition", number of "spots", and of each stream the right ones}.
    """
    right, ends = _right(spots, guesses), np.cumsum([len(entry["points"]) for entry in spots.values()])
    parts = {stream: np.split(hits, ends[:-1]) for stream, hits in right.items()}
    return {
        name: {"condition": entry["condition"], "spots": len(entry["points"])}
        | {stream: int(hits[place].sum()) for stream, hits in parts.items()}
        for place, (name, entry) in enumerate(spots.items())
    }


def accuracies(spots: Mapping[str, dict[str, Any]], guesses: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Accuracy in the 11 common classes.

    Args:
        spots: as of `read_spots`.
        guesses: as of `guess_all`.

    Returns:
        A row for each condition and one for all, with "condition", "spots", and of each stream the per cent of right
        points, its standard error ("STREAM +-") and the mean over the classes that have `FEWEST` points ("STREAM mean",
        None where none has).
    """
    truth, right = _truth(spots), _right(spots, guesses)
    where = np.concatenate([[entry["condition"]] * len(entry["points"]) for entry in spots.values()])
    photographs, rows = count_right(spots, guesses).values(), []
    for condition in (*dict.fromkeys(where), "all"):
        here = np.ones(len(where), bool) if condition == "all" else where == condition
        seen = [p for p in photographs if p["spots"] and condition in ("all", p["condition"])]
        classes = [c for c, count in zip(*np.unique(truth[here], return_counts=True), strict=True) if count >= FEWEST]
        row: dict[str, Any] = {"condition": str(condition), "spots": int(here.sum())}
        for stream, hits in right.items():
            each = [100 * float(hits[here & (truth == c)].mean()) for c in classes]
            row[stream] = round(100 * float(hits[here].mean()), 1)
            row[f"{stream} +-"] = round(100 * deviation([p[stream] for p in seen], [p["spots"] for p in seen]), 1)
            row[f"{stream} mean"] = round(sum(each) / len(each), 1) if each else None
        rows.append(row)
    return rows


def _truth(spots: Mapping[str, dict[str, Any]]) -> np.ndarray:
    """Common class of every point, (N,)."""
    return COMMON_SPACE.table()[np.concatenate([entry["points"][:, 2] for entry in spots.values()]).astype(int)]


def _right(spots: Mapping[str, dict[str, Any]], guesses: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Whether each stream has each point right in the common classes, (N,) bool."""
    return {stream: COMMON_SPACE.table()[guess] == _truth(spots) for stream, guess in guesses.items()}


def deviation(right: Sequence[int], spots: Sequence[int], draws: int = 2000) -> float:
    """Standard error of an accuracy by bootstrap over photographs: the points of one are right or wrong together.

    Args:
        right: right points of each photograph.
        spots: all points of each photograph.
        draws: of as many photographs as there are.

    Returns:
        Standard deviation of sum(right) / sum(spots), 0..1.
    """
    right, spots = np.array(right), np.array(spots)
    chosen = np.random.default_rng(0).integers(len(spots), size=(draws, len(spots)))
    return float((right[chosen].sum(1) / spots[chosen].sum(1)).std())
