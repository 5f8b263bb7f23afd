"""Query decoder: the masking rule, the released code's stored values, and the order of predictions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mfuser.decoder.pixel_decoder import PixelDecoder, sine_position
from mfuser.decoder.query_decoder import QueryDecoder
from mfuser.weights import official


@pytest.fixture
def small(randomise):
    return randomise(QueryDecoder(16, 12, 5, layers=4, heads=4, ffn=24)).eval()


def inputs(batch: int = 2) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    memories = [torch.randn(batch, 16, 2 * s, 3 * s, generator=g) for s in (1, 2, 4)]
    return torch.randn(batch, 5, 12, generator=g), memories, torch.randn(batch, 16, 16, 24, generator=g)


@pytest.mark.parametrize("name", ["mod_head_small", "mod_head_small_b2_nonsquare"])
def test_head_equals_the_released_code(reference, name: str):
    _, weights = reference("mod_head_small")
    values, _ = reference(name)
    first = PixelDecoder(40, 32, 48, 19, layers=2, heads=4, ffn=48, points=4, groups=8).eval()
    second = QueryDecoder(32, 48, 19, layers=4, heads=4, ffn=56).eval()
    cut = "pixel_decoder."
    pixel = {n.removeprefix(cut): t for n, t in weights.items() if n.startswith(cut)}
    query = {n: t for n, t in weights.items() if not n.startswith(cut)}
    first.load_state_dict(official.collect(first.state_dict(), pixel, "pixel_decoder"))
    second.load_state_dict(official.collect(second.state_dict(), query, "query_decoder"))
    with torch.no_grad():
        memories, features = first([values[f"in.f{i}"] for i in range(4)], values["in.text"])
        classes, masks = second(values["in.text"], memories, features)
    assert (torch.stack(classes) - values["out.cls"]).abs().max() < 5e-5
    assert (torch.stack(masks) - values["out.mask"]).abs().max() < 5e-5


def test_predicts_before_the_first_layer_and_after_each(small):
    text, memories, features = inputs()
    classes, masks = small(text, memories, features)
    assert len(classes) == len(masks) == 1 + 4
    assert {tuple(c.shape) for c in classes} == {(2, 5, 6)} and {tuple(m.shape) for m in masks} == {(2, 5, 16, 24)}
    # The first one sees the texts and the mask features only.
    other = small(text, [torch.zeros_like(m) for m in memories], features)
    assert torch.equal(classes[0], other[0][0]) and torch.equal(masks[0], other[1][0])
    assert not torch.equal(classes[1], other[0][1])


def test_blocked_where_the_resized_mask_is_negative_and_never_everywhere(small):
    """Query rows get plain masks: all negative, all positive, and negative in the left half."""
    text, _, features = inputs(batch=1)
    query = small.text_proj(text)
    target = torch.ones(3, 16, 24)
    target[0], target[2, :, :12] = -1, -1
    embeddings = small.mask_embed(small.post_norm(query))[0, :3]  # (3, C)
    # Mask features for which these three queries give exactly the targets: solve embeddings @ features = target.
    features = (torch.linalg.pinv(embeddings) @ target.flatten(1)).view(1, 16, 16, 24)
    (_, masks), blocked = small.predict(query, features, (4, 6))
    torch.testing.assert_close(masks[0, :3], target, rtol=0, atol=1e-4)
    assert blocked.shape == (1 * 4, 5, 24) and blocked.dtype == torch.bool
    rows = blocked.view(4, 5, 4, 6)
    assert all(torch.equal(rows[0], rows[head]) for head in range(4))
    assert not rows[0, 0].any(), "a query that may look nowhere may look everywhere"
    assert not rows[0, 1].any()
    assert rows[0, 2, :, :3].all() and not rows[0, 2, :, 3:].any()
    assert not blocked.all(-1).any()


def test_masks_of_a_batch_block_their_own_sample(small):
    """Rows of the attention mask are (sample, head): interleaved wrongly, samples would read each other's masks."""
    text, memories, features = inputs()
    together = small(text, memories, features)
    for i in range(2):
        alone = small(text[i : i + 1], [m[i : i + 1] for m in memories], features[i : i + 1])
        torch.testing.assert_close(together[0][-1][i], alone[0][-1][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together[1][-1][i], alone[1][-1][0], rtol=1e-4, atol=1e-5)


def test_first_layer_written_out(small):
    """Cross-attention with a level's memory: keys with position, values without, both with the level embedding."""
    text, memories, features = inputs(batch=1)
    query, pos, layer = small.text_proj(text), small.query_embed.weight, small.layers[0]
    blocked = small.predict(query, features, (2, 3))[1]
    value = memories[0].flatten(2).transpose(1, 2) + small.level_embed.weight[0]
    key = value + sine_position((2, 3), 16, value.device)
    attention = layer.cross_attn
    wq, wk, wv = attention.in_proj_weight.chunk(3)
    bq, bk, bv = attention.in_proj_bias.chunk(3)
    q, k, v = F.linear(query + pos, wq, bq), F.linear(key, wk, bk), F.linear(value, wv, bv)
    q, k, v = (x.unflatten(-1, (4, 4)).transpose(1, 2) for x in (q, k, v))
    logits = (q @ k.transpose(-1, -2) / 2).masked_fill(blocked.view(1, 4, 5, 6), float("-inf"))
    x = attention.out_proj((logits.softmax(-1) @ v).transpose(1, 2).flatten(2)) + query
    x = layer.norms[0](x)
    x = layer.norms[1](x + layer.self_attn(x + pos, x + pos, x)[0])
    x = layer.norms[2](x + layer.ffn.fc2(layer.ffn.fc1(x).relu()))
    expected = small.cls_embed(small.post_norm(x))
    torch.testing.assert_close(small(text, memories, features)[0][1], expected, rtol=1e-4, atol=1e-5)
