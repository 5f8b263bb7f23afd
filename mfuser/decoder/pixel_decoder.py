"""Pixel decoder of Mask2Former (Cheng et al. 2022), with a cross-attention to the class texts in every layer."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.decoder.deformable_attention import MultiScaleDeformableAttention
from mfuser.decoder.pyramid import Upsampled


class PixelDecoder(nn.Module):
    """From the pyramid and class texts to multi-scale memories and full-resolution mask features.

    Args:
        in_channels: of every pyramid level.
        width: channels of the decoder.
        text_dim: channels C_t of the texts.
        classes: number K of trained classes.
        layers: number of layers.
        heads: of every attention.
        ffn: hidden channels of the feed-forward layers.
        points: that a head samples in a level.
        groups: of every GroupNorm.
        levels: of the pyramid that the layers read, the coarsest ones.
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
        """Decode a pyramid.

        Args:
            pyramid: 4 maps (B, C, h, w), finest (4g) first.
            text: (B, K, C_t), or (B, N, C_t) with `mix`.
            mix: (N, K) for N other names, see `mixed`.

        Returns:
            Memories, 3 maps (B, width, h, w), coarsest first. Mask features (B, width, 4g, 4g).
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
        """One layer.

        Args:
            x: (B, Q, C), levels one after the other.
            pos: (1, Q, C) positions.
            reference: (Q, 2) centres (x, y) in 0..1.
            sizes: (h, w) of each level.
            text: (B, K, C).
            text_pos: (K, C) positions of the texts.

        Returns:
            (B, Q, C).
        """
        x = self.norms[0](self.self_attn(x, pos, reference, sizes))
        x = self.norms[1](x + self.cross_attn(x + pos, text + text_pos, text, need_weights=False)[0])
        return self.norms[2](self.ffn(x))


class FeedForward(nn.Module):
    """Two linear layers with ReLU and the residual added."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., width) plus the output of the two layers."""
        return x + self.fc2(F.relu(self.fc1(x)))


class ConvNorm(nn.Module):
    """Convolution and GroupNorm, 'same' size."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, groups: int, bias: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)
        self.gn = nn.GroupNorm(groups, out_channels)

    def forward(self, x: Tensor | Upsampled) -> Tensor:
        """Convolve and normalise.

        Args:
            x: (B, C, h, w), or a level that is still to be upsampled.

        Returns:
            (B, out_channels, h, w) of the level's own size.
        """
        return self.gn(x.through(self.conv) if isinstance(x, Upsampled) else self.conv(x))


def resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """A map at another size, bilinear. On CUDA it keeps its dtype, where autocast would take float32.

    Args:
        x: (B, C, h, w).
        size: (height, width).
    """
    with torch.autocast("cuda", enabled=False) if x.is_cuda else nullcontext():
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def mixed(rows: Tensor, mix: Tensor | None) -> Tensor:
    """Rows for N names that were not trained.

    Args:
        rows: (K, C) trained rows.
        mix: (N, K) weights of the trained rows, or None for the trained rows themselves.

    Returns:
        (N, C), or (K, C) for None.
    """
    if mix is None:
        return rows
    with torch.autocast(rows.device.type, enabled=False):  # a name that was trained keeps its very row
        return mix.to(rows.dtype) @ rows


def sine_position(size: tuple[int, int], width: int, device: torch.device, temperature: float = 1e4) -> Tensor:
    """Sine position embedding of a map (Carion et al. 2020, DETR).

    Rows and columns count from 1 and are normalised to 2 pi. Sine and cosine alternate.

    Args:
        size: (h, w).
        width: channels. The first half is for y, the second for x.
        device: of the result.
        temperature: largest wavelength factor.

    Returns:
        (h*w, width) float32.
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
    """Centres of the cells of a map.

    Args:
        size: (h, w).
        device: of the result.

    Returns:
        (h*w, 2) float32 (x, y) in 0..1.
    """
    h, w = size
    y = (torch.arange(h, device=device) + 0.5) / h
    x = (torch.arange(w, device=device) + 0.5) / w
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
