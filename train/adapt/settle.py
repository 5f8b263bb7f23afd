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

import torch
import tyro
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from mfuser.inference.segmenter import Segmenter
from mfuser.inference.windows import working_size
from mfuser.weights import tensors as tensors_module
from train.data import SegmentationData, open_dataset
from train.data.groups import LabelGroups
from train.runtime.hardware import choose_hardware
from train.runtime.model_options import StreamOptions


@dataclass(frozen=True)
class SettleConfig(StreamOptions):
    """Settle the members of label groups that the labels cannot tell apart, in the stream files of --weights."""

    # Folder of stream-*.safetensors, rewritten in place.
    weights: Path = Path("runs/nano")
    # Labelled photographs, [name:]ROOT[/split]; the training set.
    data: str = ""
    # At most so many photographs, spread over the set.
    limit: int = 12
    # Short side in pixels.
    resolution: int = 320


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(SettleConfig, args=list(argv), prog="python -m train settle")
    if not config.data:
        raise ValueError("No photographs: pass --data, for example --data camvid:PATH/train.")
    preset, streams = config.chosen_preset(), config.chosen_streams()
    hardware = choose_hardware(config.device, "float32", 0)
    data = open_dataset(config.data, "train", limit=config.limit)
    segmenter = Segmenter(config.load(streams, hardware), str(hardware.device))
    for stream in streams:
        order = settled_order(class_logits(segmenter, stream, data, config.resolution), data.groups)
        path = config.folder() / f"stream-{stream}.safetensors"
        tensors, (_, metadata) = load_file(path), tensors_module.load(path)
        for kind in ("weight", "bias"):
            name = f"heads.{stream}.query_decoder.cls_embed.{kind}"
            tensors[name] = tensors[name][order].contiguous()
        tensors_module.save(path, tensors, {**metadata, "preset": preset.name})
        renamed = [f"{preset.classes[k]} -> {preset.classes[i]}" for i, k in enumerate(order[:-1].tolist()) if i != k]
        print(f"{path}: {', '.join(renamed) or 'nothing to rename'}")


@torch.inference_mode()
def class_logits(segmenter: Segmenter, stream: str, data: SegmentationData, resolution: int) -> Tensor:
    """Last class logits of all queries, (N, K, K+1) float32 on the CPU, of N photographs at a short side in pixels."""
    found = []
    for index in tqdm(range(len(data)), desc=f"settle {stream}", leave=False):
        picture = data.image(index)
        pixels = segmenter.to_pixels(picture, working_size(picture.shape[:2], segmenter.model.preset, resolution))
        found.append(segmenter.model(pixels, stream).class_logits[-1].float().cpu())
    return torch.cat(found)


def settled_order(logits: Tensor, groups: LabelGroups) -> Tensor:
    """Find the order of the class head's rows.

    Args:
        logits: (N, K, K+1) of all queries.
        groups: in each the row to which the queries give most changes places with the representative's.

    Returns:
        (K+1,) int64: row i of the settled head is row order[i] of the old one.
    """
    order = torch.arange(logits.shape[-1])
    given = logits.softmax(-1).sum((0, 1))  # what all queries give each class
    for members, one in zip(groups.members, groups.representatives, strict=True):
        strongest = max(members, key=lambda m: float(given[m]))
        order[[one, strongest]] = order[[strongest, one]]
    return order
