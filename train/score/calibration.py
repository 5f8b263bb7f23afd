"""`python -m train calibrate`: one temperature per stream, so that its confidence is what it gets right.

Temperature scaling (Guo et al. 2017) of the class scores, as the page shows them. The temperature minimises the
negative log-likelihood of labels on photographs in random weather and colours: on plain training photographs a model
knows the answers by heart and would pass for better calibrated than it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import tyro
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mfuser import config as config_module
from mfuser import images
from mfuser.cityscapes import IGNORE
from mfuser.inference.windows import working_size
from mfuser.loading import MFuser
from mfuser.weights import files as weight_files
from mfuser.weights import tensors
from train.data import LabelGroups, SegmentationData, open_dataset
from train.data.augment import distort_colours, in_weather
from train.data.batches import items_of, worker_options
from train.metrics.scoring import semantic_scores
from train.metrics.tempering import tempered_logits
from train.runtime.hardware import Hardware, choose_hardware
from train.runtime.model_options import StreamOptions

TEMPERATURES = 0.05, 20.0  # bounds of the search
CELLS = 4096  # of each photograph; neighbours say much the same
BINS = 15


@dataclass(frozen=True)
class CalibrateConfig(StreamOptions):
    """Fit the temperature of each stream's confidence and store it in its file among --weights."""

    # Labelled photographs, [name:]ROOT[/split].
    data: str = ""
    # At most so many photographs, spread over the set; 0 for all.
    limit: int = 100
    # Probability of rendered weather.
    weather: float = 0.5
    # Processes that load images; -1 chooses by cores.
    workers: int = -1
    # Of weather, colours and the choice of cells.
    seed: int = 0


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(CalibrateConfig, args=list(argv), prog="python -m train calibrate")
    if not config.data:
        raise ValueError("No data to calibrate on: pass --data, for example --data camvid:PATH/train.")
    if config.weights is None:
        raise ValueError("No weights to calibrate: pass --weights, the folder whose stream files are to be rewritten.")
    if not 0 <= config.weather <= 1:
        raise ValueError(f"--weather must lie between 0 and 1, got {config.weather}.")
    config.require_at_least(0, "limit", "seed")
    streams, folder = config.chosen_streams(), config.folder()
    hardware = choose_hardware(config.device, "float32", config.workers)
    model = config.load(streams, hardware)
    dataset = open_dataset(config.data, "train", limit=config.limit or None)
    scores, labels = score_cells(model, streams, dataset, hardware, config.weather, config.seed)
    for stream in streams:
        path = folder / f"stream-{stream}.safetensors"
        before = float(weight_files.load_metadata(path).get("temperature", 1.0))
        after = fit_temperature(scores[stream], labels, dataset.groups)
        texts = []
        for t in (before, after):
            nll = negative_log_likelihood(scores[stream], labels, dataset.groups, t)
            ece = calibration_error(*shown_confidence(scores[stream], labels, dataset.groups, t))
            texts.append(f"T {t:.3f}, ECE {100 * ece:.2f} %, NLL {nll:.4f}")
        tensors.add_metadata(path, {"temperature": f"{after:.4f}"})
        print(f"{stream}: {texts[0]} -> {texts[1]} ({len(dataset)} images of {dataset.name})")


