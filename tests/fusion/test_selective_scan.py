"""Every scan kernel against the written-out recurrence: values and gradients, per length, option and dtype."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from mfuser.fusion import selective_scan as module
from mfuser.fusion.selective_scan import fastest_kernel, selective_scan, selective_scan_reference


def avx512() -> bool:
    return "AVX512" in torch.backends.cpu.get_cpu_capability()


NAMES = ("u", "delta", "A", "B", "C", "D", "delta_bias")


def arguments(length: int, batch: int = 2, dim: int = 6, state: int = 4, seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)

    def n(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    return {
        "u": n(batch, dim, length),
        "delta": n(batch, dim, length),
        "A": -torch.exp(0.5 * n(dim, state)),
        "B": n(batch, state, length),
        "C": n(batch, state, length),
        "D": n(dim),
        "delta_bias": n(dim) - 1,
    }


def naive(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t, y_t = C_t . h_t in scalars and float64."""
    u, delta, A, B, C = (x.double() for x in (u, delta, A, B, C))
    batch, dim, length = u.shape
    y = torch.zeros_like(u)
    for b in range(batch):
        for d in range(dim):
            h = torch.zeros(A.shape[1], dtype=torch.float64)
            for t in range(length):
                h = torch.exp(delta[b, d, t] * A[d]) * h + delta[b, d, t] * B[b, :, t] * u[b, d, t]
                y[b, d, t] = (C[b, :, t] * h).sum()
    return y


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Largest difference, relative to the largest value: entries that cancel carry the noise of the large ones."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    scale = expected.abs().max().clamp_min(1e-3)
    assert ((actual - expected).abs().max() / scale).item() < tolerance


def test_reference_is_the_recurrence():
    x = arguments(9)
    expected = naive(x["u"], x["delta"].abs(), x["A"], x["B"], x["C"])
    y = selective_scan_reference(x["u"], x["delta"].abs(), x["A"], x["B"], x["C"])
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)


def test_reference_options_add_bias_softplus_and_skip():
    x = arguments(7)
    steps = torch.log1p(torch.exp(x["delta"] + x["delta_bias"][:, None]))
    expected = naive(x["u"], steps, x["A"], x["B"], x["C"]) + (x["D"][:, None] * x["u"]).double()
    y = selective_scan_reference(**x, delta_softplus=True)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [1, 31, 32, 33, 97])
