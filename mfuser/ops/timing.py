"""Times of calls on a CPU or a GPU, where they go, and the rate that products reach on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

PRODUCT = (1025, 1024, 4096)  # one ViT-L layer: tokens, channels in, channels out


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def one_ms(run: Callable[[], object], device: torch.device) -> float:
    """Milliseconds of one call, by the device's own events on CUDA."""
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1000


def times_ms(
    run: Callable[[], object],
    device: torch.device,
    warm: int = 1,
    least: int = 3,
    most: int = 30,
    seconds: float = 0.0,
) -> list[float]:
    """Milliseconds of several calls. Quote their median, or their minimum on a machine that others use too.

    Args:
        run: what is timed.
        device: where it runs.
        warm: calls before, which do not count.
        least: calls at least.
        most: calls at most.
        seconds: after `least` calls, go on for about so long.

    Returns:
        One number a call.
    """
    for _ in range(warm):
        run()
    synchronise(device)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < least or (len(times) < most and time.perf_counter() - started < seconds):
        times.append(one_ms(run, device))
    return times


def product_rate(dtype: torch.dtype, device: torch.device, shape: Sequence[int] = PRODUCT, runs: int = 20) -> float:
    """FLOP/s of the fastest of several products of two random matrices.

    Args:
        dtype: of the matrices.
        device: where they lie.
        shape: rows, inner dimension and columns.
        runs: products that count.
    """
    rows, inner, columns = shape
    a = torch.randn(rows, inner, device=device).to(dtype)
    b = torch.randn(columns, inner, device=device).to(dtype).t()
    return 2000 * rows * inner * columns / min(times_ms(lambda: a @ b, device, warm=3, least=runs, most=runs))


def part_times(model: nn.Module, forward: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Milliseconds of each part in one pass of the fused stream; waiting for the device after each adds a little.

    Args:
        model: an `MFuserNetwork`.
        forward: runs one pass of it.
        device: where it lies.

    Returns:
        Part of the network -> milliseconds. "rest" is what lies between the parts.
    """
    head = model.heads["fused" if "fused" in model.heads else next(iter(model.heads))]
    parts = {
        **{"VFM": model.vfm, "VLM": model.vlm, "adapters": model.fusion, "enhancer": head.enhancer},
        **{"pyramid": head.pyramid, "pixel decoder": head.pixel_decoder, "query decoder": head.query_decoder},
    }
    spent: dict[str, float] = {}

    def timed(part: str, function: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            synchronise(device)
            results: list[Any] = []
            ms = one_ms(lambda: results.append(function(*arguments, **options)), device)
            spent[part] = spent.get(part, 0.0) + ms
            return results[0]

        return call

    with _replaced(
        {
            (module, name): timed(part, getattr(module, name))
            for part, module in parts.items()
            for name in (("embed", "block", "norm", "dense") if part in ("VFM", "VLM") else ("forward",))
            if hasattr(module, name)
        }
    ):
        total = one_ms(forward, device)
    return {**spent, "rest": total - sum(spent.values())}


def slowest_operators(run: Callable[[], object], device: torch.device, count: int) -> list[dict[str, Any]]:
    """The kernels (operators on a CPU) that took the most time in one call, by torch's profiler.

    Returns:
        {"name", "ms", "calls"} of each, the slowest first.
    """
    from torch.profiler import ProfilerActivity, profile

    on_cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]) as recorded:
        run()
        synchronise(device)
    key = "self_device_time_total" if on_cuda else "self_cpu_time_total"
    events = sorted(recorded.key_averages(), key=lambda event: -getattr(event, key))
    kernels = [e for e in events if not on_cuda or str(e.device_type).endswith("CUDA")][:count]
    return [{"name": e.key, "ms": getattr(e, key) / 1000, "calls": e.count} for e in kernels]


def random_token_ids(classes: int, length: int) -> Tensor:
    """(classes, length) int64 that stand in for a vocabulary that is not at hand; times do not depend on them."""
    return torch.randint(2, 32000, (classes, length), generator=torch.Generator().manual_seed(0))


@contextmanager
def _replaced(attributes: Mapping[tuple[Any, str], Any]) -> Iterator[None]:
    """Attributes of instances replaced while open."""
    for (owner, name), value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name in attributes:
            delattr(owner, name)
