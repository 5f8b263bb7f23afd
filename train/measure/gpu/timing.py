"""Times by device events, peak memory, float32 modes, and the ceiling that matrix products reach on the machine."""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mfuser.ops.timing import times_ms

PRECISIONS = ("float32", "tf32", "bf16")
Row = dict[str, Any]


def median_ms(run: Callable[[], object], device: torch.device, seconds: float = 1.0, most: int = 30) -> float:
    """Median milliseconds of a call after two that do not count: 3 to `most` calls, about `seconds` long.

    On a CPU, where these commands are only tried, one and three.
    """
    on_cuda = device.type == "cuda"
    return statistics.median(times_ms(run, device, 2 if on_cuda else 1, most=most, seconds=seconds * on_cuda))


@contextmanager
def peak_gb(device: torch.device) -> Iterator[dict[str, float]]:
    """Fills {"peak": GB allocated at most while open, "before": GB when it opened}; zeros on a CPU."""
    found = {"peak": 0.0, "before": 0.0}
    if device.type != "cuda":
        yield found
        return
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    found["before"] = torch.cuda.memory_allocated(device) / 1e9
    yield found
    torch.cuda.synchronize(device)
    found["peak"] = torch.cuda.max_memory_allocated(device) / 1e9


@contextmanager
def float32_mode(precision: str) -> Iterator[None]:
    """Products and convolutions of float32 tensors in TF32 for "tf32", in true float32 otherwise; restored after."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def ceilings(device: torch.device, side: int = 8192) -> dict[str, float]:
    """TFLOP/s of one product of two random square matrices, for each precision."""
    rates = {}
    for precision in PRECISIONS:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        with float32_mode(precision):
            rates[precision] = 2 * side**3 / median_ms(lambda: a @ b, device) / 1e9  # noqa: B023
    return rates


def machine(device: torch.device) -> Row:
    """Device, versions and kernels, for the head of a report."""
    from importlib.metadata import PackageNotFoundError, version

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    facts = {"device": platform.processor() or platform.machine(), "python": sys.version.split()[0]}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["device"] = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, {torch.cuda.device_count()} here"
    facts |= {"torch": torch.__version__, "cuda": str(torch.version.cuda)}
    names = ("mamba-ssm", "causal-conv1d", "timm", "open_clip_torch", "triton")
    return {**facts, **{name: of(name) for name in names}}
