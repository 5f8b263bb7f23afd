"""Feature pyramid from plain-ViT tokens of four depths (simple feature pyramid, Li et al. 2022, as released)."""

from __future__ import annotations

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
        first, second, third, last = maps
        return [self.up4(first), self.up2(second), third, self.down2(last)]