@torch.no_grad()
def score_cells(
    model: MFuser,
    streams: Sequence[str],
    dataset: SegmentationData,
    hardware: Hardware,
    weather_share: float = 0.5,
    seed: int = 0,
    colours: bool = True,
) -> tuple[dict[str, Tensor], Tensor]:
    """Class scores at cells of the decoder's own grid, where the page decides confidence.

    Args:
        model: in evaluation mode.
        streams: those to score.
        dataset: labelled photographs.
        hardware: device and loading processes.
        weather_share: probability of rendered weather.
        seed: of weather, colours and the choice of cells.
        colours: draw colours at random, too.

    Returns:
        Scores of each stream, (N, 19) float32 on the CPU, and the label in the middle of each cell, (N,) int64 group
        indices: at most `CELLS` labelled cells of a photograph.

    Raises:
        ValueError: nothing is labelled.
    """
    items = DistortedItems(dataset, model.preset, weather_share, seed, colours)
    loader = DataLoader(items, **worker_options(min(hardware.workers, len(dataset), 8)))
    found: dict[str, list[Tensor]] = {stream: [] for stream in streams}
    labels: list[Tensor] = []
    shown: dict[str, Any] = {"desc": "score", "total": len(dataset), "leave": False, "unit": "img", "mininterval": 1}
    for index, (pixels, label) in enumerate(tqdm(items_of(loader), **shown)):  # no name keeps it from ending
        scores = semantic_scores(model, streams, pixels[None].to(hardware.device).float(), "single")
        h, w = scores[streams[0]].shape[-2:]
        small = cv2.resize(label.numpy(), (w, h), interpolation=cv2.INTER_NEAREST_EXACT).ravel()
        cells = np.random.default_rng((seed, index, 1)).permutation(np.flatnonzero(small != IGNORE))[:CELLS]
        labels.append(torch.from_numpy(small[cells]).long())
        for stream, of_stream in scores.items():
            found[stream].append(of_stream[0].cpu().flatten(1).T[torch.from_numpy(cells)])
    if not sum(map(len, labels)):
        raise ValueError(f"No pixel of {dataset.name} is labelled: choose other photographs.")
    return {stream: torch.cat(parts) for stream, parts in found.items()}, torch.cat(labels)


class DistortedItems(Dataset):
    """Whole photographs in random weather and colours at working size (3, h, w) uint8, with labels (H, W) uint8."""

    def __init__(
        self,
        dataset: SegmentationData,
        preset: config_module.Preset,
        weather_share: float,
        seed: int,
        colours: bool = True,
    ):
        self.dataset, self.preset, self.weather_share, self.seed = dataset, preset, weather_share, seed
        self.colours = colours

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        picture, label = self.dataset[index]
        picture = in_weather(picture, rng, self.weather_share)
        if self.colours:
            picture = distort_colours(picture, rng)
        resized = images.resize(picture, *working_size(picture.shape[:2], self.preset))
        return torch.from_numpy(resized).permute(2, 0, 1), torch.from_numpy(label.copy())


def fit_temperature(scores: Tensor, labels: Tensor, groups: LabelGroups) -> float:
    """Find the temperature that makes the labels likeliest.

    Args:
        scores: (N, K) class scores above 0.
        labels: (N,) int64 group indices.
        groups: a group has the sum of its members' probabilities; a class in no group takes no part.

    Returns:
        A temperature within `TEMPERATURES`.
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(scores, labels, groups, math.exp(log_temperature))

    low, high = map(math.log, TEMPERATURES)
    return math.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3}).x)


def negative_log_likelihood(scores: Tensor, labels: Tensor, groups: LabelGroups, temperature: float) -> float:
    """Mean of -log p(label's group) in nats; arguments as of `fit_temperature`."""
    members = torch.from_numpy(groups.matrix())  # (G, K)
    logits = _logits(scores, groups, temperature)
    own = logits.masked_fill(~members[labels], -math.inf)
    return float((logits.logsumexp(1) - own.logsumexp(1)).double().mean())


def shown_confidence(scores: Tensor, labels: Tensor, groups: LabelGroups, temperature: float) -> tuple[Tensor, Tensor]:
    """Probability of the likeliest class (N,) float32, and whether its group is the label's, (N,) bool."""
    confidence, guess = _logits(scores, groups, temperature).softmax(1).max(1)
    return confidence, torch.from_numpy(groups.table()).long()[guess] == labels


def calibration_error(confidence: Tensor, correct: Tensor, bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al. 2015).

    Args:
        confidence: (N,) float32 in 0..1.
        correct: (N,) bool.
        bins: of equal width.

    Returns:
        The error in 0..1.
    """
    gaps = torch.zeros(bins, dtype=torch.double)
    gaps.index_add_(0, (confidence * bins).long().clamp_max(bins - 1), confidence.double() - correct.double())
    return float(gaps.abs().sum() / len(confidence))


def _logits(scores: Tensor, groups: LabelGroups, temperature: float) -> Tensor:
    outside = torch.from_numpy(~groups.matrix().any(0))
    return tempered_logits(scores, temperature).masked_fill(outside, -math.inf)
