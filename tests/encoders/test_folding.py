"""Folding batch norms changes the speed of a trunk, not its function."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mfuser.encoders.folding import fold_batch_norms
from mfuser.encoders.nano import NanoVision, NanoVisionLanguage


def randomise_norms(module: nn.Module) -> None:
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean, std=0.1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias, std=0.1)


@pytest.mark.parametrize("family", [NanoVision, NanoVisionLanguage])
def test_encoders_compute_the_same_without_a_batch_norm(family):
    torch.manual_seed(0)
    encoder = family(width=32, depth=1, heads=2).eval()
    randomise_norms(encoder.trunk)
    pixels = torch.rand(2, 3, 64, 96) * 255
    with torch.no_grad():
        before = encoder.cells(pixels)
        encoder.for_inference()
        after = encoder.cells(pixels)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in encoder.modules())
    assert (after - before).abs().max() < 1e-4 * before.abs().max()  # float32 through some forty layers


def test_a_norm_that_follows_no_convolution_stays():
    module = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    fold_batch_norms(module)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in module) == 2
