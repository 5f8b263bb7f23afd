"""Every adapter of Tables 3 and 4: the interface, what each promises, and that a model with it learns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser import presets
from mfuser.config import FusionConfig
from mfuser.fusion.alternatives import ADAPTERS, Attention, DeformableAttention, LearnableTokens, centres, heads_of
from mfuser.loading import MFuser

GRID, WIDTH = (3, 4), 32
LENGTHS = (1 + 12, 12)  # the VFM with a class token, the VLM without
MEETING = [k for k in ADAPTERS if k not in ("separate", "learnable-tokens", "concat")]


def tokens(seed: int = 1, batch: int = 2) -> Tensor:
    return torch.randn(batch, sum(LENGTHS), WIDTH, generator=torch.Generator().manual_seed(seed))


def build(kind: str, randomise) -> torch.nn.Module:
    return randomise(ADAPTERS[kind](WIDTH, FusionConfig(kind=kind))).eval()


@pytest.mark.parametrize("kind", ADAPTERS)
def test_starts_as_a_small_offset_of_the_same_shape(kind: str):
    torch.manual_seed(0)
    adapter = ADAPTERS[kind](WIDTH, FusionConfig(kind=kind)).eval()
    x = tokens()
    y = adapter(x, LENGTHS, GRID)
    assert y.shape == x.shape and y.norm() < 0.01 * x.norm()


@pytest.mark.parametrize("kind", [k for k in ADAPTERS if k != "concat"])
def test_every_parameter_gets_a_gradient(kind: str, randomise):
    adapter = build(kind, randomise).train()
    adapter(tokens(), LENGTHS, GRID).square().sum().backward()
    assert [n for n, p in adapter.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_batch_is_independent_samples(kind: str, randomise):
    adapter, x = build(kind, randomise), tokens()
    both = adapter(x, LENGTHS, GRID)
    for i in range(2):
        torch.testing.assert_close(adapter(x[i : i + 1], LENGTHS, GRID), both[i : i + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_who_hears_of_whom(kind: str, randomise):
    """Both ways for the attentions and the convolution, from the VFM on to the VLM for the scan, else not at all."""
    adapter, x = build(kind, randomise), tokens(batch=1)
    vfm, vlm = slice(0, LENGTHS[0]), slice(LENGTHS[0], None)
    y, moved = adapter(x, LENGTHS, GRID), {}
    for side, other in ((vfm, vlm), (vlm, vfm)):
        changed = x.clone()
        changed[:, side] += torch.randn(WIDTH, generator=torch.Generator().manual_seed(3))
        moved[side.start] = (adapter(changed, LENGTHS, GRID) - y)[:, other].abs().amax(-1)[0]
    if kind not in MEETING:
        assert moved[0].max() == 0 and moved[vlm.start].max() == 0
    else:
        assert (moved[0] > 0).float().mean() > 0.5  # a deformable point may fall outside of the map
        assert (moved[vlm.start][:-1] > 0).any() or kind == "mvfuser"  # by the convolution at the seam only


def test_attention_equals_torchs(randomise):
    own = randomise(Attention(WIDTH))
    theirs = torch.nn.MultiheadAttention(WIDTH, own.heads, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in (own.q_proj, own.k_proj, own.v_proj)]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in (own.q_proj, own.k_proj, own.v_proj)]))
        theirs.out_proj.load_state_dict(own.out_proj.state_dict())
    q, m = torch.randn(2, 5, WIDTH), torch.randn(2, 7, WIDTH)
    torch.testing.assert_close(own(q, m), theirs(q, m, m)[0], rtol=1e-4, atol=1e-5)


def test_deformable_samples_where_it_says(randomise):
    """Offsets forced to whole cells: each patch must read exactly that cell of the other map, zero outside."""
    adapter = randomise(DeformableAttention(WIDTH, FusionConfig()))
    with torch.no_grad():
        for layer in (adapter.sampling_offsets, adapter.attention_weights):
            layer.weight.zero_()
        adapter.sampling_offsets.bias.copy_(torch.tensor([1.0, -1.0]).repeat(adapter.heads * adapter.points))
        for layer in (adapter.value_proj, adapter.output_proj):
            layer.weight.copy_(torch.eye(WIDTH))
            layer.bias.zero_()
    vfm, vlm = tokens(batch=1).split(LENGTHS, dim=1)
    to_vfm, _ = adapter.offsets(vfm, vlm, GRID)
    expected = torch.zeros(*GRID, WIDTH)
    expected[1:, :-1] = vlm[0].view(*GRID, WIDTH)[:-1, 1:]  # one to the right, one up
    torch.testing.assert_close(to_vfm[0, 1:], expected.flatten(0, 1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_deformable_places_are_exact_in_half_precision():
    """Every point at its own cell's centre gives that cell's value: positions in bfloat16 miss it by up to a tenth."""
    adapter, side, width = DeformableAttention(8, FusionConfig(kind="deformable")), 100, 8
    adapter.sampling_offsets.bias.zero_()
    for layer in (adapter.value_proj, adapter.output_proj):
        layer.weight.copy_(torch.eye(width))
        layer.bias.zero_()
    other = (1.0 - 2.0 * (torch.arange(2 * side) % 2)).view(1, -1, 1).expand(1, -1, width)
    for queries in (other.clone(), other.bfloat16()):
        with torch.autocast("cpu", torch.bfloat16):
            found = adapter.sample(queries, other, (2, side))
        assert found.dtype == torch.bfloat16 and (found.float() - other).abs().max() < 0.01


def test_convolution_is_two_dimensional(randomise):
    """A patch reaches its 3 x 3 neighbours in both encoders, and nothing else."""
    adapter, x = build("convolution", randomise), tokens(batch=1)
    changed = x.clone()
    changed[0, 1 + 5] += 1  # VFM patch (1, 1)
    moved = (adapter(changed, LENGTHS, GRID) - adapter(x, LENGTHS, GRID)).abs().amax(-1)[0] > 0
    near = torch.zeros(GRID, dtype=torch.bool)
    near[0:3, 0:3] = True
    assert torch.equal(moved, torch.cat([torch.tensor([False]), near.flatten(), near.flatten()]))


def test_learned_tokens_are_shared_and_one_takes_nothing(randomise):
    adapter = randomise(LearnableTokens(WIDTH, FusionConfig())).eval()
    x = torch.randn(1, 6, WIDTH)
    vfm, vlm = adapter.offsets(x, x, GRID)
    assert torch.equal(vfm, vlm)
    weights = (x @ adapter.learned.T / WIDTH**0.5).softmax(-1)
    expected = F.linear(
        x + weights[..., 1:] @ adapter.value_proj(adapter.learned[1:]),
        adapter.output_proj.weight,
        adapter.output_proj.bias,
    )
    torch.testing.assert_close(vfm, expected, rtol=1e-4, atol=1e-5)


def test_separate_is_two_adapters(randomise):
    adapter, x = build("separate", randomise), tokens()
    vfm, vlm = x.split(LENGTHS, dim=1)
    expected = torch.cat([adapter.vfm(vfm), adapter.vlm(vlm)], 1)
    assert torch.equal(adapter(x, LENGTHS, GRID), expected)


@pytest.mark.parametrize(
    ("kind", "millions"), [("mvfuser", 1.67), ("self-attention", 4.20), ("separate-attention", 8.40)]
)
def test_sizes_are_the_papers(kind: str, millions: float):
    with torch.device("meta"):
        adapter = ADAPTERS[kind](1024, FusionConfig())
    assert sum(p.numel() for p in adapter.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_heads_divide_every_width():
    assert [heads_of(w) for w in (1024, 768, 192, 96, 30)] == [16, 12, 3, 2, 15]


def test_centres_of_patches_and_class_tokens():
    found = centres((2, 2), 5, torch.device("cpu"))
    assert found.tolist() == [[0.5, 0.5], [0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_model_runs_with_it_and_only_the_fused_stream_changes(kind: str, tiny_preset, pixels):
    torch.manual_seed(0)
    model = MFuser.from_preset(presets.with_fusion(tiny_preset, kind), pretrained=False)
    assert model.preset.fusion.kind == kind
    trainable = model.train_mode("fused").trainable("fused")
    model(pixels[:1]).score_map.sum().backward()
    adapters = [p.grad for n, p in trainable.items() if n.startswith("fusion.adapters.")]
    assert bool(adapters) != (kind == "concat") and all(g is not None for g in adapters)


def test_an_unknown_kind_lists_the_known_ones(tiny_preset):
    with pytest.raises(ValueError, match="Unknown fusion 'glue'; choose one of mvfuser, self-attention"):
        presets.with_fusion(tiny_preset, "glue")
