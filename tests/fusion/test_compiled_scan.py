"""The compiled scan: its arithmetic, layouts, threads, and what happens where its cache cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mfuser.fusion import selective_scan as module
from mfuser.fusion.scan_kernels import compiled
from mfuser.fusion.selective_scan import selective_scan, selective_scan_reference

numba = pytest.importorskip("numba")
ROOT = Path(module.__file__).resolve().parents[2]


def arguments(batch: int, dim: int, length: int, state: int, seed: int = 0) -> dict[str, Tensor]:
    """As MVFuser passes them: u and delta are transposes, B and C slices of a wider tensor."""
    g = torch.Generator().manual_seed(seed)

    def n(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    b, c, _ = n(batch, length, 2 * state + 3).split([state, state, 3], dim=-1)
    return {
        "u": n(batch, length, dim).transpose(1, 2),
        "delta": n(batch, length, dim).transpose(1, 2),
        "A": -torch.exp(n(dim, state)),
        "B": b.transpose(1, 2),
        "C": c.transpose(1, 2),
        "D": n(dim),
        "delta_bias": n(dim) - 2,
    }


def error(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape and found.dtype == expected.dtype
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("dim", [1, 16, 40, 96])
@pytest.mark.parametrize("options", ["", "D", "bias", "D bias softplus"])
@pytest.mark.parametrize(("length", "state"), [(1, 16), (77, 5)])
def test_equals_the_reference(dim: int, options: str, length: int, state: int):
    x = arguments(2, dim, length, state)
    x["D"] = x["D"] if "D" in options else None
    x["delta_bias"] = x["delta_bias"] if "bias" in options else None
    softplus = "softplus" in options
    if not softplus:
        x["delta"], x["delta_bias"] = x["delta"].abs(), None if x["delta_bias"] is None else x["delta_bias"].abs()
    found = selective_scan(**x, delta_softplus=softplus, kernel="compiled")
    assert error(found, selective_scan_reference(**x, delta_softplus=softplus)) < 1e-5


def test_full_size_agrees_everywhere_with_float64():
    """Not only where y is large: without D and with C = 1 nothing cancels when every input is positive."""
    x = arguments(1, 64, 2594, 16)
    x = {**x, "u": x["u"].abs() + 0.1, "B": x["B"].abs() + 0.1, "C": torch.ones_like(x["C"]), "D": None}
    y = selective_scan(**x, delta_softplus=True, kernel="compiled")[0].T.double().numpy()
    u, delta, b = (x[k][0].T.double().numpy() for k in ("u", "delta", "B"))
    steps, a = np.logaddexp(0, delta + x["delta_bias"].double().numpy()), x["A"].double().numpy()
    h, expected = np.zeros(a.shape), np.empty_like(y)
    for t in range(len(u)):
        h = np.exp(steps[t][:, None] * a) * h + (steps[t] * u[t])[:, None] * b[t]
        expected[t] = h.sum(-1)
    assert (np.abs(y - expected) / expected).max() < 1e-5


def evaluate(name: str, values: np.ndarray) -> np.ndarray:
    """One of the kernel's vector functions on an array, length a multiple of 16."""
    from mfuser.fusion.scan_kernels import vectorised as v

    inner = getattr(v, name)

    @numba.njit
    def run(x, y):
        for i in range(0, x.size, v.WIDTH):
            v.store(y, i, inner(v.load(x, i)))

    result = np.empty_like(values)
    run(values, result)
    return result


def test_exponential_is_accurate_and_saturates():
    x = np.linspace(-126, 10, 1 << 16, dtype=np.float32)
    exact = np.exp2(x.astype(np.float64))
    assert (np.abs(evaluate("exp2", x) - exact) / exact).max() < 1e-7
    assert np.array_equal(evaluate("exp2", np.zeros(16, np.float32)), np.ones(16, np.float32))
    assert (evaluate("exp2", np.full(16, -1e30, np.float32)) < 2e-38).all()


def test_softplus_is_accurate_relative_to_itself():
    x = np.linspace(-80, 80, 1 << 16, dtype=np.float32)
    exact = np.logaddexp(0, x.astype(np.float64))
    # e ** x carries the rounding of x log2(e), up to 115 here
    assert (np.abs(evaluate("softplus", x) - exact) / exact).max() < 2e-5
    near = np.abs(x) < 12
    assert (np.abs(evaluate("softplus", x) - exact) / exact)[near].max() < 2e-6


def test_steps_of_any_size_stay_finite():
    x = arguments(1, 16, 50, 4)
    x["delta"] = x["delta"] * 1e4
    y = selective_scan(**x, delta_softplus=True, kernel="compiled")
    assert y.isfinite().all() and error(y, selective_scan_reference(**x, delta_softplus=True)) < 1e-5


