"""The switch to torch's own operators: what runs inside it, and that it computes the same function."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mfuser.fusion.scan_kernels import chunked, compiled
from mfuser.fusion.selective_scan import KERNELS, running_kernel
from mfuser.ops import exact, linear


@pytest.fixture
def ran(monkeypatch) -> set:
    """Which of the two fast parts and their replacement ran."""
    names, product = set(), linear._onednn
    monkeypatch.setattr(linear, "_onednn", lambda *a: names.add("onednn") or product(*a))
    for name, kernel in (("compiled", compiled.scan), ("chunked", chunked.scan)):
        monkeypatch.setitem(KERNELS, name, lambda *a, n=name, k=kernel: names.add(n) or k(*a))
    return names


def test_products_and_scan_are_torchs_own_inside(tiny_model, ran):
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        fast = tiny_model(pixels).semantic()
        assert ran == {"onednn", "compiled"} or not (linear.usable() and compiled.installed())
        ran.clear()
        with exact.plain_torch():
            plain = tiny_model(pixels).semantic()
        assert ran == {"chunked"}
        with exact.plain_torch():
            assert running_kernel(pixels.device) == "chunked"
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


def test_the_switch_is_of_one_thread_and_is_put_back():
    with pytest.raises(RuntimeError), exact.plain_torch():
        assert exact.plain()
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(exact.plain).result()
        raise RuntimeError
    assert not exact.plain()
