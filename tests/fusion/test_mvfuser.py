"""MVFuser against a second implementation in numpy, and against the stored values of the released code."""

from __future__ import annotations

import copy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mfuser.fusion import mvfuser
from mfuser.fusion.mvfuser import MVFuser, RMSNorm, conv_silu, shifted_conv
from mfuser.fusion.scan_kernels import compiled
from mfuser.ops import exact as exact_module
from mfuser.ops import fused_steps
from mfuser.weights import official


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def same_conv(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Depthwise over tokens, zero padding on both sides. x: (L, H), kernel: (H, 3)."""
    padded = np.pad(x, ((1, 1), (0, 0)))
    return sum(padded[i : i + len(x)] * kernel[:, i] for i in range(3))


def naive_mvfuser(module: MVFuser, tokens: np.ndarray) -> np.ndarray:
    """The released computation for one sequence (L, C), float64, step by step."""
    w = {name: p.detach().double().numpy() for name, p in module.named_parameters()}
    half, state = w["D"].size, w["A_log"].shape[1]
    xz = tokens @ w["in_proj.weight"].T
    x = silu(same_conv(xz[:, :half], w["conv1d_x.weight"][:, 0]))
    z = silu(same_conv(xz[:, half:], w["conv1d_z.weight"][:, 0]))
    projected = x @ w["x_proj.weight"].T
    rank = projected.shape[1] - 2 * state
    dt, b, c = projected[:, :rank], projected[:, rank : rank + state], projected[:, rank + state :]
    bias = w["dt_proj.bias"]
    delta = np.logaddexp(0, dt @ w["dt_proj.weight"].T + bias + bias)  # the bias counts twice
    a = -np.exp(w["A_log"])
    h, y = np.zeros((half, state)), np.zeros_like(x)
    for t in range(len(x)):
        h = np.exp(delta[t][:, None] * a) * h + delta[t][:, None] * b[t][None] * x[t][:, None]
        y[t] = h @ c[t] + w["D"] * x[t]
    normed = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5) * w["norm.weight"]
    return w["scale"] * ((normed * silu(z)) @ w["out_proj.weight"].T)


@pytest.mark.parametrize(("width", "length"), [(32, 1), (32, 45), (48, 70)])
def test_equals_the_step_by_step_numpy_version(randomise, width: int, length: int):
    module = randomise(MVFuser(width, state=5)).eval()
    tokens = torch.randn(2, length, width, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = module(tokens).numpy()
    for row in range(2):
        expected = naive_mvfuser(module, tokens[row].double().numpy())
        assert np.abs(found[row] - expected).max() < 1e-5 * max(1, np.abs(expected).max())


def test_equals_the_released_code(reference):
    values, weights = reference("mod_mvfuser")
    module = MVFuser(64).eval()
    module.load_state_dict(official.collect(module.state_dict(), weights))
    with torch.no_grad():
        found = module(values["in.x"])
    assert (found - values["out.y"]).abs().max() < 1e-5


def test_starts_as_a_small_offset_and_with_mambas_time_steps():
    torch.manual_seed(0)
    module = MVFuser(64)
    steps = F.softplus(module.dt_proj.bias)
    assert 1e-3 <= steps.min() and steps.max() <= 0.1 + 1e-6
    assert torch.equal(module.A_log.exp().round(), torch.arange(1, 17).float().expand(32, -1))
    assert module.scale.item() == pytest.approx(1e-3)
    tokens = torch.randn(1, 20, 64)
    assert module.eval()(tokens).norm() < 0.01 * tokens.norm()


def test_tokens_are_read_in_order_and_the_convolution_looks_one_token_ahead(randomise):
    """Changing token 30 must not touch outputs before 29 (the 'same' convolution) and must reach the last one."""
    module = randomise(MVFuser(32)).eval()
    tokens = torch.randn(1, 60, 32, generator=torch.Generator().manual_seed(2))
    changed = tokens.clone()
    changed[0, 30] += 1
    with torch.no_grad():
        moved = (module(tokens) - module(changed)).abs().amax(-1)[0]
    assert moved[:29].max() == 0 and moved[29] > 0 and moved[-1] > 0


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    module, tokens = MVFuser(32, dropout=0.5, init_scale=1.0), torch.randn(1, 40, 32)
    assert not torch.equal(module.train()(tokens), module(tokens))
    assert torch.equal(module.eval()(tokens), module(tokens))


def test_every_parameter_gets_a_gradient(randomise):
    module = randomise(MVFuser(32)).train()
    module(torch.randn(2, 20, 32)).square().sum().backward()
    without = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_rms_norm_computes_in_float32_and_keeps_the_dtype():
    norm = RMSNorm(8)
    x = (1e4 * torch.randn(3, 8)).half()  # squares of these do not fit in float16
    y = norm(x)
    assert y.dtype == torch.float16 and y.isfinite().all()
    torch.testing.assert_close(y.float().square().mean(-1), torch.ones(3), rtol=1e-2, atol=0)


def test_conv_silu_is_depthwise_and_centred():
    conv = torch.nn.Conv1d(2, 2, 3, padding="same", groups=2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[1.0, 0, 0]], [[0, 0, 1.0]]]))
    x = torch.arange(1.0, 9).view(1, 2, 4)
    expected = F.silu(torch.tensor([[[0.0, 1, 2, 3], [6, 7, 8, 0]]]))
    torch.testing.assert_close(conv_silu(x.transpose(1, 2), conv), expected.transpose(1, 2))


@pytest.mark.parametrize("length", [1, 2, 3, 50])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_shifted_products_equal_the_convolution_with_gradients(length: int, kernel: int):
    conv = torch.nn.Conv1d(6, 6, kernel, padding="same", groups=6, bias=False).double()
    x = torch.randn(2, length, 6, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, length, 6, dtype=torch.float64)
    found = {}
    for name, y in (
        ("conv", conv(x.transpose(1, 2)).transpose(1, 2)),
        ("shifted", shifted_conv(x, conv.weight)),
    ):
        found[name] = (y, *torch.autograd.grad((y * upstream).sum(), (x, conv.weight)))
    for a, b in zip(found["conv"], found["shifted"], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.skipif(not compiled.installed(), reason="needs numba")
@pytest.mark.parametrize("length", [9, 16, 37])
@torch.no_grad()
def test_in_pieces_it_computes_the_same(randomise, monkeypatch, length: int):
    mvfuser, tokens = randomise(MVFuser(40)).eval(), torch.randn(2, length, 40)
    whole, calls = mvfuser(tokens), []
    monkeypatch.setattr("mfuser.fusion.mvfuser.PIECE", 8)
    run = compiled.scan
    monkeypatch.setattr(compiled, "scan", lambda *a, **k: calls.append(a[0].shape[-1]) or run(*a, **k))
    torch.testing.assert_close(mvfuser(tokens), whole, rtol=1e-5, atol=1e-7)
    assert calls == [8] * (length // 8) + [length % 8] * (length % 8 > 0)
    with exact_module.plain_torch():
        mvfuser(tokens)
    assert len(calls) == -(-length // 8)  # the exact path stays in one piece


@pytest.mark.parametrize("width", [32, 48])
def test_inference_equals_training_path(randomise, width: int):
    """Without gradients the compiled scan runs, with them the chunked one."""
    module = randomise(MVFuser(width)).eval()
    tokens = torch.randn(2, 70, width, generator=torch.Generator().manual_seed(1))
    slow = module(tokens)
    with torch.inference_mode():
        fast = module(tokens)
    assert slow.requires_grad
    torch.testing.assert_close(fast, slow.detach(), rtol=1e-5, atol=1e-5 * slow.abs().max().item())


def folded(module: MVFuser) -> MVFuser:
    folded = copy.deepcopy(module)
    folded.fold_scales()
    folded.fold_scales()  # again changes nothing
    return folded


@pytest.mark.parametrize("conv", [1, 3, 5])
@pytest.mark.parametrize(("width", "length"), [(32, 1), (48, 70), (64, 24)])
@torch.inference_mode()
def test_folded_it_computes_the_same(randomise, width: int, length: int, conv: int):
    module = randomise(MVFuser(width, conv=conv)).eval()
    tokens = torch.randn(2, length, width, generator=torch.Generator().manual_seed(1))
    expected = module(tokens)
    close = {"rtol": 1e-4, "atol": 1e-5 * expected.abs().max().item()}
    torch.testing.assert_close(folded(module)(tokens), expected, **close)
    cut = length // 3
    parts = folded(module).folded([tokens[:, :cut], tokens[:, cut:]])
    for part, want in zip(parts, (slice(cut), slice(cut, None)), strict=True):
        assert part.is_contiguous()
        torch.testing.assert_close(part, expected[:, want], **close)


@pytest.mark.parametrize("installed", [True, False])
@torch.inference_mode()
def test_folded_its_scan_reads_rows_as_they_lie(randomise, monkeypatch, installed: bool):
    """With a stand-in of causal-conv1d's call and without: at addresses that wide loads can read, not copied."""

    def causal_conv1d_fn(x, weight, bias, activation):
        assert x.shape[-1] % 8 == 0 and (x.stride(2) == 1 or x.stride(1) == 1) and bias is None
        return F.silu(F.conv1d(F.pad(x, (2, 0)), weight[:, None], groups=len(weight)))

    module = randomise(MVFuser(32)).eval()
    tokens = torch.randn(2, 29, 32, generator=torch.Generator().manual_seed(1))
    expected = module(tokens)
    monkeypatch.setitem(sys.modules, "causal_conv1d", SimpleNamespace(causal_conv1d_fn=causal_conv1d_fn))
    monkeypatch.setattr(mvfuser, "causal_fits", lambda x, kernel: installed)
    # The plain convolution gives a cut copy; Triton's writes whole rows in the layout of its input.
    whole = fused_steps.conv_silu.plain
    monkeypatch.setattr(fused_steps.conv_silu, "plain", lambda x, weight: torch.empty_like(x).copy_(whole(x, weight)))
    scans: list[torch.Tensor] = []
    through = mvfuser.selective_scan
    monkeypatch.setattr(mvfuser, "selective_scan", lambda *a, **k: scans.extend((*a[:2], *a[3:5])) or through(*a, **k))
    found = folded(module)(tokens)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert all(x.shape[-1] == 29 and x.stride(-1) == 1 for x in scans)
    assert all(n % 8 == 0 for x in scans for n in (*x.stride()[:-1], x.storage_offset()))


@pytest.mark.parametrize("conv", [1, 3, 5])
def test_framed_rows_are_a_multiple_of_8_with_zeros_around(conv: int):
    module, first = MVFuser(8, conv=conv), {1: 0, 3: 7, 5: 6}[conv]
    for length in range(1, 20):
        rows = module.framed([torch.ones(1, length, 4), torch.ones(1, 2, 4)])
        n = length + 2
        assert rows.shape[1] % 8 == 0 and rows.shape[1] - n - first - conv // 2 in range(8)
        assert rows[:, first : first + n].min() == 1 and rows.sum() == 4 * n


def test_bfloat16_weights_keep_the_scan_in_float32(randomise):
    module = randomise(MVFuser(64)).eval()
    tokens = torch.randn(1, 90, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        exact = module(tokens)
        with torch.autocast("cpu", torch.bfloat16):
            rough = module(tokens.bfloat16()).float()
    assert (rough - exact).norm() < 0.02 * exact.norm()
