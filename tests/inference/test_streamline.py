"""Streamlined models compute what they computed before, in float32 to rounding and in bfloat16 about as closely."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from timm.layers import LayerNorm as TimmLayerNorm
from timm.layers import SwiGLU
from torch import Tensor, nn

from mfuser.encoders.dinov2 import DINOv2
from mfuser.encoders.streamlined import PaddedSwiGLU, RotaryAttention
from mfuser.encoders.vlm import rotary_table
from mfuser.fusion.mvfuser import MVFuser
from mfuser.inference.precision import store_weights
from mfuser.inference.segmenter import Segmenter
from mfuser.inference.streamline import Attention, LayerNorm, blocks_of, lower, streamline
from mfuser.loading import MFuser
from mfuser.ops import fused_steps


def streamlined(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    streamline(model, dtype, skip=model.vlm.text if isinstance(model, MFuser) else None)
    return model


def error(found: Tensor, expected: Tensor) -> float:
    return ((found.float() - expected.float()).norm() / expected.float().norm()).item()


@pytest.fixture
def pair(pair_preset, official_state) -> MFuser:
    """A tiny pair of each family whose every weight, layer scales among them, has an ordinary size."""
    state = {name: t.clone() for name, t in official_state.items()}
    ids = torch.arange(3, 3 + 19 * 5).view(19, 5)
    return MFuser.from_official(state, token_ids=ids, preset=pair_preset)


@torch.inference_mode()
def test_every_family_is_the_same_in_float32(pair):
    pixels = torch.rand(2, 3, 40, 48, generator=torch.Generator().manual_seed(0)) * 255
    before = pair(pixels)
    texts = {n: t.clone() for n, t in pair.vlm.text.state_dict().items()}
    after = streamlined(pair)(pixels)
    for name in ("mask_logits", "class_logits"):
        for a, b in zip(getattr(after, name), getattr(before, name), strict=True):
            assert error(a, b) < 2e-4
    assert error(after.visual, before.visual) < 1e-4 and error(after.text, before.text) < 1e-4
    assert all(torch.equal(t, texts[n]) for n, t in pair.vlm.text.state_dict().items())
    streamlined(pair)  # again, as a second segmenter of the same model does
    assert torch.equal(pair(pixels).mask_logits[-1], after.mask_logits[-1])


@torch.inference_mode()
def test_every_family_is_as_close_in_bfloat16(pair):
    """Tokens behind two blocks and an adapter: deeper, random weights amplify rounding of any kind."""
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255
    copies = [copy.deepcopy(pair) for _ in range(2)]
    streamlined(copies[1], torch.bfloat16)
    exact = first_tokens(pair, pixels)
    found = []
    for model in copies:
        store_weights(model, torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            found.append(first_tokens(model, pixels))
    for before, after, expected in zip(*found, exact, strict=True):
        assert error(after, expected) < max(0.015, 1.5 * error(before, expected))
    assert all(tokens.dtype == torch.bfloat16 for tokens in found[1])


@torch.inference_mode()
def test_tokens_of_every_family_lie_row_after_row(pair):
    """Sums and residuals keep the layout that tokens have at block 0: channels first costs a pass across rows each."""
    embedded = pair.embed(torch.zeros(2, 3, 32, 32))
    assert all(tokens.is_contiguous() for tokens, _ in embedded.values())
    assert all(x.is_contiguous() for x in first_tokens(pair, torch.zeros(2, 3, 32, 32)))


def first_tokens(model: MFuser, pixels: Tensor) -> tuple[Tensor, Tensor]:
    (d, grid), (v, _) = model.embed(pixels).values()
    for i in range(2):
        d, v = model.vfm.block(i, d, grid), model.vlm.block(i, v, grid)
    to_d, to_v = model.fusion(0, d, v, grid)
    return d + to_d, v + to_v


@torch.inference_mode()
def test_the_built_in_kind_of_model_is_the_same_on_every_stream(fresh_model, pixels):
    before = {s: fresh_model(pixels, s).mask_logits[-1] for s in fresh_model.heads}
    streamlined(fresh_model)
    for stream, expected in before.items():
        assert error(fresh_model(pixels, stream).mask_logits[-1], expected) < 1e-4


def test_a_segmenter_on_a_cpu_keeps_its_modules(fresh_model):
    keys = set(fresh_model.state_dict())
    model = Segmenter(fresh_model, precision="bf16").model
    assert set(model.state_dict()) == keys and not any(isinstance(m, LayerNorm) for m in model.modules())


# -- torch.compile ----------------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_every_block_is_one_graph_for_a_compiler(pair):
    """Traced only: a compiler takes minutes."""
    streamlined(pair)
    blocks = blocks_of(pair)
    assert len(blocks) == pair.vfm.depth + pair.vlm.depth
    for encoder, block in ((pair.vfm, blocks[0]), (pair.vlm, blocks[-1])):
        tokens, grid = encoder.embed(torch.rand(1, 3, 32, 32) * 255)
        index = 0 if encoder is pair.vfm else encoder.depth - 1
        with torch.autocast("cpu", torch.bfloat16):
            expected = encoder.block(index, tokens, grid)
            block.compile(backend="eager", fullgraph=True)
            assert error(encoder.block(index, tokens, grid), expected) < 1e-3


def test_a_segmenter_compiles_its_blocks_when_asked(fresh_model, monkeypatch):
    asked: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **options: asked.append(module))
    segmenter = Segmenter(fresh_model)
    assert asked == [] and segmenter.compile() is segmenter
    assert asked == blocks_of(fresh_model) and len(asked) == fresh_model.vfm.depth + fresh_model.vlm.depth


# -- encoder parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_padded_swiglu_equals_its_source(randomise, dtype: torch.dtype):
    source = randomise(SwiGLU(64, 170, norm_layer=TimmLayerNorm)).eval()
    padded = PaddedSwiGLU(copy.deepcopy(source)).to(dtype)
    assert padded.fc1.out_features == 2 * 176 and padded.fc2.in_features == 176
    assert not padded.fc2.weight[:, 170:].any()
    x = torch.randn(2, 9, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert error(padded(x.to(dtype)), source(x)) < (1e-6 if dtype == torch.float32 else 0.01)


def test_a_width_that_fits_is_not_padded():
    padded = PaddedSwiGLU(SwiGLU(32, 88, norm_layer=TimmLayerNorm))
    assert padded.fc1.out_features == 2 * 88 and padded.fc2.in_features == 88


@torch.inference_mode()
def test_rotary_attention_equals_timms_with_its_class_token(pair):
    if pair.preset.vlm.family != "eva02-clip":
        pytest.skip("EVA02's own")
    block, cpu = pair.vlm.trunk.blocks[1], torch.device("cpu")
    x = torch.randn(2, 1 + 12, 64, generator=torch.Generator().manual_seed(1))
    expected = block.attn(x, rope=rotary_table((3, 4), 32, 16, cpu))
    attention = RotaryAttention(block.attn)
    assert error(attention(x, rope=rotary_table((3, 4), 32, 16, cpu, attention.table_prefix)), expected) < 1e-6
    assert attention.head_dim == block.attn.head_dim == 32


@torch.inference_mode()
def test_layer_scales_go_into_the_products(randomise):
    encoder = DINOv2("vit_base_patch14_dinov2", patch=8, grid=4, depth=2, embed_dim=32, num_heads=2)
    encoder = randomise(encoder).eval()
    pixels = torch.rand(1, 3, 32, 32) * 255
    tokens, grid = encoder.embed(pixels)
    expected = encoder.block(0, tokens, grid)
    streamlined(encoder)
    assert not any("gamma" in name for name in encoder.state_dict())
    assert error(encoder.block(0, tokens, grid), expected) < 1e-6


# -- general parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", ["none", "bool", "float"])
@pytest.mark.parametrize("own", [True, False])
@torch.inference_mode()
def test_attention_equals_torchs(randomise, mask: str, own: bool):
    source = randomise(nn.MultiheadAttention(32, 4, batch_first=True)).eval()
    attention = copy.deepcopy(source)
    attention.__class__ = Attention
    g = torch.Generator().manual_seed(1)
    query, other = torch.randn(2, 5, 32, generator=g), torch.randn(2, 7, 32, generator=g)
    key, value = (query, query) if own else (other, other + 1)
    blocked = torch.rand(2 * 4, 5, key.shape[1], generator=g) > 0.6
    blocked[..., 0] = False
    given = {"none": None, "bool": blocked, "float": torch.zeros(blocked.shape).masked_fill(blocked, -1e4)}[mask]
    expected = source(query, key, value, attn_mask=given, need_weights=False)[0]
    found, weights = attention(query, key, value, attn_mask=given, need_weights=False)
    assert weights is None and error(found, expected) < 1e-6


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
@torch.inference_mode()
def test_attention_takes_one_mask_for_all(randomise, dtype: torch.dtype):
    source = randomise(nn.MultiheadAttention(32, 4, batch_first=True)).eval()
    attention = copy.deepcopy(source)
    attention.__class__ = Attention
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(5, 5).triu(1).bool()
    mask = mask if dtype == torch.bool else torch.zeros(5, 5).masked_fill(mask, -1e4)
    expected = source(x, x, x, attn_mask=mask, need_weights=False)[0]
    for given in (mask, mask[None], mask.expand(2 * 4, 5, 5)):
        assert error(attention(x, x, x, attn_mask=given)[0], expected) < 1e-6
        assert error(attention(x, x, x, None, False, given)[0], expected) < 1e-6  # at its place in torch's order


@pytest.mark.parametrize("option", [{"key_padding_mask": torch.zeros(2, 5).bool()}, {"is_causal": True}], ids=str)
def test_attention_refuses_masks_that_it_does_not_apply(option: dict):
    attention = nn.MultiheadAttention(32, 4, batch_first=True)
    attention.__class__ = Attention
    x = torch.randn(2, 5, 32)
    with pytest.raises(ValueError, match="neither key_padding_mask nor is_causal"):
        attention(x, x, x, **option)


def test_lowering_streamlines_and_trusts_kernels_on_cuda_alone(fresh_model, monkeypatch):
    trusted: list[torch.device] = []
    monkeypatch.setattr(fused_steps, "trust", trusted.append)
    lower(fresh_model, torch.device("cpu"), torch.bfloat16)
    assert not trusted and not any(isinstance(m, LayerNorm) for m in fresh_model.modules())
    assert next(m for m in fresh_model.fusion.modules() if isinstance(m, nn.Linear)).weight.dtype == torch.bfloat16
    lower(fresh_model, torch.device("cuda", 1), torch.bfloat16)
    assert trusted == [torch.device("cuda", 1)] and any(isinstance(m, LayerNorm) for m in fresh_model.modules())
    assert not any(isinstance(m, LayerNorm) for m in fresh_model.vlm.text.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_keep_the_dtype_of_their_input(dtype: torch.dtype):
    module = nn.Sequential(nn.LayerNorm(16), nn.GroupNorm(4, 3 * 4))
    streamline(module, torch.bfloat16)
    x = torch.randn(2, 12, 16).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.dtype == dtype and module[0].weight.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), F.group_norm(F.layer_norm(x.float(), (16,)), 4), atol=0.05, rtol=0.02)


def test_other_adapters_are_left_as_they_are(fresh_model):
    streamlined(fresh_model)
    fuser = next(m for m in fresh_model.modules() if isinstance(m, MVFuser))
    assert fuser.scale is None and fuser.norm.weight is None
    assert not any(name.endswith((".scale", "gamma")) for name in fresh_model.fusion.state_dict())
