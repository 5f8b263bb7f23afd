"""How mamba-ssm's extension is called: a stand-in with its signature computes by the reference, on a CPU."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from mfuser.fusion.mvfuser import MVFuser, causal_conv_installed
from mfuser.fusion.scan_kernels import cuda, reference
from mfuser.fusion.selective_scan import fastest_kernel, running_kernel


def fwd(u, delta, A, B, C, D, z, delta_bias, softplus):
    """As the extension: groups of B and C in axis 1, one dtype for all of a sequence, float32 for the rest."""
    assert B.shape[1] == C.shape[1] == 1 and z is None and {x.dtype for x in (delta, B, C)} == {u.dtype}
    assert all(x.stride(-1) == 1 for x in (u, delta, B, C)) and A.is_contiguous()
    assert all(x is None or x.dtype == torch.float32 for x in (A, D, delta_bias))
    y = reference.scan(u, delta, A, B[:, 0], C[:, 0], D, delta_bias, softplus)
    return [y, torch.zeros(len(u), u.shape[1], 1, 2 * A.shape[1])]


def bwd(u, delta, A, B, C, D, z, delta_bias, dy, states, out, dz, softplus, recompute):
    assert dy.is_contiguous() and dy.dtype == u.dtype and states.shape[-1] == 2 * A.shape[1] and not recompute
    leaves = [None if x is None else x.detach().requires_grad_(True) for x in (u, delta, A, B, C, D, delta_bias)]
    with torch.enable_grad():
        y = fwd(*leaves[:6], None, leaves[6], softplus)[0]
    given = [x for x in leaves if x is not None]
    grads = iter(torch.autograd.grad(y, given, dy))
    return [None if x is None else next(grads) for x in leaves]


@pytest.fixture(autouse=True)
def extension(monkeypatch):
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", SimpleNamespace(fwd=fwd, bwd=bwd))


@pytest.mark.parametrize("softplus", [True, False])
@pytest.mark.parametrize("optional", [True, False])
def test_arguments_and_gradients_reach_their_places(softplus: bool, optional: bool):
    def n(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    generator = torch.Generator().manual_seed(0)
    x = {
        "u": n(2, 9, 4).transpose(1, 2), "delta": n(2, 9, 4).transpose(1, 2).abs(), "A": -n(4, 3).abs(),
        "B": n(2, 3, 9), "C": n(2, 3, 9), "D": n(4) if optional else None, "delta_bias": n(4) if optional else None,
    }  # fmt: skip
    upstream, found = n(2, 4, 9), []
    for scan in (reference.scan, cuda.scan):
        leaves = {k: None if v is None else v.detach().clone().requires_grad_(True) for k, v in x.items()}
        y = scan(**leaves, delta_softplus=softplus)
        found.append((y, *torch.autograd.grad(y, [v for v in leaves.values() if v is not None], upstream)))
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(b, a)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rows_inside_a_larger_tensor_are_read_in_place_where_wide_loads_can(dtype: torch.dtype):
    whole = torch.randn(2, 4, 32).to(dtype)
    with torch.no_grad():
        assert cuda.in_rows(whole[..., 8:29]).data_ptr() == whole[..., 8:].data_ptr()
        for x in (whole[..., 1:22], whole.transpose(1, 2), torch.randn(2, 4, 31).to(dtype)[..., :30]):
            rows = cuda.in_rows(x)
            assert rows.is_contiguous() and rows.data_ptr() != x.data_ptr() and torch.equal(rows, x)
    assert cuda.in_rows(whole[..., 8:29]).is_contiguous(), "the kernel of the gradients reads whole tensors"


BUILT_FOR_ANOTHER = "raise ImportError('selective_scan_cuda.so: undefined symbol: _ZN3c10')"


@pytest.mark.parametrize(
    "source", [BUILT_FOR_ANOTHER, "raise OSError('libtorch_cuda.so: cannot open')", "import absent"]
)
@pytest.mark.parametrize("module", ["selective_scan_cuda", "causal_conv1d"])
def test_a_build_for_another_torch_is_told_and_left_aside(tmp_path, monkeypatch, caplog, module: str, source: str):
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    works = cuda.installed if module == "selective_scan_cuda" else causal_conv_installed
    works.cache_clear()
    assert not works() and not works()
    works.cache_clear()
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "requirements-gpu.txt" in record.message and "\n" not in record.message


def test_what_is_not_installed_is_no_warning(monkeypatch, caplog):
    monkeypatch.setattr(sys, "path", [])
    for module in ("selective_scan_cuda", "causal_conv1d"):
        monkeypatch.delitem(sys.modules, module, raising=False)
        assert not cuda.importable(module, "a package")
    assert not caplog.records


def test_a_cpu_imports_no_cuda_kernels(monkeypatch):
    monkeypatch.setattr(cuda, "importable", lambda *_: pytest.fail("imported"))
    cuda.installed.cache_clear()
    causal_conv_installed.cache_clear()
    fastest_kernel.cache_clear()
    assert running_kernel(torch.device("cpu")) in ("chunked", "compiled")
    MVFuser(32)(torch.randn(1, 9, 32))


def test_a_sequence_takes_the_dtype_of_u():
    x = torch.randn(1, 4, 9)
    y = cuda.scan(x.bfloat16(), x.abs(), -torch.ones(4, 3).double(), torch.randn(1, 3, 9), torch.randn(1, 3, 9))
    assert y.dtype == torch.bfloat16
