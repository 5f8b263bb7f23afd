"""Text towers with prompts: stored values of the released code, where prompts go, and what is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

import mfuser.encoders  # noqa: F401  before open_clip: lets torchvision be imported beside a CPU torch
from mfuser.weights import official

transformer = pytest.importorskip("open_clip.transformer")

TOWERS = {
    "eva": {"context_length": 13, "output_dim": 48},
    "clip": {"context_length": 10, "output_dim": 48, "act_layer": transformer.QuickGELU},
    "siglip": {
        "context_length": 10,
        "output_dim": 64,
        "mlp_ratio": 2,
        "no_causal_mask": True,
        "pool_type": "last",
        "proj_bias": True,
        "act_layer": partial(nn.GELU, approximate="tanh"),
        "norm_layer": partial(nn.LayerNorm, eps=1e-6),
    },
}


def build(kind: str):
    from mfuser.encoders.text import PromptedText

    torch.manual_seed(0)
    tower = transformer.TextTransformer(vocab_size=100, width=64, heads=4, layers=2, **TOWERS[kind])
    return PromptedText(tower).eval()


@pytest.mark.parametrize("kind", TOWERS)
def test_equals_the_released_code(reference, kind: str):
    values, weights = reference(f"mod_text_{kind}")
    text = build(kind)
    part = "text-siglip" if kind == "siglip" else "text"
    text.tower.load_state_dict(official.collect(text.tower.state_dict(), weights, part))
    with torch.no_grad():
        found = text(values["in.tokens"], values["in.ctx"])
    assert (found - values["out.y"]).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["eva", "clip"])
def test_prompts_go_after_the_first_token(kind: str):
    """Prompts that are embeddings of tokens give what these tokens give, written out."""
    text = build(kind)
    ids = torch.tensor([[98, 5, 6, 99, 0], [98, 7, 99, 0, 0]])
    prompts = text.tower.token_embedding(torch.tensor([[11, 12, 13]]))
    written = torch.tensor([[98, 11, 12, 13, 5, 6, 99, 0], [98, 11, 12, 13, 7, 99, 0, 0]])
    torch.testing.assert_close(text(ids, prompts), text(written))


@pytest.mark.parametrize("kind", ["eva", "clip"])
def test_without_prompts_it_is_open_clips_own_tower(kind: str):
    text = build(kind)
    ids = torch.zeros(2, text.positions, dtype=torch.int64)
    ids[:, :4] = torch.tensor([[98, 5, 6, 99], [98, 7, 8, 99]])
    torch.testing.assert_close(text(ids), text.tower(ids), rtol=1e-5, atol=1e-5)


def test_padding_after_the_end_token_does_not_matter():
    text = build("clip")
    short, long = torch.tensor([[98, 5, 99]]), torch.tensor([[98, 5, 99, 0, 0, 0]])
    torch.testing.assert_close(text(short), text(long))


def test_only_prompts_get_gradients_of_a_frozen_tower():
    text = build("eva").requires_grad_(False)
    prompts = torch.randn(1, 8, 64, requires_grad=True)
    text(torch.tensor([[98, 5, 99, 0, 0]]), prompts).square().sum().backward()
    assert prompts.grad.abs().sum() > 0 and all(p.grad is None for p in text.parameters())


def test_too_long_a_text_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="11 text tokens do not fit in 10 positions; shorten the text"):
        build("clip")(torch.ones(1, 6, dtype=torch.int64), torch.randn(1, 5, 64))
