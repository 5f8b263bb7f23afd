"""Images through a model, confusion counts out: image by image, so that an evaluation can be continued and split."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mfuser import config, images, weather
from mfuser.config import encoders_of
from mfuser.inference.segmenter import BATCH, upsampled_argmax
from mfuser.inference.windows import network_size, sliding_scores
from mfuser.loading import MFuser
from train.data import SegmentationData
from train.data.batches import items_of, worker_options
from train.data.groups import CITYSCAPES, SPACES
from train.metrics.confusion import ConfusionMatrix, count_pairs
from train.runtime.distributed import Processes
from train.runtime.hardware import Hardware

Counts = dict[str, np.ndarray]  # stream -> (G, G + 1) int64 of one image; the last column is outside the space


@dataclass(frozen=True)
class View:
    """How a model sees the images of a set.

    batch: images per forward pass. condition, severity: weather rendered first, "" for none. resolution: short side in
    pixels; 0 for the preset's. windows: "single" for whole images, "sliding" for the paper's 512-pixel windows.
    """

    batch: int = 4
    condition: str = ""
    severity: int = 3
    resolution: int = 0
    windows: Literal["single", "sliding"] = "single"


PLAIN = View()


class EvaluationItems(Dataset):
    """(index, image at working size (3, h, w) uint8, label (H, W) uint8 at full size), or (index, why not, None).

    condition, severity: weather rendered first, seeded by the index. resolution: short side in pixels; 0 for the
    preset's. indices: which images of the set.
    """

    def __init__(
        self,
        dataset: SegmentationData,
        preset: config.Preset,
        condition: str,
        severity: int,
        resolution: int,
        indices: Sequence[int] | None = None,
        windows: str = "single",
    ):
        self.dataset, self.preset, self.resolution = dataset, preset, resolution or None
        self.condition, self.severity = condition, severity
        self.indices = range(len(dataset)) if indices is None else indices
        self.windows = windows
        if condition:  # say at once what is wrong with it
            weather.apply(np.zeros((32, 32, 3), np.uint8), condition, severity)
        network_size((preset.divisor,) * 2, preset, windows, self.resolution)  # says what is wrong with the resolution

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[int, Tensor | str, Tensor | None]:
        index = self.indices[place]
        try:
            picture, label = self.dataset[index]
        except (ValueError, OSError) as error:  # one bad file is no reason to lose the rest
            return index, str(error), None
        if self.condition:
            picture = weather.apply(picture, self.condition, self.severity, seed=index)
        size = network_size(picture.shape[:2], self.preset, self.windows, self.resolution)
        resized = images.resize(picture, *size)
        return index, torch.from_numpy(resized).permute(2, 0, 1), torch.from_numpy(label.copy())


def same_size_batches(
    items: Iterator[tuple[int, Tensor, Tensor]], batch: int
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Stack neighbours of equal size, at most `batch` of them: (indices, pixels, labels)."""
    for _, run in groupby(items, key=lambda item: (item[1].shape, item[2].shape)):
        held: list[tuple[int, Tensor, Tensor]] = []
        for item in run:
            held.append(item)
            if len(held) == batch:
                yield _stack(held)
                held = []
        if held:
            yield _stack(held)


def _stack(held: list[tuple[int, Tensor, Tensor]]) -> tuple[list[int], Tensor, Tensor]:
    return [i for i, _, _ in held], torch.stack([p for _, p, _ in held]), torch.stack([y for _, _, y in held])


def semantic_scores(
    model: MFuser, streams: Sequence[str], pixels: Tensor, windows: str, batch: int | None = None
) -> dict[str, Tensor]:
    """Class scores (B, K, h, w) float32 of every stream.

    pixels: (B, 3, H, W) float RGB on the device. windows: "single", or "sliding" for the paper's 512-pixel windows.
    batch: windows at once, all images' together; at least one of every image, which None stands for.
    """
    if windows == "sliding":
        return sliding_scores(lambda crops: semantic_scores(model, streams, crops, "single"), pixels, batch)
    embedded: dict[str, Any] = {}
    for name in dict.fromkeys(name for stream in streams for name in encoders_of(stream)):
        embedded |= model.embed(pixels, name)
    decoded = {s: model.decode(model.features(embedded, s), s) for s in streams}
    return {stream: out.semantic().float() for stream, out in decoded.items()}


