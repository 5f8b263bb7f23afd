"""Feature pyramid from plain-ViT tokens of four depths (simple feature pyramid, Li et al. 2022, as released)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """maps: 4 x (B, C, g, g), shallowest first. Returns: (B, C, .) at 4g, 2g, g, g/2."""
        return self.by_products(maps) if maps[0].is_cuda else self.by_convolutions(maps)

    def by_convolutions(self, maps: list[Tensor]) -> list[Tensor]:
        first, second, third, last = maps
        return [self.up4(first), self.up2(second), third, self.down2(last)]

    def by_products(self, maps: list[Tensor]) -> list[Tensor]:
        first, second, third, last = maps
        conv, norm, activation, again = self.up4
        finest = doubled(activation(norm(doubled(first, conv))), again)
        return [finest, doubled(second, self.up2), third, self.down2(last)]


def doubled(x: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
    """A transposed convolution of kernel and stride 2 as what it is: one product for every cell, (B, C, h, w) to
    (B, C', 2h, 2w). Matrix libraries run it near their best, convolution libraries as the gradient of another one."""
    b, _, h, w = x.shape
    channels = conv.out_channels
    weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2 * 2 * C', C)
    y = F.linear(x.permute(0, 2, 3, 1), weight).view(b, h, w, 2, 2, channels)
    y = y.permute(0, 5, 1, 3, 2, 4).reshape(b, channels, 2 * h, 2 * w)
    return y if conv.bias is None else y + conv.bias.to(y.dtype)[:, None, None]
