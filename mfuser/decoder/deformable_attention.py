"""Multi-scale deformable attention (Zhu et al. 2021, "Deformable DETR", equation 3) in plain torch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.ops import fused_steps


class MultiScaleDeformableAttention(nn.Module):
    """Every query samples a few points in every level of the pyramid and mixes them.

    Args:
        width: channels.
        heads: of the attention.
        levels: of the pyramid.
        points: that a head samples in a level.
    """

    def __init__(self, width: int, heads: int = 8, levels: int = 3, points: int = 4):
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self._init_weights()

    def _init_weights(self) -> None:
        """Heads start looking in evenly spread directions, point p at p steps; uniform weights."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)  # (heads, 2)
        steps = torch.arange(1, self.points + 1).view(1, 1, -1, 1)
        bias = direction.view(-1, 1, 1, 2).expand(-1, self.levels, self.points, -1) * steps
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(bias.flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, pos: Tensor, reference: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
        """Self-attention over a flattened pyramid.

        Args:
            query: (B, Q, C), levels one after the other.
            pos: (B or 1, Q, C). It is added where offsets and weights are predicted, not to the values.
            reference: (Q, 2) centres (x, y) of the queries in 0..1.
            sizes: (h, w) of each level.

        Returns:
            (B, Q, C), the residual added.
        """
        placed = query + pos
        offsets, logits = self.sampling_offsets(placed), self.attention_weights(placed)
        mixed = sample(self.value_proj(query), offsets, logits, reference, sizes, self.heads)
        return self.output_proj(mixed.to(query.dtype)) + query


def sample_plain(
    value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor, sizes: list[tuple[int, int]], heads: int
) -> Tensor:
    """Every query's mix of points in the maps of all levels: bilinear, zero outside.

    Args:
        value: (B, cells, C), levels one after the other, heads side by side.
        offsets: (B, Q, heads * levels * points * 2), x before y, in cells of the level.
        logits: (B, Q, heads * levels * points). Their softmax over the points of a head mixes the points.
        reference: (Q, 2) centres (x, y) of the queries in 0..1.
        sizes: (h, w) of each level.
        heads: of the attention.

    Returns:
        (B, Q, C).
    """
    (b, q, _), levels = offsets.shape, len(sizes)
    # Points before queries: the long axis comes last, where softmax, sampling and mixing run contiguously.
    weights = logits.transpose(1, 2).reshape(b * heads, -1, q).softmax(1)
    weights = weights.unflatten(1, (levels, -1)).unsqueeze(1)  # (B*heads, 1, levels, points, Q)
    offsets = offsets.view(b, q, heads, levels, -1, 2)
    offsets = offsets.permute(0, 2, 3, 4, 1, 5).flatten(0, 1)  # (B*heads, levels, points, Q, 2)
    # Offsets are in cells of the level sampled; grid_sample counts from -1 to 1.
    cell = 2 / reference.new_tensor([(w, h) for h, w in sizes])[:, None, None]  # (levels, 1, 1, 2)
    # In float32 also beside bfloat16 maps, whose 8 bits of a place would be a quarter of a cell.
    grids = torch.addcmul(2 * reference.float() - 1, offsets.float(), cell.float())
    mixed = 0
    for level, part in enumerate(value.split([h * w for h, w in sizes], dim=1)):
        h, w = sizes[level]
        maps = part.transpose(1, 2).reshape(b * heads, -1, h, w)  # (B*heads, C/heads, h, w)
        sampled = F.grid_sample(maps.float(), grids[:, level], padding_mode="zeros", align_corners=False)
        mixed = mixed + (sampled * weights[:, :, level].float()).sum(2)  # (B*heads, C/heads, Q)
    return mixed.reshape(b, -1, q).transpose(1, 2)


def _sample_examples(device: torch.device) -> list[tuple]:
    sizes, heads, points = [(3, 4), (6, 8)], 2, 3
    shapes = (2, 60, 48), (2, 60, heads * 2 * points * 2), (2, 60, heads * 2 * points)
    value, offsets, logits = fused_steps.example_values(device, *shapes)
    return [(value, 2 * offsets, logits, torch.linspace(0, 1, 120, device=device).view(60, 2), sizes, heads)]


sample = fused_steps.Kernel("sample", sample_plain, _sample_examples)
fused_steps.KERNELS.append(sample)