@torch.no_grad()
def count_images(
    model: MFuser,
    streams: Sequence[str],
    dataset: SegmentationData,
    space: str,
    hardware: Hardware,
    view: View = PLAIN,
    processes: Processes | None = None,
    store: CountStore | None = None,
) -> tuple[dict[int, Counts], list[str]]:
    """Confusion counts of every image, by its index, and what was wrong with images that could not be read.

    space: key of `SPACES`; prediction and label are both mapped into it. store: of an evaluation that may be continued.
    Each of several processes takes its share, and all get the whole. The model is left in evaluation mode.
    Raises ValueError when the labels cannot be scored in the space, or for an unknown weather.
    """
    processes = processes or Processes()
    groups = SPACES[space]
    to_space, truth_table = CITYSCAPES.into(groups), dataset.groups.into(groups)
    crops = max(view.batch, BATCH.get(hardware.device.type, 1))  # windows at once, also of a single image
    model.eval()
    done = {} if store is None else store.read()
    if store is not None:
        processes.wait()  # nobody writes before all have read
    left = [i for i in range(len(dataset)) if i not in done]
    left = [left[i] for i in processes.share(len(left))]
    asked = view.condition, view.severity, view.resolution
    items = EvaluationItems(dataset, model.preset, *asked, left, view.windows)
    faults: list[str] = []
    own: dict[int, Counts] = {}
    if left:
        loader = DataLoader(items, **worker_options(min(hardware.workers, len(left), 8)))
        with tqdm(
            total=len(dataset),
            initial=len(done),
            desc=f"evaluate {dataset.name}{f' {view.condition} {view.severity}' if view.condition else ''}",
            leave=False,
            unit="img",
            mininterval=1,
            disable=not processes.writer,
        ) as progress:
            for indices, pixels, labels in same_size_batches(readable(loader, faults), view.batch):
                with hardware.autocast():
                    scores = semantic_scores(model, streams, pixels.to(hardware.device).float(), view.windows, crops)
                guesses = {s: upsampled_argmax(v.float(), labels.shape[-2:]).cpu().numpy() for s, v in scores.items()}
                for row, index in enumerate(indices):
                    truth = truth_table[labels[row].numpy()]
                    own[index] = {s: count_pairs(truth, to_space[g[row]], len(groups)) for s, g in guesses.items()}
                    if store is not None:
                        store.append(index, own[index])
                progress.update(len(pixels) * processes.count)
    told: list[str] = []
    for part, its_faults in processes.gather((own, faults)):
        done |= part
        told += its_faults
    return done, told


def total(streams: Sequence[str], space: str, counts: Mapping[int, Counts]) -> dict[str, ConfusionMatrix]:
    """Counts of images added up."""
    matrices = {stream: ConfusionMatrix(SPACES[space].names) for stream in streams}
    for image in counts.values():
        for stream, matrix in matrices.items():
            matrix.add(image[stream])
    return matrices


def readable(loader: DataLoader, faults: list[str]) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Items of `EvaluationItems` that could be read; what was wrong with others goes into `faults`."""
    for index, picture, label in items_of(loader):
        if label is None:
            faults.append(picture)
        else:
            yield index, picture, label


class CountStore:
    """Counts of finished images in a folder, one line each; every process appends to a file of its own."""

    def __init__(self, folder: Path, name: str, rank: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, name
        self.path = folder / f"{name}.{rank}.jsonl"
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):  # cut short: the line is lost
            with self.path.open("a") as file:
                file.write("\n")

    def read(self) -> dict[int, Counts]:
        """What all processes have stored; a line that a kill cut short is left out."""
        found: dict[int, Counts] = {}
        for path in sorted(self.folder.glob(f"{self.name}.*.jsonl")):
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue
                found[record["image"]] = {s: np.array(c, np.int64) for s, c in record["counts"].items()}
        return found

    def append(self, index: int, counts: Counts) -> None:
        """Store one image."""
        with self.path.open("a") as file:
            record = {"image": index, "counts": {s: c.tolist() for s, c in counts.items()}}
            file.write(json.dumps(record) + "\n")


def evaluate(
    model: MFuser,
    streams: Sequence[str],
    dataset: SegmentationData,
    space: str,
    hardware: Hardware,
    view: View = PLAIN,
    processes: Processes | None = None,
) -> dict[str, ConfusionMatrix]:
    """Score streams on a dataset; arguments and errors as of `scoring.count_images`."""
    counts, _ = count_images(model, streams, dataset, space, hardware, view, processes)
    return total(streams, space, counts)
