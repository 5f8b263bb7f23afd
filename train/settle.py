"""`python -m train settle`: which member of a label group a model names when nothing tells the members apart.

Labels like CamVid's say "vehicle", and the loss asks for any of car, truck, bus, train: which of them takes the
group's probability is then an accident of initialisation. Here the bias of the class head is shifted until, over the
photographs, the class that stands for the group takes at least a given share of what the queries give it. The other
members stay possible where a query favours them more than on the average photograph; the groups' own probabilities
hardly change.
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

from mfuser import checkpoint, presets
from mfuser.model import MFuser
from mfuser.segmenter import Segmenter, working_size
from train.data import SegmentationData, open_dataset
from train.data.groups import LabelGroups
from train.weights import load_model

ROUNDS = 30  # of the fixed-point iteration


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
    # Share of a group's probability that its representative takes on average.
    share: float = 0.9
    # At most so many photographs, spread over the set.
    limit: int = 60
    # Short side in pixels.
    resolution: int = 320

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"--share must lie between 0 and 1, got {self.share}.")


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(SettleConfig, args=list(argv), prog="python -m train settle")
    if not config.data:
        raise ValueError("No photographs: pass --data, for example --data camvid:PATH/train.")
    preset = presets.get(config.preset)
    streams = config.streams or preset.streams
    data = open_dataset(config.data, "train", limit=config.limit)
    model = load_model(preset, config.weights, streams)
    for stream in streams:
        logits = class_logits(model, stream, data, config.resolution)
        shift = group_shift(logits, data.groups, config.share)
        path = config.weights / f"stream-{stream}.safetensors"
        tensors, (_, metadata) = load_file(path), checkpoint.load(path)
        name = f"heads.{stream}.query_decoder.cls_embed.bias"
        tensors[name] = (tensors[name].float() + shift).to(tensors[name].dtype)
        checkpoint.save(path, tensors, {**metadata, "preset": preset.name, "settled": str(config.share)})
        moved = {preset.classes[k]: round(float(s), 2) for k, s in enumerate(shift[:-1]) if s}
        print(f"{path}: {moved}")


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


def group_shift(logits: Tensor, groups: LabelGroups, share: float) -> Tensor:
    """What to add to the class bias, (K+1,) float32; zero for groups of one class and for "no object".

    logits: (N, K, K+1). Members other than the representative end with at most an equal part of 1 - share each; they
    are only ever lowered, since lifting them would take probability from "no object".
    """
    shift = logits.new_zeros(logits.shape[-1])
    for members, one in zip(groups.members, groups.representatives, strict=True):
        if len(members) < 2:
            continue
        rest = [m for m in members if m != one]
        for _ in range(ROUNDS):
            mass = (logits + shift).softmax(-1)[..., list(members)].sum((0, 1))  # what all queries give each member
            part = dict(zip(members, (mass / mass.sum()).tolist(), strict=True))
            wanted = (1 - share) / len(rest)
            for m in rest:  # relative to the representative, whose bias stays
                step = np.log(wanted / max(part[m], 1e-9)) - np.log(share / max(part[one], 1e-9))
                shift[m] = min(0.0, float(shift[m]) + float(step))
    return shift
