"""The head of a stream: semantic inference, score map, feature pyramid."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mfuser.decoder.head import MFuserOutput, SegmentationHead
from mfuser.decoder.pyramid import FeaturePyramid


def head(preset, visual_width: int | None = None, channels: int = 10) -> SegmentationHead:
    torch.manual_seed(0)
    return SegmentationHead(channels, 12, 8, 5, preset.decoder, visual_width).eval()


def test_semantic_is_the_sum_over_queries():
    g = torch.Generator().manual_seed(0)
    classes = [torch.randn(2, 5, 6, generator=g) for _ in range(2)]
    masks = [torch.randn(2, 5, 3, 4, generator=g) for _ in range(2)]
    scores = MFuserOutput(classes, masks, None, None, None, []).semantic()
    expected = torch.zeros(2, 5, 3, 4)
    for b in range(2):
        for q in range(5):
            e = torch.exp(classes[-1][b, q])
            for k in range(5):  # the sixth is "no object"
                expected[b, k] += e[k] / e.sum() / (1 + torch.exp(-masks[-1][b, q]))
    torch.testing.assert_close(scores, expected)
    assert scores.min() >= 0 and scores.max() < 5


@pytest.mark.parametrize("grid", [(4, 6), (5, 3)])
def test_shapes_of_a_head(tiny_preset, grid: tuple[int, int]):
    h, w = grid
    g = torch.Generator().manual_seed(1)
    taps = [torch.randn(2, 10, h, w, generator=g) for _ in range(4)]
    visual = torch.randn(2, 1 + h * w, 12, generator=g)
    out = head(tiny_preset)(taps, torch.randn(5, 12, generator=g), visual)
    assert len(out.class_logits) == len(out.mask_logits) == 1 + tiny_preset.decoder.query_layers
    assert out.class_logits[-1].shape == (2, 5, 6) and out.mask_logits[-1].shape == (2, 5, 4 * h, 4 * w)
    assert [tuple(p.shape[-2:]) for p in out.pyramid] == [(4 * h, 4 * w), (2 * h, 2 * w), grid, (h // 2, w // 2)]
    assert out.semantic().shape == (2, 5, 4 * h, 4 * w)


def test_score_map_is_the_cosine_of_patch_and_enhanced_text(tiny_preset):
    g = torch.Generator().manual_seed(1)
    taps = [torch.randn(1, 10, 2, 4, generator=g) for _ in range(4)]
    text, visual = torch.randn(5, 12, generator=g), torch.randn(1, 9, 12, generator=g)
    module = head(tiny_preset)
    out = module(taps, text, visual)
    enhanced = text + module.text_scale * module.enhancer(text[None], visual)[0]
    torch.testing.assert_close(out.text[0], enhanced)
    for k in range(5):
        for i in range(2):
            for j in range(4):
                expected = F.cosine_similarity(enhanced[k], visual[0, 1 + 4 * i + j], dim=0)
                assert out.score_map[0, k, i, j].item() == pytest.approx(expected.item(), abs=1e-5)


def test_vfm_tokens_are_projected_into_the_text_space(tiny_preset):
    module = head(tiny_preset, visual_width=7)
    visual = torch.randn(1, 9, 7)
    out = module([torch.randn(1, 10, 2, 4) for _ in range(4)], torch.randn(5, 12), visual)
    torch.testing.assert_close(out.visual, visual @ module.visual_proj.weight.T + module.visual_proj.bias)


def test_text_scale_zero_leaves_the_texts_alone(tiny_preset):
    module = head(tiny_preset)
    torch.nn.init.zeros_(module.text_scale)
    text = torch.randn(5, 12)
    out = module([torch.randn(1, 10, 2, 4) for _ in range(4)], text, torch.randn(1, 9, 12))
    assert torch.equal(out.text[0], text)


def test_pyramid_levels_come_from_their_own_taps():
    torch.manual_seed(0)
    module = FeaturePyramid(6).eval()
    taps = [torch.randn(1, 6, 4, 6) for _ in range(4)]
    before = module(taps)
    assert torch.equal(before[2], taps[2]) and torch.equal(before[3], F.max_pool2d(taps[3], 2, 2))
    for level in range(4):
        changed = [t + (i == level) for i, t in enumerate(taps)]
        moved = [not torch.equal(a, b) for a, b in zip(before, module(changed), strict=True)]
        assert moved == [i == level for i in range(4)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_deferred_levels_equal_the_layers_in_turn(dtype: torch.dtype):
    torch.manual_seed(0)
    module, maps = FeaturePyramid(12).to(dtype).eval(), [torch.randn(2, 12, 4, 6, dtype=dtype) for _ in range(4)]
    for stat in (module.up4[1].running_mean, module.up4[1].running_var):
        stat.add_(torch.rand(12, dtype=dtype))
    convs = [torch.nn.Conv2d(12, 5, 1, bias=bias).to(dtype) for bias in (True, False)]
    plain, deferred = module(maps), module(maps, defer=True)
    for level, later in zip(plain[:2], deferred[:2], strict=True):
        assert tuple(later.shape) == tuple(level.shape)
        torch.testing.assert_close(later.tensor(), level, rtol=1e-4, atol=1e-5)
        for conv in convs:
            torch.testing.assert_close(later.through(conv), conv(level), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(plain[2:], deferred[2:], strict=True))


def test_inference_merges_layers_and_changes_nothing(tiny_preset):
    g = torch.Generator().manual_seed(1)
    taps = [torch.randn(2, 10, 4, 6, generator=g) for _ in range(4)]
    text, visual = torch.randn(5, 12, generator=g), torch.randn(2, 25, 12, generator=g)
    module = head(tiny_preset)
    slow = module(taps, text, visual)
    with torch.inference_mode():
        fast = module(taps, text, visual)
    for a, b in zip(slow.pyramid, fast.pyramid, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(slow.mask_logits[0], fast.mask_logits[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prepared_for_inference_it_computes_the_same_from_fewer_weights(tiny_preset, dtype: torch.dtype):
    g = torch.Generator().manual_seed(1)
    taps, text = [torch.randn(2, 40, 4, 6, generator=g) for _ in range(4)], torch.randn(5, 12, generator=g)
    visual = torch.randn(2, 25, 12, generator=g)
    module = head(tiny_preset, channels=40)
    with torch.no_grad():
        for parameter in module.pyramid.parameters():
            parameter.normal_(std=0.3, generator=g)
        before = module(taps, text, visual)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            plain = module(taps, text, visual)
        weights = sum(p.numel() for p in module.parameters())
        for _ in range(2):  # safe to call again
            module.for_inference()
        assert sum(p.numel() for p in module.parameters()) < weights
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            after = module(taps, text, visual)
    for exact, rounded, found in zip(*(o.mask_logits + o.class_logits for o in (before, plain, after)), strict=True):
        allowed = 1.5 * (rounded - exact).norm() + 1e-4 * exact.norm()  # no worse than the half precision itself
        assert (found - exact).norm() < allowed
    assert [tuple(level.shape) for level in after.levels] == [tuple(level.shape) for level in before.levels]
    with pytest.raises(ValueError, match="no finest levels"):
        _ = after.pyramid
