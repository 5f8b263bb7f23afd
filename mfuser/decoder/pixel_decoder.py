"""Text-queried pixel decoder: Mask2Former's, with a cross-attention to the class texts in every layer."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.decoder.deformable_attention import MultiScaleDeformableAttention
from mfuser.decoder.pyramid import Upsampled


class PixelDecoder(nn.Module):
    """Pyramid and class texts in, multi-scale memories and full-resolution mask features out.

    in_channels: of every pyramid level. width: of the decoder. text_dim: C_t. classes: K. groups: of GroupNorm.
    """

    def __init__(
        self,
        in_channels: int,
        width: int = 256,
        text_dim: int = 768,
        classes: int = 19,
        layers: int = 6,
        heads: int = 8,
        ffn: int = 2048,
        points: int = 4,
        groups: int = 32,
        levels: int = 3,
    ):
        super().__init__()
        self.width = width
        self.input_convs = nn.ModuleList(ConvNorm(in_channels, width, 1, groups, bias=True) for _ in range(levels))
        self.level_encoding = nn.Embedding(levels, width)
        self.text_proj = nn.Linear(text_dim, width)
        self.text_pos_embed = nn.Embedding(classes, width)
        self.layers = nn.ModuleList(PixelDecoderLayer(width, heads, ffn, levels, points) for _ in range(layers))
        self.post_norm = nn.LayerNorm(width)
        self.lateral_conv = ConvNorm(in_channels, width, 1, groups)
        self.output_conv = ConvNorm(width, width, 3, groups)
        self.mask_feature = nn.Conv2d(width, width, 1)

    def forward(
        self, pyramid: list[Tensor | Upsampled], text: Tensor, mix: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """pyramid: 4 maps (B, C, h, w), finest (4g) first. text: (B, K, C_t), or (B, N, C_t) with mix: see `mixed`.

        Returns: memories, 3 maps (B, width, h, w), coarsest first; mask features (B, width, 4g, 4g).
        """
        maps = [conv(level) for conv, level in zip(self.input_convs, reversed(pyramid[1:]), strict=True)]
        sizes = [m.shape[-2:] for m in maps]
        query = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)  # (B, Q, C)
        pos = torch.cat(
            [
                sine_position(size, self.width, query.device) + level
                for size, level in zip(sizes, self.level_encoding.weight, strict=True)
            ]
        )[None]
        pos = pos.to(query.dtype) if query.is_cuda else pos  # or every sum with it would be float32
        reference = torch.cat([pixel_centres(size, query.device) for size in sizes])
        keys, places = self.text_proj(text), mixed(self.text_pos_embed.weight, mix)
        for layer in self.layers:
            query = layer(query, pos, reference, sizes, keys, places)
        memory = self.post_norm(query).split([h * w for h, w in sizes], dim=1)
        memories = [m.transpose(1, 2).unflatten(-1, tuple(size)) for m, size in zip(memory, sizes, strict=True)]
        fine = self.lateral_conv(pyramid[0]) + resized(memories[-1], pyramid[0].shape[-2:])
        return memories, self.mask_feature(F.relu(self.output_conv(fine)))


class PixelDecoderLayer(nn.Module):
    """Deformable self-attention, cross-attention to the texts, feed-forward; post-norm."""

    def __init__(self, width: int, heads: int, ffn: int, levels: int, points: int):
        super().__init__()
        self.self_attn = MultiScaleDeformableAttention(width, heads, levels, points)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ffn = FeedForward(width, ffn)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(
        self, x: Tensor, pos: Tensor, reference: Tensor, sizes: list[tuple[int, int]], text: Tensor, text_pos: Tensor
    ) -> Tensor:
        x = self.norms[0](self.self_attn(x, pos, reference, sizes))
        x = self.norms[1](x + self.cross_attn(x + pos, text + text_pos, text, need_weights=False)[0])
        return self.norms[2](self.ffn(x))


class FeedForward(nn.Module):
    """Two linear layers with ReLU and the residual added."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(F.relu(self.fc1(x)))


class ConvNorm(nn.Module):
    """Convolution and GroupNorm, 'same' size."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, groups: int, bias: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)
        self.gn = nn.GroupNorm(groups, out_channels)

    def forward(self, x: Tensor | Upsampled) -> Tensor:
        return self.gn(x.through(self.conv) if isinstance(x, Upsampled) else self.conv(x))


def resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """x (B, C, h, w) at another size, bilinear; on CUDA in its own dtype, where autocast would take float32."""
    with torch.autocast("cuda", enabled=False) if x.is_cuda else nullcontext():
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def mixed(rows: Tensor, mix: Tensor | None) -> Tensor:
    """One row for each of N names that were not trained: mix (N, K) of the trained rows (K, C); those for None."""
    if mix is None:
        return rows
    with torch.autocast(rows.device.type, enabled=False):  # a name that was trained keeps its very row
        return mix.to(rows.dtype) @ rows


def sine_position(size: tuple[int, int], width: int, device: torch.device, temperature: float = 1e4) -> Tensor:
    """Sine position embedding of a map, (h*w, width): first half of the channels for y, second for x.

    Rows and columns count from 1 and are normalised to 2 pi; sine and cosine alternate (Carion et al. 2020, DETR).
    """
    h, w = size
    half = width // 2
    frequency = temperature ** (2 * torch.div(torch.arange(half, device=device), 2, rounding_mode="floor") / half)

    def encode(n: int) -> Tensor:
        place = torch.arange(1, n + 1, device=device, dtype=torch.float32) / (n + 1e-6) * (2 * math.pi)
        angle = place[:, None] / frequency
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=-1).flatten(1)  # (n, half)

    y = encode(h)[:, None].expand(h, w, half)
    x = encode(w)[None].expand(h, w, half)
    return torch.cat([y, x], dim=-1).flatten(0, 1)


def pixel_centres(size: tuple[int, int], device: torch.device) -> Tensor:
    """Centres (x, y) of a map's cells in 0..1, (h*w, 2)."""
    h, w = size
    y = (torch.arange(h, device=device) + 0.5) / h
    x = (torch.arange(w, device=device) + 0.5) / w
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
