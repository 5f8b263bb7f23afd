"""Which blocks meet, in which order their tokens are joined, and what crosses over when the encoders differ."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mfuser.config import FusionConfig
from mfuser.fusion.stack import CoAdapters, pair_blocks


def encoder(width: int, depth: int) -> SimpleNamespace:
    return SimpleNamespace(width=width, depth=depth)


@pytest.mark.parametrize(
    ("vfm", "vlm", "pairs"),
    [
        (3, 3, [(0, 0), (1, 1), (2, 2)]),
        (12, 6, [(1, 0), (3, 1), (5, 2), (7, 3), (9, 4), (11, 5)]),
        (2, 5, [(0, 1), (1, 4)]),
        (7, 3, [(1, 0), (3, 1), (6, 2)]),
        (1, 24, [(0, 23)]),
    ],
)
def test_pair_blocks(vfm: int, vlm: int, pairs: list[tuple[int, int]]):
    assert pair_blocks(vfm, vlm) == pairs


@pytest.mark.parametrize("vfm", [1, 4, 12, 24, 40])
@pytest.mark.parametrize("vlm", [1, 5, 12, 24])
def test_pairs_advance_in_both_encoders_and_end_at_both_last_blocks(vfm: int, vlm: int):
    pairs = pair_blocks(vfm, vlm)
    assert len(pairs) == min(vfm, vlm) and pairs[-1] == (vfm - 1, vlm - 1)
    for side in zip(*pairs, strict=True):
        assert side[0] >= 0 and all(a < b for a, b in zip(side, side[1:], strict=False))


def test_equal_widths_go_straight_in_vfm_first(randomise):
    fusion = randomise(CoAdapters(FusionConfig(), encoder(32, 2), encoder(32, 2))).eval()
    d, v = torch.randn(1, 5, 32), torch.randn(1, 7, 32)
    to_d, to_v = fusion(1, d, v, (2, 2))
    expected = fusion.adapters[1](torch.cat([d, v], 1))
    assert fusion.vfm_in is None and fusion.vfm_out is None
    assert torch.equal(to_d, expected[:, :5]) and torch.equal(to_v, expected[:, 5:])


def test_different_widths_pass_projections_on_the_vfm_side(randomise):
    fusion = randomise(CoAdapters(FusionConfig(), encoder(24, 4), encoder(32, 2))).eval()
    d, v = torch.randn(2, 5, 24), torch.randn(2, 7, 32)
    to_d, to_v = fusion(0, d, v, (2, 2))
    expected = fusion.adapters[0](torch.cat([fusion.vfm_in[0](d), v], 1))
    assert to_d.shape == d.shape and to_v.shape == v.shape
    assert torch.equal(to_v, expected[:, 5:]) and torch.equal(to_d, fusion.vfm_out[0](expected[:, :5]))


def test_each_encoder_hears_of_the_other(randomise):
    """The VFM comes first in the scan: it reaches the VLM through the states, the VLM reaches it at the seam only."""
    fusion = randomise(CoAdapters(FusionConfig(), encoder(32, 1), encoder(32, 1))).eval()
    g = torch.Generator().manual_seed(1)
    d, v = torch.randn(1, 6, 32, generator=g), torch.randn(1, 6, 32, generator=g)
    to_d, to_v = fusion(0, d, v, (2, 2))
    moved_v = (fusion(0, d + 1, v, (2, 2))[1] - to_v).abs().amax(-1)[0]
    moved_d = (fusion(0, d, v + 1, (2, 2))[0] - to_d).abs().amax(-1)[0]
    assert (moved_v > 0).all()
    assert moved_d[-1] > 0 and moved_d[:-1].max() == 0


def test_projections_on_request_and_joint_projection_starting_at_zero():
    fusion = CoAdapters(FusionConfig(projections=True, joint="projected"), encoder(32, 2), encoder(32, 2))
    assert len(fusion.vfm_in) == len(fusion.vfm_out) == 2
    assert fusion.joint.weight.abs().max() == 0 and fusion.joint.bias.abs().max() == 0
    assert CoAdapters(FusionConfig(joint="sum"), encoder(32, 2), encoder(32, 2)).joint is None


def test_unknown_fusion_is_refused():
    with pytest.raises(ValueError, match="Unknown fusion 'glue'; choose one of .*mvfuser"):
        CoAdapters(FusionConfig(kind="glue"), encoder(32, 2), encoder(32, 2))