@pytest.mark.parametrize("options", ["", "D", "bias", "D bias softplus"])
def test_chunked_equals_reference_with_all_gradients(length: int, options: str):
    x = arguments(length)
    if "D" not in options:
        x["D"] = None
    if "bias" not in options:
        x["delta_bias"] = None
    softplus = "softplus" in options
    if not softplus:  # a step is positive; the state would explode otherwise
        x["delta"] = x["delta"].abs()
        x["delta_bias"] = None if x["delta_bias"] is None else x["delta_bias"].abs()
    weight = torch.randn(2, 6, length, generator=torch.Generator().manual_seed(9))
    found = {}
    for kernel in ("reference", "chunked"):
        own = {k: None if v is None else v.clone().requires_grad_(True) for k, v in x.items()}
        y = selective_scan(**own, delta_softplus=softplus, kernel=kernel)
        (y * weight).sum().backward()
        found[kernel] = {"y": y.detach(), **{k: v.grad for k, v in own.items() if v is not None}}
    assert found["chunked"].keys() == found["reference"].keys()
    for name, expected in found["reference"].items():
        close(found["chunked"][name], expected, 2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences_of_the_reference(name: str):
    """A directional derivative, independent of both autograd paths. In float32 the step is wide and the mark is 1 %."""
    x = arguments(40, seed=3)
    weight = torch.randn(2, 6, 40, generator=torch.Generator().manual_seed(5))
    direction = torch.randn(x[name].shape, generator=torch.Generator().manual_seed(6))

    def loss(shift: float) -> float:
        moved = {**x, name: x[name] + shift * direction}
        return (selective_scan_reference(**moved, delta_softplus=True) * weight).double().sum().item()

    step = 3e-3
    slope = (loss(step) - loss(-step)) / (2 * step)
    leaf = x[name].clone().requires_grad_(True)
    (selective_scan(**{**x, name: leaf}, delta_softplus=True, kernel="chunked") * weight).sum().backward()
    assert (leaf.grad * direction).sum().item() == pytest.approx(slope, rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kernel", ["reference", "chunked", "compiled"])
def test_half_inputs_keep_their_dtype_and_scan_in_float32(dtype: torch.dtype, kernel: str):
    x = {k: v.to(dtype) if k in ("u", "delta", "B", "C") else v for k, v in arguments(70).items()}
    y = selective_scan(**x, delta_softplus=True, kernel=kernel)
    assert y.dtype == dtype
    exact = selective_scan_reference(**{k: v.float() for k, v in x.items()}, delta_softplus=True)
    # The inputs are the same numbers, so only the rounding of the output is left: half a unit in the last place.
    torch.testing.assert_close(y.float(), exact, rtol=torch.finfo(dtype).eps, atol=1e-4)


@pytest.mark.parametrize("kernel", ["chunked", "compiled"])
def test_float64_inputs_come_back_as_float64(kernel: str):
    x = {k: v.double() for k, v in arguments(35).items()}
    y = selective_scan(**x, delta_softplus=True, kernel=kernel)
    assert y.dtype == torch.float64
    close(y, selective_scan(**x, delta_softplus=True, kernel="reference"), 2e-5)


@pytest.mark.parametrize("kernel", ["chunked", "compiled"])
def test_long_memory_survives(kernel: str):
    """With steps near zero nothing is forgotten: the last output is the sum of all inputs."""
    length = 200
    u, delta = torch.ones(1, 1, length), torch.full((1, 1, length), 1e-3)
    A, B, C = -torch.full((1, 1), 1e-6), torch.ones(1, 1, length), torch.ones(1, 1, length)
    y = selective_scan(u, delta, A, B, C, kernel=kernel)
    torch.testing.assert_close(y[0, 0], 1e-3 * torch.arange(1, length + 1), rtol=1e-4, atol=0)


def test_extreme_steps_stay_finite():
    x = arguments(50)
    x["delta"] = x["delta"] * 60  # decays underflow to 0, and softplus is linear
    leaf = {k: v.clone().requires_grad_(True) for k, v in x.items()}
    y = selective_scan(**leaf, delta_softplus=True, kernel="chunked")
    y.sum().backward()
    assert y.isfinite().all() and all(v.grad.isfinite().all() for v in leaf.values())


def test_unknown_kernel_lists_the_known_ones():
    with pytest.raises(ValueError, match="Unknown scan kernel 'fast'; choose one of .*reference.*chunked"):
        selective_scan(**arguments(4), kernel="fast")


def test_cuda_kernel_needs_a_cuda_tensor():
    with pytest.raises(ValueError, match="needs mamba-ssm .*CUDA"):
        selective_scan(**arguments(4), kernel="cuda")


def test_compiled_kernel_refuses_gradients():
    x = arguments(4)
    x["u"].requires_grad_(True)
    with pytest.raises(ValueError, match="needs numba, tensors on the CPU, and no gradients"):
        selective_scan(**x, kernel="compiled")
    with torch.no_grad():
        assert not selective_scan(**x, kernel="compiled").requires_grad


@pytest.mark.parametrize("grad", [False, True])
def test_choice_on_a_cpu_is_valid_and_logged_once(grad: bool, caplog):
    fastest_kernel.cache_clear()
    with caplog.at_level("INFO", logger=module.__name__):
        names = {fastest_kernel(torch.device("cpu"), grad) for _ in range(3)}
    assert names == {"chunked" if grad else "compiled"} and len(caplog.records) == 1
    assert names.pop() in caplog.text


def test_choice_follows_the_need_of_gradients(monkeypatch):
    called = []
    for name in ("chunked", "compiled"):
        kernel = module.KERNELS[name]
        spy = lambda *a, name=name, kernel=kernel: called.append(name) or kernel(*a)  # noqa: E731
        monkeypatch.setitem(module.KERNELS, name, spy)
    x = arguments(5)
    x["A"].requires_grad_(True)
    selective_scan(**x).sum().backward()
    with torch.inference_mode():
        selective_scan(**x)
    selective_scan(**{k: v.detach() for k, v in x.items()})
    assert called == ["chunked", "compiled", "compiled"] and x["A"].grad is not None


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "factor"), [("chunked", 2), ("compiled", 20 if avx512() else 12)])
def test_kernels_are_much_faster_than_the_reference(kernel: str, factor: float):
    """One ViT-L adapter over both encoders' 512-pixel crops; the best of a few, as other work may be running."""
    x = arguments(2594, batch=1, dim=512, state=16)

    def best(kernel: str, runs: int) -> float:
        times = []
        with torch.inference_mode():
            for _ in range(runs):  # the first warms up
                started = time.perf_counter()
                selective_scan(**x, delta_softplus=True, kernel=kernel)
                times.append(time.perf_counter() - started)
        return min(times[1:])

    assert best("reference", 4) > factor * best(kernel, 10)
