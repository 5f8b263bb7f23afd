"""DINOv2 of timm taken apart: timm's own result at its grid, other grids, and public weights in their real layouts."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F

from mfuser.encoders.base import normalise
from mfuser.encoders.dinov2 import MEAN, STD, DINOv2
from mfuser.encoders.resample import resample_positions

TINY = {"depth": 2, "embed_dim": 32, "num_heads": 2}


@pytest.fixture(scope="module")
def encoder(randomise) -> DINOv2:
    torch.manual_seed(0)
    return randomise(DINOv2("vit_base_patch14_dinov2", patch=14, grid=4, **TINY)).eval()


def run(encoder: DINOv2, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        tokens, grid = encoder.embed(pixels)
        for i in range(encoder.depth):
            tokens = encoder.block(i, tokens, grid)
        return encoder.norm(tokens)


def test_at_its_own_grid_it_is_timms_model(encoder):
    pixels = torch.rand(2, 3, 56, 56) * 255
    with torch.no_grad():
        expected = encoder.trunk.forward_features(normalise(pixels, MEAN, STD))
    torch.testing.assert_close(run(encoder, pixels), expected, rtol=1e-4, atol=1e-5)
    assert (encoder.width, encoder.depth, encoder.patch, encoder.prefix) == (32, 2, 14, 1)


def test_a_rest_of_less_than_a_patch_is_not_seen(encoder):
    pixels = torch.rand(1, 3, 64, 69) * 255
    assert torch.equal(run(encoder, pixels), run(encoder, pixels[..., :56, :56]))


@pytest.mark.parametrize("grid", [(6, 3), (4, 5), (2, 2)])
def test_other_grids_interpolate_the_position_table(encoder, grid: tuple[int, int]):
    h, w = grid
    tokens, found = encoder.embed(torch.zeros(1, 3, 14 * h, 14 * w))
    assert found == grid and tokens.shape == (1, 1 + h * w, 32)
    table = encoder.trunk.pos_embed[0]
    square = table[1:].T.reshape(1, 32, 4, 4)
    expected = F.interpolate(square, size=grid, mode="bicubic", align_corners=False)[0].flatten(1).T
    assert torch.equal(resample_positions(table, grid, 1, "bicubic")[1:], expected)
    difference = (tokens[0, 1:] - expected).detach()  # what is left is the constant picture's own token
    assert difference.std(0).max() < 1e-5


@pytest.mark.parametrize("patch", [14, 16])
def test_public_weights_are_resampled_plainly(patch: int):
    """timm's layout at 37 x 37 positions and a kernel of 14 pixels, as in the hub's file; no antialiasing anywhere."""
    torch.manual_seed(1)
    public = timm.create_model("vit_base_patch14_dinov2", pretrained=False, num_classes=0, img_size=518, **TINY)
    state = {n: torch.randn_like(t) for n, t in public.state_dict().items()}
    state["mask_token"] = torch.zeros(1, 32)  # of the authors' own file
    encoder = DINOv2("vit_base_patch14_dinov2", patch=patch, grid=4, **TINY)
    own = encoder.from_public(state)
    assert {n: t.shape for n, t in own.items()} == {n: t.shape for n, t in encoder.state_dict().items()}
    square = state["pos_embed"][:, 1:].transpose(1, 2).reshape(1, 32, 37, 37)
    places = F.interpolate(square, size=(4, 4), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    torch.testing.assert_close(own["trunk.pos_embed"][:, 1:], places)
    assert torch.equal(own["trunk.pos_embed"][:, :1], state["pos_embed"][:, :1])
    kernel = state["patch_embed.proj.weight"]
    if patch != 14:
        kernel = F.interpolate(kernel, size=(16, 16), mode="bicubic", align_corners=False)
    assert torch.equal(own["trunk.patch_embed.proj.weight"], kernel)
    assert torch.equal(own["trunk.blocks.1.ls2.gamma"], state["blocks.1.ls2.gamma"])


def test_another_models_position_table_is_one_sentence():
    with pytest.raises(ValueError, match="A position table of 15 patches is not square"):
        resample_positions(torch.zeros(16, 8), (4, 4), 1, "bicubic")
