"""Feature pyramid from plain-ViT tokens of four depths (simple feature pyramid, Li et al. 2022, as released)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mfuser.linear import linear


class FeaturePyramid(nn.Module):
    """Four maps of the patch grid g in, maps at 4g, 2g, g and g/2 out, all with the same channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.up4 = nn.Sequential(
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
        )
        self.up2 = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.down2 = nn.MaxPool2d(2, stride=2)

    def forward(self, maps: list[Tensor], defer: bool = False) -> list[Tensor | Upsampled]:
        """maps: 4 x (B, C, g, g), shallowest first. Returns: (B, C, .) at 4g, 2g, g, g/2; with defer, the first two
        before their last convolution, which the decoder's own can swallow."""
        first, second, third, last = maps
        if not defer:
            return [self.up4(first), self.up2(second), third, self.down2(last)]
        for layer in (lambda x: upsample(x, self.up4[0].weight, self.up4[0].bias), *self.up4[1:3]):
            first = layer(first)
        return [Upsampled(first, self.up4[3]), Upsampled(second, self.up2), third, self.down2(last)]


@dataclass
class Upsampled:
    """A level whose last transposed convolution (kernel 2, stride 2) is still to be computed."""

    x: Tensor  # (B, C, h, w)
    up: nn.ConvTranspose2d

    @property
    def shape(self) -> tuple[int, ...]:
        b, _, h, w = self.x.shape
        return (b, self.up.out_channels, 2 * h, 2 * w)

    @torch.no_grad()
    def tensor(self) -> Tensor:
        """The level itself."""
        return upsample(self.x, self.up.weight, self.up.bias)

    def through(self, conv: nn.Conv2d) -> Tensor:
        """conv(self.tensor()) for a 1x1 convolution, without making the level: two linear maps in a row are one, here
        with an eighth of the outputs."""
        first, then = self.up.weight, conv.weight.flatten(1)  # (C, M, 2, 2), (O, M)
        weight = torch.matmul(then, first.permute(2, 3, 1, 0).to(then.dtype))  # (2, 2, O, C)
        bias = then.float() @ self.up.bias.float() + (0 if conv.bias is None else conv.bias.float())
        return upsample(self.x, weight.permute(3, 2, 0, 1), bias)


def upsample(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Transposed convolution with kernel 2 and stride 2 as one matrix product: no output cell is written twice.

    x: (B, C, h, w). weight: (C, M, 2, 2). bias: (M,). Returns: (B, M, 2h, 2w).
    """
    b, _, h, w = x.shape
    rows = weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4M, C)
    y = torch.stack([linear(rows.to(x.dtype), cells.t()) for cells in x.flatten(2)])  # (B, 4M, h*w)
    y = y.view(b, 2, 2, -1, h, w).permute(0, 3, 4, 1, 5, 2).reshape(b, -1, 2 * h, 2 * w)
    return y.add_(bias.to(y.dtype)[:, None, None])