def test_inputs_are_left_alone_and_row_layouts_are_not_copied(monkeypatch):
    x = arguments(1, 32, 20, 4)
    before, seen = {k: v.clone() for k, v in x.items()}, []
    run = compiled.function()
    monkeypatch.setattr(compiled, "function", lambda: lambda *a: seen.append(a) or run(*a))
    y = selective_scan(**x, delta_softplus=True, kernel="compiled")
    assert all(torch.equal(x[k], before[k]) for k in x)
    assert [a.ctypes.data for a in seen[0][:2]] == [x["u"].data_ptr(), x["delta"].data_ptr()]
    assert y.transpose(1, 2).is_contiguous()
    by_channel = {**x, "u": x["u"].contiguous(), "delta": x["delta"].contiguous()}
    assert torch.equal(selective_scan(**by_channel, delta_softplus=True, kernel="compiled"), y)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_share_the_channels_and_change_nothing(threads: int, monkeypatch):
    x = arguments(2, 80, 40, 4)
    alone = selective_scan(**x, delta_softplus=True, kernel="compiled")
    monkeypatch.setattr(compiled, "SMALL", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert torch.equal(selective_scan(**x, delta_softplus=True, kernel="compiled"), alone)


def test_callers_in_several_threads_do_not_meet(monkeypatch):
    monkeypatch.setattr(compiled, "SMALL", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    cases = [arguments(1, 48, 60, 4, seed) for seed in range(6)]
    expected = [selective_scan(**x, delta_softplus=True, kernel="compiled") for x in cases]
    found: dict[int, list[Tensor]] = {i: [] for i in range(len(cases))}

    def work(i: int) -> None:
        for _ in range(20):
            torch.randn(64, 64) @ torch.randn(64, 64)  # torch's own threads between the scans
            found[i].append(selective_scan(**cases[i], delta_softplus=True, kernel="compiled"))

    threads = [threading.Thread(target=work, args=(i,)) for i in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(ys) == 20 and all(torch.equal(y, expected[i]) for y in ys) for i, ys in found.items())


def test_a_numba_that_refuses_leaves_the_scan_to_torch(monkeypatch, caplog):
    def refuse():
        raise ImportError("Numba needs NumPy 2.4 or less")

    compiled.ready.cache_clear()
    monkeypatch.setattr(compiled, "function", refuse)
    x = arguments(1, 16, 30, 4)
    y = selective_scan(**x, delta_softplus=True)
    assert error(y, selective_scan_reference(**x, delta_softplus=True)) < 1e-5 and "NumPy 2.4" in caplog.text
    assert module.fastest_kernel(x["u"].device) == "compiled" and module.running_kernel(x["u"].device) == "chunked"
    compiled.ready.cache_clear()


def test_without_numba_the_choice_is_chunked(monkeypatch):
    monkeypatch.setattr(compiled, "installed", lambda: False)
    module.fastest_kernel.cache_clear()
    assert module.fastest_kernel(torch.device("cpu")) == "chunked"
    module.fastest_kernel.cache_clear()


SCAN = """
import sys, logging
logging.basicConfig(level="INFO", stream=sys.stdout)
import torch, mfuser.fusion.mvfuser
assert "numba" not in sys.modules, "numba is imported before the first scan"
from mfuser.fusion.scan_kernels import compiled
n = torch.randn
y = compiled.scan(n(1, 16, 5), n(1, 16, 5), -torch.ones(16, 4), n(1, 4, 5), n(1, 4, 5))
assert y.isfinite().all()
"""


def copy_kernels(folder: Path) -> Path:
    """A copy of the kernels alone, importable from `folder`. Returns where they lie."""
    for part in ("", "ops", "fusion", "fusion/scan_kernels"):
        (folder / "mfuser" / part).mkdir(parents=True)
        for file in (ROOT / "mfuser" / part).glob("*.py"):
            shutil.copy(file, folder / "mfuser" / part)
    (folder / "mfuser" / "__init__.py").write_text("")
    return folder / "mfuser" / "fusion" / "scan_kernels"


def scan_in(folder: Path, environment: dict[str, str]) -> str:
    """What a scan logs in a fresh process."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_"))}
    environment = {**kept, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-B", "-c", SCAN]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("writable", ["package", "home", "temporary", "nothing"])
def test_the_cache_goes_where_it_can_be_written(tmp_path: Path, writable: str):
    """A file where a folder should be made cannot be written into, not even by root."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    for folder in (home, temporary):
        folder.mkdir()
    kernels = copy_kernels(tmp_path / "installed")
    if writable != "package":
        (kernels / "__pycache__").write_text("")
    if writable in ("temporary", "nothing"):
        home.rmdir()
        home.write_text("")
    if writable == "nothing":
        private = temporary / f"mfuser-numba-{os.getuid() if hasattr(os, 'getuid') else 'own'}"
        private.write_text("")
    environment = {"HOME": str(home), "TMPDIR": str(temporary)}
    first, second = (scan_in(tmp_path / "installed", environment) for _ in range(2))
    if writable == "nothing":
        assert "compiled into memory" in first and "compiled into memory" in second
        return
    place = {"package": kernels, "home": home, "temporary": temporary}[writable]
    assert f"compiled into {place}" in first and f"read from {place}" in second


def test_a_private_folder_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = compiled.private_folder()
    assert folder is not None and folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    assert compiled.private_folder() is None
