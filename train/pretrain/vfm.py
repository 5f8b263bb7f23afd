"""VFM stage: self-distillation without labels.

Student and moving-average teacher see different crops. The student's cls token predicts the teacher's prototypes of
the other views (DINO, Caron et al. 2021), its masked patches the teacher's prototypes there (iBOT, Zhou et al. 2022),
with Sinkhorn-Knopp balancing (Caron et al. 2020). A third term keeps locality: the last tokens must still spell out the
trunk's features of every stride, down to the sub-pixels of stride 4.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.encoders.nano import STAGES, NanoVision
from mfuser.model import MFuser
from train.pretrain.crops import gather, random_colours, random_crops, take
from train.pretrain.runner import RunConfig, run
from train.pretrain.trunk import Teacher, start_trunk, train_but_batch_norm

OUTPUT = "encoder-vfm.safetensors"
CONFIG = RunConfig(iterations=3000, batch=48, lr=5e-4, trunk_lr=0.1)
GLOBAL, LOCAL = (2, 224, (0.5, 1.0)), (4, 96, (0.15, 0.45))  # crops: how many, pixels, share of the height
PROTOTYPES = 2048
TEACHER_TEMPERATURE, STUDENT_TEMPERATURE = 0.06, 0.1
MASKED = 0.4  # share of the student's patches
MOMENTUM = 0.994


class PrototypeHead(nn.Module):
    """MLP to unit vectors, cosine with prototypes."""

    def __init__(self, width: int, hidden: int = 768, bottleneck: int = 192):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, bottleneck))
        self.prototypes = nn.Parameter(torch.randn(PROTOTYPES, bottleneck))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(self.prototypes, dim=-1))


class Learner(nn.Module):
    """Encoder with its heads; the teacher is a copy."""

    def __init__(self, encoder: NanoVision):
        super().__init__()
        self.encoder = encoder
        self.cls_head, self.patch_head = PrototypeHead(encoder.width), PrototypeHead(encoder.width)

    def forward(
        self, pixels: Tensor, mask: Tensor | None = None, mask_token: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Normed cls (B, C) and patch tokens (B, L, C). mask: (B, h, w) bool, replaced by mask_token before block 0."""
        cells = self.encoder.cells(pixels)
        if mask is not None:
            cells = torch.where(mask[:, None], mask_token.to(cells.dtype)[:, None, None], cells)
        tokens, grid = self.encoder.with_positions(cells)
        for i in range(self.encoder.depth):
            tokens = self.encoder.block(i, tokens, grid)
        tokens = self.encoder.norm(tokens)
        return tokens[:, 0], tokens[:, 1:]


class Extras(nn.Module):
    """What only pre-training needs: the mask token and the read-out of the trunk's features."""

    def __init__(self, width: int):
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.readout = nn.Linear(width, sum(c * max(1, 16 // s) ** 2 for s, (_, c) in STAGES.items()))


def train(model: MFuser, data: list[str], out: Path, config: RunConfig) -> dict[str, Tensor]:
    """Self-distil the VFM of `model` on unlabelled photographs; returns the encoder's tensors (the teacher's)."""
    pictures, _, _ = gather(data, config.device, labelled=False)
    start_trunk(model.vfm.trunk)
    student = train_but_batch_norm(Learner(model.vfm)).to(config.device)
    teacher = copy.deepcopy(student).requires_grad_(False).eval()
    extras, imagenet = Extras(model.vfm.width).to(config.device), Teacher().to(config.device)

    def step(i: int, generator: torch.Generator) -> dict[str, Tensor]:
        chosen = pictures[take(len(pictures), config.batch, generator, pictures.device)]

        def views(kind: tuple) -> tuple[Tensor, Tensor]:
            count, size, scale = kind
            plain, _ = random_crops(chosen.repeat(count, 1, 1, 1), size, scale, generator)
            return plain, random_colours(plain, generator)

        (plain, wide), (_, narrow) = views(GLOBAL), views(LOCAL)
        side = GLOBAL[1] // 16
        mask = block_mask(len(wide), side, generator, wide.device)
        with torch.no_grad():
            cls, patches = teacher(wide)
            cls_target = sinkhorn(teacher.cls_head(cls))  # (2N, P)
            patch_target = sinkhorn(teacher.patch_head(patches[mask.flatten(1)]))
            features = stacked_features(imagenet(plain))
        student_cls, student_patches = student(wide, mask, extras.mask_token)
        narrow_cls, _ = student(narrow)
        wide_logits, narrow_logits = student.cls_head(student_cls), student.cls_head(narrow_cls)
        other = cls_target.roll(config.batch, 0)  # the other wide view of the same photograph
        both = (cls_target[: config.batch] + cls_target[config.batch :]) / 2
        dino = (cross_entropy(wide_logits, other) + 2 * cross_entropy(narrow_logits, both.repeat(LOCAL[0], 1))) / 3
        ibot = cross_entropy(student.patch_head(student_patches[mask.flatten(1)]), patch_target)
        local = F.smooth_l1_loss(extras.readout(student_patches).float(), features)
        return {"dino": dino, "ibot": ibot, "locality": 2 * local}

    @torch.no_grad()
    def after(i: int) -> None:
        momentum = min(MOMENTUM, 1 - 1 / (i + 2))
        for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.lerp_(theirs, 1 - momentum)

    run({"student": student, "extras": extras, "teacher": teacher}, step, config, after)
    return teacher.encoder.state_dict()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over rows of -sum target log softmax(logits / temperature)."""
    return -(target * F.log_softmax(logits.float() / STUDENT_TEMPERATURE, dim=-1)).sum(-1).mean()


def sinkhorn(logits: Tensor, rounds: int = 3) -> Tensor:
    """Balanced soft assignment of rows (N, P) to prototypes: all get the same mass, every row sums to 1."""
    q = torch.exp((logits.float() - logits.max()) / TEACHER_TEMPERATURE)
    for _ in range(rounds):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-12)
        q = q / q.sum(1, keepdim=True).clamp_min(1e-12)
    return q


def block_mask(count: int, side: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Masks (count, side, side) bool whose masked cells cluster: noise, smoothed, its largest values masked."""
    noise = torch.rand(count, 1, side, side, generator=generator, device=device)
    smooth = F.avg_pool2d(noise, 3, stride=1, padding=1).flatten(1)
    threshold = smooth.quantile(1 - MASKED, dim=1, keepdim=True)
    return (smooth > threshold).view(count, side, side)


def stacked_features(maps: dict[int, Tensor]) -> Tensor:
    """All strides brought to stride 16 and standardised over the batch, (B, L, sum of channels)."""
    grid = maps[16].shape[-2:]
    parts = [F.pixel_unshuffle(maps[s], 16 // s) for s in (4, 8)]
    parts += [maps[16], F.interpolate(maps[32].float(), size=grid, mode="bilinear", align_corners=False)]
    x = torch.cat([p.float() for p in parts], dim=1).flatten(2).transpose(1, 2)
    return (x - x.mean((0, 1))) / x.std((0, 1)).clamp_min(1e-4)
