"""VFM stage: dense distillation without labels, from a picture twice as large and in clear weather.

An ImageNet-trained network sees a crop at twice the student's resolution; every patch token of the student must spell
out what the network finds there: its own stride-32 feature (four times as many of them as at the student's size, so
what things are becomes known four times as finely), the 2 x 2 of stride 16 and the 4 x 4 of stride 8. The student sees
the same crop in other colours, often softer, and often in rendered fog, rain, snow or night, which must not change the
answer. The shipped weights are the moving average of the student.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.encoders.nano import TRUNKS
from mfuser.loading import MFuser
from train.pretrain.crops import gather, random_colours, random_crops, random_softness, take, weathered, with_weather
from train.pretrain.trunk import Teacher, start_trunk, tokens_of, train_but_batch_norm
from train.runtime.training_steps import RunConfig, run

OUTPUT = "encoder-vfm.safetensors"
CONFIG = RunConfig(iterations=3000, batch=48, lr=5e-4, trunk_lr=0.2)
CROP, SCALE = 256, (0.35, 1.0)  # pixels of the student, and the crop's share of the picture's height
LARGER = 2  # the teacher's pixels in each of the student's
TEACHER = "lite2"
STRIDES = (8, 16, 32)  # of the teacher
IN_WEATHER = 0.5  # share of the student's pictures
MOMENTUM = 0.998


class Readout(nn.Module):
    """What only pre-training needs: linear layers from tokens to the teacher's features at every stride.

    Args:
        width: of the tokens.
        patch: of the student, in pixels.
        size: of the teacher, a key of `TRUNKS`.
    """

    def __init__(self, width: int, patch: int, size: str = TEACHER):
        super().__init__()
        channels = {s: TRUNKS[size][s] * (LARGER * patch // s) ** 2 for s in STRIDES}
        self.patches = nn.ModuleDict({str(s): nn.Linear(width, c) for s, c in channels.items()})
        self.whole = nn.Linear(width, TRUNKS[size][max(STRIDES)])

    def forward(self, tokens: Tensor, targets: dict[int, Tensor]) -> dict[str, Tensor]:
        """Loss terms of tokens (B, 1 + L, C) against what `targets_of` gives."""
        terms = {
            f"stride {s}": F.smooth_l1_loss(self.patches[str(s)](tokens[:, 1:]).float(), targets[s]) for s in STRIDES
        }
        whole = standardised(targets[max(STRIDES)].mean(1))
        return terms | {"whole": 0.5 * F.smooth_l1_loss(self.whole(tokens[:, 0]).float(), whole)}


def train(model: MFuser, data: list[str], out: Path, config: RunConfig) -> dict[str, Tensor]:
    """Distil into the VFM of `model` on unlabelled photographs.

    Args:
        model: changed in place.
        data: `--data` arguments.
        out: not used.
        config: settings.

    Returns:
        The encoder's tensors, their moving average.

    Raises:
        ValueError: there are no photographs, a package is not installed, or a stored state does not fit.
    """
    pictures, _, _ = gather(data, labelled=False)
    in_weather, pictures = weathered(pictures, config.seed).to(config.device), pictures.to(config.device)
    start_trunk(model.vfm.trunk)
    student = train_but_batch_norm(model.vfm).to(config.device)
    average = copy.deepcopy(student).requires_grad_(False).eval()
    readout = Readout(student.width, student.patch).to(config.device)
    teacher = Teacher(TEACHER).to(config.device)

    def step(i: int, generator: torch.Generator) -> dict[str, Tensor]:
        chosen = take(len(pictures), config.batch, generator, pictures.device)
        both = with_weather(pictures[chosen], in_weather[chosen], IN_WEATHER, generator)
        both, _ = random_crops(both, LARGER * CROP, SCALE, generator)  # six channels: the very same crop
        clear, seen = both.split(3, dim=1)
        seen = random_softness(F.avg_pool2d(seen, LARGER), generator)
        seen = random_colours(seen, generator)
        return readout(tokens_of(student, seen)[0], targets_of(teacher, clear, student.patch))

    @torch.no_grad()
    def after(i: int) -> None:
        momentum = min(MOMENTUM, 1 - 1 / (i + 2))
        for mine, theirs in zip(average.parameters(), student.parameters(), strict=True):
            mine.lerp_(theirs, 1 - momentum)

    run({"student": student, "readout": readout, "average": average}, step, config, after)
    return average.state_dict()


def targets_of(teacher: Teacher, pixels: Tensor, patch: int) -> dict[int, Tensor]:
    """The teacher's features, gathered by patch of the student.

    Args:
        teacher: the network.
        pixels: (B, 3, H, W) float 0..255.
        patch: of the student, in its own pixels. `LARGER * patch` is a multiple of every stride.

    Returns:
        (B, L, C) by stride. Channels are standardised over the batch.
    """
    maps = teacher(pixels)
    cells = {s: F.pixel_unshuffle(maps[s].float(), LARGER * patch // s) for s in STRIDES}
    return {s: standardised(x.flatten(2).transpose(1, 2)) for s, x in cells.items()}


def standardised(x: Tensor) -> Tensor:
    """(..., C) with mean 0 and deviation 1 of every channel."""
    rows = x.flatten(0, -2)
    return (x - rows.mean(0)) / rows.std(0).clamp_min(1e-4)
