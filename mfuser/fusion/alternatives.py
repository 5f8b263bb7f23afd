"""The adapters that the paper compares MVFuser with (Tables 3 and 4). `FusionConfig.kind` chooses one.

An adapter takes the tokens of both encoders, one after the other, and returns the offsets to add to them. Where the
paper gives no detail, the docstring says which usual structure was taken. All start with small offsets, because a
learned scale multiplies the output.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.config import FusionConfig
from mfuser.fusion.mvfuser import MVFuser

Grid = tuple[int, int]


class Adapter(nn.Module):
    """Interface of the adapters. Subclasses implement `offsets`.

    The scale and the dropout of MVFuser's output apply to all.

    Args:
        width: channels C of the tokens.
        config: of the fusion.
    """

    def __init__(self, width: int, config: FusionConfig):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(config.init_scale))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, lengths: tuple[int, int], grid: Grid) -> Tensor:
        """The offsets to add to the tokens.

        Args:
            tokens: (B, L_d + L_v, C), those of the VFM first.
            lengths: (L_d, L_v).
            grid: (h, w) of the patches, which are the last h*w tokens of each encoder. Class tokens come before them.

        Returns:
            (B, L_d + L_v, C).
        """
        vfm, vlm = tokens.split(lengths, dim=1)
        return self.scale * self.dropout(torch.cat(self.offsets(vfm, vlm, grid), dim=1))

    def offsets(self, vfm: Tensor, vlm: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """The offsets before dropout and scale.

        Args:
            vfm: (B, L_d, C) tokens.
            vlm: (B, L_v, C) tokens.
            grid: (h, w) of the patches, the last h*w tokens of each.

        Returns:
            (B, L_d, C) and (B, L_v, C).
        """
        raise NotImplementedError


class Attention(nn.Module):
    """Multi-head attention, heads of 64 channels where the width allows."""

    def __init__(self, width: int):
        super().__init__()
        self.heads = heads_of(width)
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Attention of `query` over `memory`.

        Args:
            query: (B, L, C).
            memory: (B, M, C).

        Returns:
            (B, L, C).
        """
        inputs = ((self.q_proj, query), (self.k_proj, memory), (self.v_proj, memory))
        q, k, v = (proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for proj, x in inputs)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class SelfAttention(Adapter):
    """Table 3, "self-attn (concat.)": all tokens of both encoders attend to each other."""

    def __init__(self, width: int, config: FusionConfig):
        super().__init__(width, config)
        self.attention = Attention(width)

    def offsets(self, vfm: Tensor, vlm: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """See `Adapter.offsets`."""
        tokens = torch.cat([vfm, vlm], dim=1)
        return self.attention(tokens, tokens).split([vfm.shape[1], vlm.shape[1]], dim=1)


class SeparateAttention(Adapter):
    """Table 3, "self-attn (separate)": each encoder's tokens attend to the other's, with weights of their own."""

    def __init__(self, width: int, config: FusionConfig):
        super().__init__(width, config)
        self.to_vfm, self.to_vlm = Attention(width), Attention(width)

    def offsets(self, vfm: Tensor, vlm: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """See `Adapter.offsets`."""
        return self.to_vfm(vfm, vlm), self.to_vlm(vlm, vfm)


class DeformableAttention(Adapter):
    """Table 3, "bi-deform-attn": every token samples a few points in the map of the other encoder.

    This is Deformable DETR's module (Zhu et al. 2021, equation 2) with one level, 4 points a head and heads of 64
    channels. Both directions share one set of weights: the FLOPs and parameters that the paper reports need every
    parameter to be applied to every token. The paper does not give heads, points and levels.
    Class tokens sample around the centre of the map.
    """

    points = 4

    def __init__(self, width: int, config: FusionConfig):
        super().__init__(width, config)
        self.heads = heads_of(width)
        self.sampling_offsets = nn.Linear(width, self.heads * self.points * 2)
        self.attention_weights = nn.Linear(width, self.heads * self.points)
        self.value_proj, self.output_proj = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        angle = torch.arange(self.heads) * (2 * torch.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        steps = torch.arange(1, self.points + 1).view(1, -1, 1)
        with torch.no_grad():  # heads start looking in evenly spread directions, point p at p cells
            self.sampling_offsets.bias.copy_((direction[:, None] * steps).flatten())

    def offsets(self, vfm: Tensor, vlm: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """See `Adapter.offsets`."""
        return self.sample(vfm, vlm, grid), self.sample(vlm, vfm, grid)

    def sample(self, query: Tensor, other: Tensor, grid: Grid) -> Tensor:
        """What the tokens of one encoder sample from the other.

        Args:
            query: (B, L, C) tokens of one encoder, patches last.
            other: (B, M, C) tokens of the other encoder, patches last.
            grid: (h, w) of the patches.

        Returns:
            (B, L, C).
        """
        (h, w), (b, length, _) = grid, query.shape
        values = self.value_proj(other[:, -h * w :]).transpose(1, 2)
        maps = values.reshape(b * self.heads, -1, h, w)
        shifts = self.sampling_offsets(query).float().view(b, length, self.heads, self.points, 2)
        weights = self.attention_weights(query).view(b, length, self.heads, self.points).softmax(-1)
        places = centres(grid, length, query.device).view(1, length, 1, 1, 2) + shifts / shifts.new_tensor([w, h])
        places = (2 * places - 1).permute(0, 2, 3, 1, 4).flatten(0, 1)  # (B*heads, points, L, 2)
        # In float32: positions in bfloat16 are off by up to a tenth of a cell on a side of 100.
        sampled = F.grid_sample(maps.float(), places, align_corners=False)  # (B*heads, C/heads, points, L)
        mixed = (sampled.to(maps.dtype) * weights.permute(0, 2, 3, 1).flatten(0, 1).unsqueeze(1)).sum(2)
        return self.output_proj(mixed.reshape(b, -1, length).transpose(1, 2))


class Convolution(Adapter):
    """Table 4, "Convolution": the spatial branch of MVFuser alone, with depthwise convolutions over the token maps.

    Both encoders share the weights. Both maps lie side by side in the channels of one gate, so that they are mixed.
    Class tokens pass the projections without a convolution.
    """

    def __init__(self, width: int, config: FusionConfig):
        super().__init__(width, config)
        half, kernel = width // 2, config.conv
        self.in_proj = nn.Linear(width, half, bias=False)
        self.conv = nn.Conv2d(2 * half, 2 * half, kernel, padding=kernel // 2, groups=2 * half, bias=False)
        self.mix = nn.Linear(2 * half, 2 * half, bias=False)
        self.out_proj = nn.Linear(half, width, bias=False)

    def offsets(self, vfm: Tensor, vlm: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """See `Adapter.offsets`."""
        patches, sides = grid[0] * grid[1], [self.in_proj(vfm), self.in_proj(vlm)]
        maps = torch.cat([x[:, -patches:] for x in sides], dim=-1).transpose(1, 2).unflatten(-1, grid)
        both = self.mix(F.silu(self.conv(maps)).flatten(2).transpose(1, 2)).chunk(2, dim=-1)
        joined = [torch.cat([F.silu(x[:, :-patches]), y], dim=1) for x, y in zip(sides, both, strict=True)]
        return self.out_proj(joined[0]), self.out_proj(joined[1])


class LearnableTokens(Adapter):
    """Table 4, "Cross-Attention": both encoders attend to one set of learned tokens (after Rein, Wei et al. 2024).

    As in Rein, a token's similarities with the learned tokens pass a softmax. The first learned token is then left out,
    so that a token may take nothing. A linear layer follows, with the input added before it.
    """

    count = 100

    def __init__(self, width: int, config: FusionConfig):
        super().__init__(width, config)
        self.learned = nn.Parameter(torch.empty(self.count, width))
        nn.init.trunc_normal_(self.learned, std=width**-0.5)
        self.value_proj, self.output_proj = nn.Linear(width, width), nn.Linear(width, width)

    def offsets(self, vfm: Tensor, vlm: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """See `Adapter.offsets`."""
        values = self.value_proj(self.learned[1:])

        def attend(x: Tensor) -> Tensor:
            weights = (x @ self.learned.T.to(x.dtype) * x.shape[-1] ** -0.5).softmax(-1)
            return self.output_proj(x + weights[..., 1:].to(x.dtype) @ values.to(x.dtype))

        return attend(vfm), attend(vlm)


class SeparateMVFuser(nn.Module):
    """Table 4, "Sep. MVFuser": one MVFuser for each encoder. The encoders are not mixed."""

    def __init__(self, width: int, config: FusionConfig):
        super().__init__()
        self.vfm, self.vlm = mvfuser(width, config), mvfuser(width, config)

    def forward(self, tokens: Tensor, lengths: tuple[int, int], grid: Grid) -> Tensor:
        """See `Adapter.forward`."""
        vfm, vlm = tokens.split(lengths, dim=1)
        return torch.cat([self.vfm(vfm), self.vlm(vlm)], dim=1)


class NoAdapter(nn.Module):
    """Table 4, "w.o. finetune": the features of both encoders are concatenated for the decoder, and nothing else."""

    def __init__(self, width: int, config: FusionConfig):
        super().__init__()

    def forward(self, tokens: Tensor, lengths: tuple[int, int], grid: Grid) -> Tensor:
        """See `Adapter.forward`. The offsets are zero."""
        return torch.zeros_like(tokens)


def mvfuser(width: int, config: FusionConfig) -> MVFuser:
    """The paper's adapter.

    Args:
        width: channels C of the tokens.
        config: of the fusion.
    """
    return MVFuser(width, config.state, config.conv, config.dropout, config.init_scale)


ADAPTERS: dict[str, Callable[[int, FusionConfig], nn.Module]] = {
    "mvfuser": mvfuser,
    "self-attention": SelfAttention,
    "separate-attention": SeparateAttention,
    "deformable": DeformableAttention,
    "convolution": Convolution,
    "learnable-tokens": LearnableTokens,
    "separate": SeparateMVFuser,
    "concat": NoAdapter,
}


def heads_of(width: int) -> int:
    """Number of heads of 64 channels, or of the next narrower size that divides the width."""
    return next(width // size for size in (64, 48, 32, 16, 8, 4, 2, 1) if width % size == 0)


def centres(grid: Grid, length: int, device: torch.device) -> Tensor:
    """Place of each token in the map.

    Args:
        grid: (h, w) of the patches.
        length: number of tokens, patches last.
        device: of the result.

    Returns:
        (length, 2) float32 (x, y) in 0..1: centres of the patches, and the map's centre for the tokens before them.
    """
    h, w = grid
    y, x = ((torch.arange(n, device=device) + 0.5) / n for n in grid)
    cells = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
    return torch.cat([cells.new_full((length - h * w, 2), 0.5), cells])
