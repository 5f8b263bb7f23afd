"""Pixel decoder: closed-form positions, the released code's stored values, shapes and the text path."""

from __future__ import annotations

import math

import pytest
import torch

from mfuser.decoder.pixel_decoder import PixelDecoder, sine_position
from mfuser.weights import official


@pytest.mark.parametrize(("h", "w", "width"), [(1, 1, 8), (3, 5, 8), (9, 4, 32)])
def test_sine_position_is_the_closed_form(h: int, w: int, width: int):
    found = sine_position((h, w), width, torch.device("cpu")).view(h, w, width)
    half = width // 2
    for i in range(h):
        for j in range(w):
            for c in range(width):
                place, n = ((i + 1), h) if c < half else ((j + 1), w)
                k = c % half
                angle = place / (n + 1e-6) * 2 * math.pi / 10000 ** (2 * (k // 2) / half)
                expected = math.sin(angle) if k % 2 == 0 else math.cos(angle)
                assert found[i, j, c].item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("name", ["mod_head_small", "mod_head_small_b2_nonsquare"])
def test_equals_the_released_code(reference, name: str):
    _, weights = reference("mod_head_small")
    values, _ = reference(name)
    module = PixelDecoder(40, 32, 48, 19, layers=2, heads=4, ffn=48, points=4, groups=8).eval()
    cut = "pixel_decoder."
    own = {n.removeprefix(cut): t for n, t in weights.items() if n.startswith(cut)}
    module.load_state_dict(official.collect(module.state_dict(), own, "pixel_decoder"))
    with torch.no_grad():
        memories, features = module([values[f"in.f{i}"] for i in range(4)], values["in.text"])
    assert len(memories) == 3
    for i, memory in enumerate(memories):
        assert (memory - values[f"out.memory{i}"]).abs().max() < 5e-5
    assert (features - values["out.mask_features"]).abs().max() < 5e-5


@pytest.fixture
def small(randomise):
    return randomise(PixelDecoder(6, 16, 12, 5, layers=2, heads=4, ffn=24, points=2, groups=4)).eval()


def pyramid(batch: int, h: int, w: int) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return [torch.randn(batch, 6, h * 8 // s, w * 8 // s, generator=g) for s in (1, 2, 4, 8)]


def test_memories_come_coarsest_first_and_mask_features_at_the_finest_size(small):
    memories, features = small(pyramid(2, 2, 3), torch.randn(2, 5, 12))
    assert [tuple(m.shape) for m in memories] == [(2, 16, 2, 3), (2, 16, 4, 6), (2, 16, 8, 12)]
    assert features.shape == (2, 16, 16, 24)


def test_maps_whose_sides_do_not_halve_evenly_are_taken(small):
    maps = [torch.randn(1, 6, n, m) for n, m in ((36, 20), (18, 10), (9, 5), (4, 2))]
    memories, features = small(maps, torch.randn(1, 5, 12))
    assert features.shape[-2:] == (36, 20) and memories[0].shape[-2:] == (4, 2)


def test_the_texts_are_read(small):
    maps, text = pyramid(1, 2, 3), torch.randn(1, 5, 12)
    before = small(maps, text)[1]
    text[0, 3] += 1
    assert not torch.allclose(before, small(maps, text)[1])


def test_every_parameter_gets_a_gradient(small):
    memories, features = small(pyramid(1, 2, 3), torch.randn(1, 5, 12))
    (features.square().mean() + sum(m.pow(3).mean() for m in memories)).backward()
    without = [name for name, p in small.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
