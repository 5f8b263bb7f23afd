"""Losses of the released code, for labels that may name groups of classes.

With one class per group every term is the released one. Terms are computed for all predictions at once, in float32
also under autocast. What each sum is divided by, over parts and processes, stands in `normalisers.py`.

Letters of shapes: P predictions (before and after each decoder layer), B samples, K classes and queries, G groups, M
matched masks, N points.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser.cityscapes import IGNORE
from train.data.targets import Targets
from train.fit.normalisers import Normalisers
from train.fit.point_sampling import PointSampling, sample


@dataclass(frozen=True)
class LossWeights:
    """Factors of the loss terms as released, and the points of the mask losses."""

    cls: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    seg: float = 1.0
    sampling: PointSampling = field(default_factory=PointSampling)


def compute_losses(
    class_logits: list[Tensor],
    mask_logits: list[Tensor],
    score_logits: Tensor | None,
    targets: Targets,
    weights: LossWeights | None = None,
    generator: torch.Generator | None = None,
    norm: Normalisers | None = None,
) -> dict[str, Tensor]:
    """Every loss term; the sum of all is minimised.

    Args:
        class_logits: P x (B, K, K+1).
        mask_logits: P x (B, K, h, w).
        score_logits: (B, K, g, g), the score map over its temperature, or None.
        targets: of the same samples, on the device of the logits.
        weights: factors and points; None for the released ones.
        generator: of the sampled points, on the device of the logits; None for torch's own.
        norm: what the sums are divided by, where these samples are a part of the step's; None when they are all.

    Returns:
        Scalars, float32, named as released: `decode.d0.loss_cls` (before any decoder layer), ..., `decode.loss_dice`
        (last prediction), `scr_map.loss_seg`.
    """
    weights = weights or LossWeights()
    norm = norm or Normalisers.of(targets)
    with torch.autocast(class_logits[0].device.type, enabled=False):
        cls = weights.cls * class_loss(torch.stack(class_logits).float(), targets, norm)
        mask, dice = mask_losses(mask_logits, targets, weights.sampling, generator, norm)
        by_kind = {"cls": cls, "mask": weights.mask * mask, "dice": weights.dice * dice}
        last = len(class_logits) - 1
        terms = {
            f"decode.{'' if p == last else f'd{p}.'}loss_{kind}": values[p]
            for p in (last, *range(last))
            for kind, values in by_kind.items()
        }
        if score_logits is not None:
            terms["scr_map.loss_seg"] = weights.seg * alignment_loss(score_logits.float(), targets, norm)
    return terms


def class_loss(logits: Tensor, targets: Targets, norm: Normalisers | None = None) -> Tensor:
    """Weighted cross-entropy of the queries, where any member of a group is a right answer.

    Args:
        logits: (P, B, K, K+1) float32; the last class is "no object".
        targets: of the same samples.
        norm: its `weights` divide the sum; None for those of `targets`.

    Returns:
        (P,) float32.
    """
    right = logits.log_softmax(-1).masked_fill(~targets.classes, -torch.inf).logsumexp(-1)  # (P, B, K)
    return -(right * targets.weights).sum((1, 2)) / (norm or Normalisers.of(targets)).weights


def mask_losses(
    mask_logits: list[Tensor],
    targets: Targets,
    sampling: PointSampling,
    generator: torch.Generator | None = None,
    norm: Normalisers | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice between the matched queries' masks and the binary masks of their groups, at points.

    Args:
        mask_logits: P x (B, K, h, w).
        targets: of the same samples; `matched` says which query draws which group.
        sampling: chooses the points.
        generator: of the points; None for torch's own.
        norm: its `masks` divide the sums; None for those of `targets`.

    Returns:
        Cross-entropy and dice loss, (P,) float32 each; 0 when nothing is matched.
    """
    b, k, g = targets.matched.unbind(1)
    logits = torch.stack([m[b, k].float() for m in mask_logits])  # (P, M, h, w)
    if len(b) == 0:
        nothing = torch.stack([m.float().sum() * 0 for m in mask_logits])
        return nothing, nothing
    truth = (targets.labels[b] == g[:, None, None]).float()  # (M, H, W)
    p, m = logits.shape[:2]
    points = sampling.draw(logits, generator)  # (P, M, N, 2)
    drawn = sample(logits.flatten(0, 1), points.flatten(0, 1)).view(p, m, -1)  # (P, M, N)
    labels = sample(truth, points.transpose(0, 1).flatten(1, 2)).view(m, p, -1).transpose(0, 1)  # (P, M, N)
    cross_entropy = F.binary_cross_entropy_with_logits(drawn, labels, reduction="none").mean(2)
    share = drawn.sigmoid()
    overlap = (2 * (share * labels).sum(-1) + 1) / (share.sum(-1) + labels.sum(-1) + 1)  # (P, M)
    masks = (norm or Normalisers.of(targets)).masks
    return cross_entropy.sum(1) / masks, (1 - overlap).sum(1) / masks


def alignment_loss(logits: Tensor, targets: Targets, norm: Normalisers | None = None) -> Tensor:
    """Pixel-text cross-entropy of the score map, upsampled to the labels.

    A pixel's probability is the sum over its group; classes that the label set cannot name take no part. The mean runs
    over all pixels, ignored ones included, as released.

    Args:
        logits: (B, K, g, g) float32, the score map over its temperature.
        targets: of the same samples.
        norm: its `pixels` divide the sum; None for those of `targets`.

    Returns:
        Scalar, float32.
    """
    full = F.interpolate(logits, size=targets.labels.shape[-2:], mode="bilinear", align_corners=False)
    known = targets.members.any(1)[..., None, None]  # (B, K, 1, 1)
    likely = full.masked_fill(~known, -torch.inf).log_softmax(1)
    batch, size = targets.members.shape[:2]
    valid = targets.labels != IGNORE
    everything = targets.members.new_ones(batch, 1, targets.members.shape[2])
    table = torch.cat([targets.members, everything], dim=1)  # (B, G+1, K); the last row is for ignored pixels
    group = torch.where(valid, targets.labels.long(), size)
    sample_index = torch.arange(batch, device=group.device)[:, None, None]
    members = table[sample_index, group].movedim(-1, 1)  # (B, K, H, W)
    right = likely.masked_fill(~members, -torch.inf).logsumexp(1)
    return -(right * valid).sum() / (norm or Normalisers.of(targets)).pixels
