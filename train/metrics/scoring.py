"""Images through a model, confusion counts out: image by image, so that an evaluation can be continued and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from mfuser.config import encoders_of
from mfuser.inference.masks import upsampled_argmax
from mfuser.inference.segmenter import BATCH
from mfuser.inference.windows import sliding_scores
from mfuser.loading import MFuser
from train.data import SegmentationData
from train.data.batches import worker_options
from train.data.groups import CITYSCAPES, SPACES
from train.metrics.confusion import ConfusionMatrix, count_pairs
from train.metrics.count_store import Counts, CountStore
from train.metrics.items import EvaluationItems, View, readable, same_size_batches
from train.runtime.distributed import Processes
from train.runtime.hardware import Hardware

PLAIN = View()


def semantic_scores(
    model: MFuser, streams: Sequence[str], pixels: Tensor, windows: str, batch: int | None = None
) -> dict[str, Tensor]:
    """Class scores of several streams.

    Args:
        model: on the device of `pixels`.
        streams: "fused", "vfm", "vlm"; each encoder runs once for all of them.
        pixels: (B, 3, H, W) float RGB 0..255.
        windows: "single", or "sliding" for the paper's windows of 512 pixels.
        batch: windows at once, all images' together; at least one of every image, which None stands for.

    Returns:
        {stream: (B, K, h, w) float32}.
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
    """Confusion counts of every image of a set.

    Args:
        model: on the device of `hardware`; left in evaluation mode.
        streams: "fused", "vfm", "vlm".
        dataset: labelled photographs.
        space: key of `SPACES`; prediction and label are both mapped into it.
        hardware: device, precision and loading processes.
        view: how the model sees the images.
        processes: each takes its share, and all get the whole; None for a single one.
        store: of an evaluation that may be continued.

    Returns:
        Counts by index, and what is wrong with each image that could not be read.

    Raises:
        ValueError: the labels cannot be scored in the space, or the weather is unknown.
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
    shown = view.condition, view.severity, view.resolution
    loader = DataLoader(
        EvaluationItems(dataset, model.preset, *shown, left, view.windows),
        **worker_options(min(hardware.workers, len(left), 8)),
    )
    own: dict[int, Counts] = {}
    own_faults: list[str] = []
    with tqdm(
        total=len(dataset),
        initial=len(done),
        desc=f"evaluate {dataset.name}{f' {view.condition} {view.severity}' if view.condition else ''}",
        leave=False,
        unit="img",
        mininterval=1,
        disable=not processes.writer or not left,
    ) as progress:
        for indices, pixels, labels in same_size_batches(readable(loader, own_faults), view.batch):
            with hardware.autocast():
                scores = semantic_scores(model, streams, pixels.to(hardware.device).float(), view.windows, crops)
            guesses = {s: upsampled_argmax(v.float(), labels.shape[-2:]).cpu().numpy() for s, v in scores.items()}
            for row, index in enumerate(indices):
                truth = truth_table[labels[row].numpy()]
                own[index] = {s: count_pairs(truth, to_space[g[row]], len(groups)) for s, g in guesses.items()}
                if store is not None:
                    store.append(index, own[index])
            progress.update(len(pixels) * processes.count)
    faults: list[str] = []
    for part, its_faults in processes.gather((own, own_faults)):
        done |= part
        faults += its_faults
    return done, faults


def total(streams: Sequence[str], space: str, counts: Mapping[int, Counts]) -> dict[str, ConfusionMatrix]:
    """Counts of images added up, {stream: matrix in the groups of `SPACES[space]`}."""
    matrices = {stream: ConfusionMatrix(SPACES[space].names) for stream in streams}
    for image in counts.values():
        for stream, matrix in matrices.items():
            matrix.add(image[stream])
    return matrices


def evaluate(
    model: MFuser,
    streams: Sequence[str],
    dataset: SegmentationData,
    space: str,
    hardware: Hardware,
    view: View = PLAIN,
    processes: Processes | None = None,
) -> dict[str, ConfusionMatrix]:
    """Score streams on a set, {stream: matrix}. Arguments and errors are those of `count_images`."""
    counts, _ = count_images(model, streams, dataset, space, hardware, view, processes)
    return total(streams, space, counts)
