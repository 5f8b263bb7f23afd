"""The built-in encoders, through the interface that every encoder has."""

from __future__ import annotations

import math

import pytest
import torch

from mfuser.encoders.base import VisionEncoder, VisionLanguageEncoder, freeze
from mfuser.encoders.nano import TRUNKS, NanoVision, NanoVisionLanguage, Trunk, _position
from mfuser.inference.precision import store_weights


@pytest.fixture(scope="module")
def vfm(tiny_preset) -> NanoVision:
    torch.manual_seed(0)
    return freeze(NanoVision(**tiny_preset.vfm.options))


@pytest.fixture(scope="module")
def vlm(tiny_preset) -> NanoVisionLanguage:
    torch.manual_seed(0)
    return freeze(NanoVisionLanguage(**tiny_preset.vlm.options))


@pytest.mark.parametrize("name", ["vfm", "vlm"])
def test_keeps_the_interface(name: str, pixels, request):
    encoder: VisionEncoder = request.getfixturevalue(name)
    tokens, grid = encoder.embed(pixels)
    assert grid == (64 // encoder.patch, 96 // encoder.patch) == (4, 6)
    assert tokens.shape == (2, encoder.prefix + 24, encoder.width)
    for i in range(encoder.depth):
        after = encoder.block(i, tokens, grid)
        assert after.shape == tokens.shape and not torch.equal(after, tokens)
        tokens = after
    assert encoder.norm(tokens).shape == tokens.shape
    assert torch.equal(encoder.patches(tokens), tokens[:, encoder.prefix :])
    assert encoder.to_map(tokens, grid).shape == (2, encoder.width, 4, 6)


def test_to_map_is_row_major(vfm):
    tokens = torch.arange(25.0).view(1, 25, 1).expand(1, 25, vfm.width)
    rows = vfm.to_map(tokens, (4, 6))[0, 0]
    assert torch.equal(rows, torch.arange(1.0, 25).view(4, 6))


def test_frozen_is_in_evaluation_without_gradients(vfm):
    assert not vfm.training and not any(p.requires_grad for p in vfm.parameters())
    assert not any(m.training for m in vfm.modules())


def test_images_of_a_batch_do_not_meet(vfm, pixels):
    together, _ = vfm.embed(pixels)
    alone, _ = vfm.embed(pixels[1:])
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", TRUNKS)
@pytest.mark.parametrize("strides", [(4, 8, 16), (16, 32), (4, 8, 16, 32), (32,)])
def test_trunk_gives_the_asked_strides(strides: tuple[int, ...], size: str, pixels):
    maps = Trunk(strides, size).eval()(pixels)
    expected = {s: (TRUNKS[size][s], 64 // s, 96 // s) for s in strides}
    assert {s: tuple(m.shape[1:]) for s, m in maps.items()} == expected


def test_every_stride_that_is_read_matters(vlm, pixels):
    before = vlm.cells(pixels)
    for stride in ("16", "32"):
        layer = vlm.lateral[stride]
        kept = layer.weight.clone()
        with torch.no_grad():
            layer.weight.mul_(1.5)
            assert not torch.allclose(vlm.cells(pixels), before)
            layer.weight.copy_(kept)


def test_position_is_sine_and_cosine_of_row_then_column():
    h, w, width = 3, 5, 16
    found = _position((h, w), width, torch.device("cpu")).view(h, w, width)
    quarter = width // 4
    for i in range(h):
        for j in range(w):
            for c in range(width):
                place, part = (i, c) if c < width // 2 else (j, c - width // 2)
                wave = math.sin if part < quarter else math.cos
                expected = wave(place * 1000 ** (-(part % quarter) / quarter))
                assert found[i, j, c].item() == pytest.approx(expected, abs=1e-5)


def test_brightness_range_is_0_to_255(vfm):
    """A mid-grey image in 0..255 must look nearly like zeros to the trunk, as its training normalised it."""
    grey = torch.full((1, 3, 64, 64), 127.0)
    seen = []
    handle = vfm.trunk.stem.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    vfm.cells(grey)
    handle.remove()
    assert seen[0].abs().max() < 0.01


def test_vlm_reaches_the_joint_space(vlm: VisionLanguageEncoder, pixels):
    tokens, _ = vlm.embed(pixels)
    assert vlm.dense(vlm.norm(tokens)).shape == (2, 25, vlm.embed_dim)
    assert vlm.text(vlm.tokenize(["a car", "road"])).shape == (2, vlm.embed_dim)


def test_tokenize_fills_the_asked_length(vlm):
    ids = vlm.tokenize(["traffic light", "car"], 8)
    assert ids.shape == (2, 8) and ids.dtype == torch.int64
    assert ids[0, 0] == ids[1, 0] and ids[0, 3] == ids[1, 2] != ids[1, 1]  # start; end after two words, after one
    assert (ids[0, 4:] == 0).all() and (ids[1, 3:] == 0).all()
    assert vlm.tokenize(["car"]).shape == (1, vlm.text.positions)
    long = vlm.tokenize(["one two three four five six seven eight nine ten"], 6)
    assert long.shape == (1, 6) and long[0, -1] == ids[0, 3], "a text that is cut still ends with the end token"


@torch.no_grad()
def test_half_precision_leaves_the_trunk_in_float32_and_rounds_the_rest(fresh_model, pixels):
    training = torch.autocast("cpu", torch.bfloat16)
    for encoder in (fresh_model.vfm, fresh_model.vlm):
        with training:
            assert {m.dtype for m in encoder.trunk(pixels).values()} == {torch.bfloat16}, "training keeps autocast"
    expected = [encoder.trunk(pixels) for encoder in (fresh_model.vfm, fresh_model.vlm)]
    store_weights(fresh_model, torch.bfloat16)
    fresh_model.for_inference()  # folds norms, whichever comes first
    for encoder, maps in zip((fresh_model.vfm, fresh_model.vlm), expected, strict=True):
        assert {p.dtype for p in encoder.trunk.parameters()} == {torch.float32}
        with training:
            found, cells = encoder.trunk(pixels), encoder.cells(pixels)
        assert cells.dtype == torch.bfloat16
        for stride, expected_map in maps.items():
            torch.testing.assert_close(found[stride], expected_map, rtol=1e-4, atol=1e-4)
