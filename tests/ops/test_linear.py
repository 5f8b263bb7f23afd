"""Products by oneDNN against torch's own, and when they are chosen."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mfuser.ops import linear as module
from mfuser.ops.linear import Linear, linear, use_fast_products


@pytest.fixture
def calls(monkeypatch) -> list:
    seen, run = [], module._onednn
    monkeypatch.setattr(module, "_onednn", lambda *a: seen.append(a) or run(*a))
    module.usable()
    seen.clear()
    return seen


@pytest.mark.parametrize("shape", [(1, 7, 12), (2, 3, 5, 12), (4, 12), (12,)])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_torch(shape: tuple[int, ...], bias: bool, calls):
    layer, x = nn.Linear(12, 9, bias=bias), torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, layer.weight, layer.bias), layer(x), rtol=1e-5, atol=1e-6)
    assert bool(calls) == module.usable()


def test_layouts_do_not_matter():
    x, w = torch.randn(2, 12, 7).transpose(1, 2), torch.randn(12, 9).t()
    with torch.inference_mode():
        torch.testing.assert_close(linear(x, w), F.linear(x, w), rtol=1e-5, atol=1e-5)
        assert linear(x[:0], w).shape == (0, 7, 9)


def test_gradients_half_precision_and_autocast_go_to_torch(calls):
    layer, x = Linear(12, 9), torch.randn(3, 12)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        linear(x.double(), layer.weight.double())
    assert calls == []


def test_a_torch_without_the_operator_falls_back(monkeypatch):
    def absent(*arguments):
        raise AttributeError("no such operator")

    monkeypatch.setattr(module, "_onednn", absent)
    module.usable.cache_clear()
    with torch.no_grad():
        x, w = torch.randn(3, 12), torch.randn(9, 12)
        assert not module.usable() and torch.equal(linear(x, w), F.linear(x, w))
    module.usable.cache_clear()


def test_layers_change_their_class_and_nothing_else():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 2)), nn.MultiheadAttention(4, 2))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    use_fast_products(model)
    assert type(model[0]) is type(model[1][0]) is Linear and isinstance(model[2].out_proj, nn.Linear)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
