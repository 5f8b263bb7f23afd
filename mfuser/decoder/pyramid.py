"""Feature pyramid from plain-ViT tokens of four depths (simple feature pyramid, Li et al. 2022, as released)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mfuser.ops.linear import linear


class FeaturePyramid(nn.Module):
    """From four maps of the patch grid g to maps at 4g, 2g, g and g/2, all with the same channels.

    Args:
        channels: of every map.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.up4 = nn.Sequential(
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
        )
        self.up2: nn.ConvTranspose2d | None = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.down2 = nn.MaxPool2d(2, stride=2)

    def fold(self, conv4: nn.Conv2d, conv2: nn.Conv2d) -> tuple[Upsampling, Upsampling]:
        """Merge the last transposed convolutions into the 1x1 ones that read the maps at 4g and 2g, in place.

        For inference alone: an eighth of the two convolutions' weights is left.

        Args:
            conv4: 1x1 convolution that reads the map at 4g.
            conv2: 1x1 convolution that reads the map at 2g.

        Returns:
            What takes the place of the two arguments.
        """
        merged = Upsampling.of(self.up4[3], conv4), Upsampling.of(self.up2, conv2)
        self.up4[0], self.up4[3], self.up2 = Upsampling.of(self.up4[0]), nn.Identity(), None
        return merged

    def forward(self, maps: list[Tensor], defer: bool = False) -> list[Tensor | Upsampled]:
        """Build the pyramid.

        Args:
            maps: 4 maps (B, C, g, g), shallowest first.
            defer: leave the first two levels before their last convolution, which the decoder's own can absorb.

        Returns:
            Maps (B, C, ., .) at 4g, 2g, g and g/2.
        """
        first, second, third, last = maps
        if self.up2 is None:  # folded
            return [Upsampled(self.up4(first)), Upsampled(second), third, self.down2(last)]
        if not defer:
            return [self.up4(first), self.up2(second), third, self.down2(last)]
        for layer in (lambda x: upsample(x, as_rows(self.up4[0].weight), self.up4[0].bias), *self.up4[1:3]):
            first = layer(first)
        return [Upsampled(first, self.up4[3]), Upsampled(second, self.up2), third, self.down2(last)]


@dataclass
class Upsampled:
    """A level whose last transposed convolution (kernel 2, stride 2) is still to be computed."""

    x: Tensor  # (B, C, h, w)
    up: nn.ConvTranspose2d | None = None  # C channels to C; None where it was merged into the next one

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the level once it is computed, (B, C, 2h, 2w)."""
        b, channels, h, w = self.x.shape
        return (b, channels, 2 * h, 2 * w)

    @torch.no_grad()
    def tensor(self) -> Tensor:
        """The level itself, (B, C, 2h, 2w).

        Raises:
            ValueError: the model was prepared for inference, where the level is never computed.
        """
        if self.up is None:
            raise ValueError("A model prepared for inference has no finest levels: read them before `for_inference`.")
        return upsample(self.x, as_rows(self.up.weight), self.up.bias)

    def through(self, conv: nn.Module) -> Tensor:
        """conv(self.tensor()) for a 1x1 convolution, without computing the level.

        Args:
            conv: the convolution.

        Returns:
            (B, out_channels, 2h, 2w).
        """
        if self.up is None:
            return conv(self.x)
        return upsample(self.x, *merge(self.up, conv, conv.weight.dtype))


class Upsampling(nn.Linear):
    """Transposed convolution with kernel 2 and stride 2. Its weights are laid out as the product reads them.

    Args:
        rows: (4M, C) weights, see `as_rows`.
        shift: (M,) bias.
    """

    def __init__(self, rows: Tensor, shift: Tensor):
        nn.Module.__init__(self)
        self.out_features, self.in_features = rows.shape
        self.weight, self.bias = nn.Parameter(rows, requires_grad=False), nn.Parameter(shift, requires_grad=False)

    @classmethod
    def of(cls, up: nn.ConvTranspose2d, conv: nn.Conv2d | None = None) -> Upsampling:
        """Build from other layers.

        Args:
            up: a transposed convolution, kernel 2, stride 2.
            conv: a 1x1 convolution after it, or None.
        """
        with torch.no_grad():
            rows, bias = (as_rows(up.weight), up.bias.clone()) if conv is None else merge(up, conv, torch.float32)
            return cls(rows.to(up.weight.dtype), bias.to(up.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, M, 2h, 2w)."""
        return upsample(x, self.weight, self.bias)


def merge(up: nn.ConvTranspose2d, conv: nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Merge a transposed convolution and the 1x1 convolution after it: two linear maps in a row are one linear map.

    The result has an eighth of the outputs.

    Args:
        up: transposed convolution, kernel 2, stride 2, C channels to M.
        conv: 1x1 convolution, M channels to O.
        dtype: of the product.

    Returns:
        Rows (4O, C), see `as_rows`, and bias (O,).
    """
    then = conv.weight.flatten(1).to(dtype)  # (O, M)
    rows = torch.matmul(then, up.weight.permute(2, 3, 1, 0).to(dtype))  # (2, 2, O, C)
    bias = then.float() @ up.bias.float() + (0 if conv.bias is None else conv.bias.float())
    return rows.flatten(0, 2), bias


def as_rows(weight: Tensor) -> Tensor:
    """Weight (C, M, 2, 2) of a transposed convolution as (4M, C), ordered by the cell of the 2 x 2 first."""
    return weight.permute(2, 3, 1, 0).flatten(0, 2)


def upsample(x: Tensor, rows: Tensor, bias: Tensor) -> Tensor:
    """Transposed convolution with kernel 2 and stride 2 as one matrix product: no output cell is written twice.

    Args:
        x: (B, C, h, w).
        rows: (4M, C), see `as_rows`.
        bias: (M,).

    Returns:
        (B, M, 2h, 2w).
    """
    h, w = x.shape[-2:]
    rows = rows.to(x.dtype)
    if x.is_cuda:
        y = torch.matmul(rows, x.flatten(2))  # (B, 4M, h*w)
    else:
        y = torch.stack([linear(rows, cells.t()) for cells in x.flatten(2)])
    y = y.view(len(x), 2, 2, -1, h, w).permute(0, 3, 4, 1, 5, 2).reshape(len(x), -1, 2 * h, 2 * w)
    return y.add_(bias.to(y.dtype)[:, None, None])
