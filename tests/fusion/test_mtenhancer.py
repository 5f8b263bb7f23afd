"""MTEnhancer: stored values of the released code, and what its parts promise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mfuser.fusion.mtenhancer import EnhancerLayer, MTEnhancer, SelfAttention
from mfuser.weights import official


def test_equals_the_released_code(reference):
    values, weights = reference("mod_context_decoder")
    module = MTEnhancer(96, 64, 4).eval()
    module.load_state_dict(official.collect(module.state_dict(), weights, "enhancer"))
    with torch.no_grad():
        found = module(values["in.text"], values["in.visual"])
    assert (found - values["out.y"]).abs().max() < 1e-5


def test_self_attention_equals_a_loop_over_heads(randomise):
    module = randomise(SelfAttention(12, 3)).eval()
    x = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(1))
    heads = []
    for h in range(3):
        rows = slice(4 * h, 4 * h + 4)
        q, k, v = (x @ p.weight[rows].T for p in (module.q_proj, module.k_proj, module.v_proj))
        heads.append((q @ k.transpose(1, 2) / 4**0.5).softmax(-1) @ v)
    expected = torch.cat(heads, -1) @ module.proj.weight.T + module.proj.bias
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-6)


def test_layer_equals_equation_8_written_out(randomise):
    layer = randomise(EnhancerLayer(16, 4)).eval()
    g = torch.Generator().manual_seed(1)
    x, memory = torch.randn(2, 3, 16, generator=g), torch.randn(2, 9, 16, generator=g)
    y = x + layer.self_attn(F.layer_norm(x, (16,), layer.norm1.weight, layer.norm1.bias))
    t = layer.norm2(y)
    sequence = torch.cat([t, memory, t], 1)
    assert sequence.shape[1] == 3 + 9 + 3
    m = layer.fuser(sequence)
    y = y + m[:, :3] + m[:, 12:]
    y = y + layer.mlp[3](F.gelu(layer.mlp[0](layer.norm3(y))))
    torch.testing.assert_close(layer(x, memory), y, rtol=1e-5, atol=1e-6)


def test_every_image_token_reaches_every_class(randomise):
    module = randomise(MTEnhancer(24, 16, 4)).eval()
    g = torch.Generator().manual_seed(1)
    text, visual = torch.randn(1, 6, 24, generator=g), torch.randn(1, 10, 24, generator=g)
    before = module(text, visual)
    for token in (0, 4, 9):
        changed = visual.clone()
        changed[0, token] += torch.randn(24, generator=g)
        assert ((module(text, changed) - before).abs().amax(-1) > 0).all()


def test_a_batch_is_independent_samples(randomise):
    module = randomise(MTEnhancer(24, 16, 4)).eval()
    text, visual = torch.randn(2, 6, 24), torch.randn(2, 10, 24)
    together = module(text, visual)
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], module(text[i : i + 1], visual[i : i + 1]))


def test_starts_with_the_released_initialisation():
    torch.manual_seed(0)
    module = MTEnhancer(96, 64, 4)
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.25), name
            assert layer.bias is None or layer.bias.abs().max() == 0, name
