"""`python -m train settle`: which member of a label group a model names.

Labels like CamVid's say "vehicle", and the loss asks for any of car, truck, bus, train: which row of the class head
comes to stand for the group is then an accident of initialisation. Here that row changes places with the row of the
class that names the group. Every probability stays what it was, only under another name, so scores in the space of the
groups do not change at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from mfuser import presets
from mfuser.inference.segmenter import Segmenter
from mfuser.inference.windows import working_size
from mfuser.loading import MFuser
from mfuser.weights import tensors as tensors_module
from train.data import SegmentationData, open_dataset
from train.data.groups import LabelGroups
from train.runtime.weights import load_model, weights_folder


@dataclass(frozen=True)
class SettleConfig:
    """Settle the members of label groups that the labels cannot tell apart."""

    # Labelled photographs, [name:]ROOT[/split]; the training set.
    data: str = ""
    # Which preset.
    preset: str = "nano"
    # Folder of stream-*.safetensors, rewritten in place.
    weights: Path = Path("runs/nano")
    # Which streams; default: all that the preset has.
    streams: tuple[Literal["fused", "vfm", "vlm"], ...] = ()
    # At most so many photographs, spread over the set.
    limit: int = 12
    # Short side in pixels.
    resolution: int = 320


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(SettleConfig, args=list(argv), prog="python -m train settle")
    if not config.data:
        raise ValueError("No photographs: pass --data, for example --data camvid:PATH/train.")
    preset = presets.get(config.preset)
    streams = config.streams or preset.streams
    data = open_dataset(config.data, "train", limit=config.limit)
    folder = weights_folder(config.weights)
    model = load_model(preset, folder, streams)
    for stream in streams:
        order = settled_order(class_logits(model, stream, data, config.resolution), data.groups)
        path = folder / f"stream-{stream}.safetensors"
        tensors, (_, metadata) = load_file(path), tensors_module.load(path)
        for kind in ("weight", "bias"):
            name = f"heads.{stream}.query_decoder.cls_embed.{kind}"
            tensors[name] = tensors[name][order].contiguous()
        tensors_module.save(path, tensors, {**metadata, "preset": preset.name})
        renamed = [f"{preset.classes[k]} -> {preset.classes[i]}" for i, k in enumerate(order[:-1].tolist()) if i != k]
        print(f"{path}: {', '.join(renamed) or 'nothing to rename'}")


@torch.inference_mode()
def class_logits(model: MFuser, stream: str, data: SegmentationData, resolution: int) -> Tensor:
    """Last class logits of all queries, (N, K, K+1) float32."""
    segmenter = Segmenter(model)
    found = []
    for index in tqdm(range(len(data)), desc=f"settle {stream}", leave=False):
        picture: np.ndarray = data.image(index)
        pixels = segmenter.to_pixels(picture, working_size(picture.shape[:2], model.preset, resolution))
        found.append(model(pixels, stream).class_logits[-1])
    return torch.cat(found)


def settled_order(logits: Tensor, groups: LabelGroups) -> Tensor:
    """Order of the class head's rows, (K+1,) int64: row i of the settled head is row order[i] of the old one.

    logits: (N, K, K+1). In every group the row to which the queries give most changes places with the representative's.
    """
    order = torch.arange(logits.shape[-1])
    given = logits.softmax(-1).sum((0, 1))  # what all queries give each class
    for members, one in zip(groups.members, groups.representatives, strict=True):
        strongest = max(members, key=lambda m: float(given[m]))
        order[[one, strongest]] = order[[strongest, one]]
    return order
