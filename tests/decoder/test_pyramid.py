"""The transposed convolutions of the pyramid as products."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mfuser.decoder.pyramid import FeaturePyramid, doubled


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("channels", "out", "h", "w"), [(6, 6, 3, 4), (5, 8, 1, 7)])
def test_doubling_is_the_transposed_convolution_with_gradients(channels: int, out: int, h: int, w: int, bias: bool):
    conv = nn.ConvTranspose2d(channels, out, 2, stride=2, bias=bias).double()
    x = torch.randn(2, channels, h, w, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, out, 2 * h, 2 * w, dtype=torch.float64)
    found = [(y, *torch.autograd.grad(y, (x, *conv.parameters()), upstream)) for y in (conv(x), doubled(x, conv))]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_both_ways_through_the_pyramid_agree():
    pyramid, maps = FeaturePyramid(8).eval(), list(torch.randn(4, 2, 8, 4, 6))
    for a, b in zip(pyramid.by_convolutions(maps), pyramid.by_products(maps), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
