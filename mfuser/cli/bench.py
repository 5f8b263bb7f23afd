"""`bench`: how fast this machine multiplies matrices, scans, and runs a preset, and how close to its bound."""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

from mfuser.cli import common

EXAMPLES = """  python -m mfuser bench
  python -m mfuser bench --preset dinov2-l+eva02-clip-l --random --precision float32,bf16
  python -m mfuser bench --preset nano --profile
"""
PRODUCT = (1025, 1024, 4096)  # one ViT-L layer: tokens, channels in, channels out
ADAPTER = {"length": 2594, "dim": 512, "state": 16}  # the scan of one ViT-L adapter over both encoders' tokens


def add_parser(commands: Any) -> None:
    summary = "Measure the machine's matrix products, the scan kernels, and a preset's forward pass against its bound."
    parser = common.add_command(commands, "bench", run, summary, EXAMPLES)
    parser.add_argument("--preset", default="nano", help="model to run (default: %(default)s)")
    parser.add_argument("--random", action="store_true", help="random weights: speed does not depend on them")
    parser.add_argument("--precision", type=precisions, default=["float32", "bf16"], metavar="P[,P]",
                        help="float32, bf16 or both, joined by a comma (default: both)")  # fmt: skip
    parser.add_argument("--size", type=int, metavar="N", help="side of the square crop (default: 512, or near it)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: what torch chooses)")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of which the best counts (default: 5)")
    parser.add_argument("--profile", action="store_true", help="also the operators that took the most time")
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def precisions(text: str) -> list[str]:
    """Type of --precision."""
    names = common.comma_list(text)
    if not names or set(names) - {"float32", "bf16"}:
        raise argparse.ArgumentTypeError(f"choose from float32, bf16, joined by commas, not {text!r}")
    return names


def run(args: argparse.Namespace) -> int:
    """Each part in a process of its own: peak memory belongs to one model, and nothing warms up another's caches."""
    from mfuser import presets

    preset = presets.get(args.preset)
    for name in ("size", "threads", "runs"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}.")
    size = args.size or max(1, round(512 / preset.divisor)) * preset.divisor if preset.exact else args.size or 512
    result: dict[str, Any] = {"products": apart(measure_products, args.threads)}
    if not args.json:
        print("\n".join(product_lines(result["products"])), flush=True)
    result["scans"] = apart(measure_scans, args.threads)
    if not args.json:
        print("\n".join(scan_lines(result["scans"])), flush=True)
    result["models"] = []
    for precision in args.precision:
        found = apart(measure_model, args.preset, precision, size, args.runs, args.random, args.threads, args.profile)
        if isinstance(found, str):
            raise ValueError(found)
        result["models"].append(found)
        if not args.json:
            print("\n".join(model_lines(found)), flush=True)
    if args.json:
        print(json.dumps(result, indent=2))
    return 0


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


# ------------------------------------------------------------------------------------------------ measurements


def best_ms(run: Callable[[], Any], runs: int, warm: int = 1) -> float:
    """Milliseconds of the fastest of several runs after `warm` that do not count."""
    times = []
    for _ in range(warm + runs):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times[warm:]) * 1000


def use_threads(threads: int | None) -> int:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def product_rate(dtype: Any, runs: int = 20) -> float:
    """GFLOP/s of one product of `PRODUCT`'s size."""
    import torch

    rows, inner, columns = PRODUCT
    a, b = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype).t()
    return 2 * rows * inner * columns / best_ms(lambda: a @ b, runs, warm=3) / 1e6


def measure_products(threads: int | None) -> dict[str, Any]:
    """Rates of float32 and bfloat16 at 1 thread and at all of them."""
    import torch

    most = use_threads(threads)
    rates = []
    for count in sorted({1, most}):
        torch.set_num_threads(count)
        rates += [
            {"dtype": name, "threads": count, "gflops": product_rate(dtype)}
            for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
        ]
    return {"shape": PRODUCT, "cpu": torch.backends.cpu.get_cpu_capability(), "rates": rates}


def measure_scans(threads: int | None) -> dict[str, Any]:
    """Every CPU kernel against the reference on one ViT-L adapter's sequence."""
    import torch

    from mfuser.fusion.scan_kernels import compiled
    from mfuser.fusion.selective_scan import selective_scan

    threads = use_threads(threads)
    g = torch.Generator().manual_seed(0)
    length, dim, state = ADAPTER.values()

    def n(channels: int) -> Any:
        return torch.randn(1, length, channels, generator=g).transpose(1, 2)

    inputs = (n(dim), n(dim) - 2, -torch.arange(1.0, state + 1).repeat(dim, 1), n(state), n(state))
    kernels, first, rows = ["reference", "chunked"], None, []
    if compiled.installed():
        started = time.perf_counter()
        if compiled.ready():
            kernels.append("compiled")
            first = time.perf_counter() - started
    with torch.inference_mode():
        for kernel in kernels:
            options = {"delta_softplus": True, "kernel": kernel}
            y = selective_scan(*inputs, **options)
            ms = best_ms(lambda: selective_scan(*inputs, **options), 5 if kernel == "reference" else 20)  # noqa: B023
            if kernel == "reference":
                expected, reference = y, ms
            error = ((y - expected).abs().max() / expected.abs().max()).item()
            rows.append({"kernel": kernel, "ms": ms, "ratio": reference / ms, "error": error})
    return {**ADAPTER, "threads": threads, "kernels": rows, "first_use_s": first}


def measure_model(
    name: str, precision: str, size: int, runs: int, random: bool, threads: int | None, profile: bool
) -> dict[str, Any] | str:
    """One preset's fused stream on one crop. Returns a sentence where the preset cannot be loaded."""
    import torch

    from mfuser.flops import count_flops
    from mfuser.fusion.selective_scan import fastest_kernel
    from mfuser.loading import load
    from mfuser.memory import peak_memory
    from mfuser.model import MFuser
    from mfuser.segmenter import PRECISIONS, Segmenter

    logging.getLogger("mfuser").setLevel(logging.ERROR)
    threads, started = use_threads(threads), time.perf_counter()
    try:
        if random:
            segmenter = Segmenter(MFuser.from_preset(name, pretrained=False), "cpu", precision)
        else:
            segmenter = load(name, "cpu", precision)
    except ValueError as error:
        return f"{error} (--random runs it with random weights.)"
    loaded = time.perf_counter() - started
    pixels = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 255
    rate = product_rate(PRECISIONS[precision])
    with torch.inference_mode():
        ms = best_ms(lambda: segmenter.forward(pixels), runs)
        rate = max(rate, product_rate(PRECISIONS[precision]))  # before and after: neighbours may be busy
        peak = peak_memory()
        stages = stage_times(segmenter, pixels)
        slowest = operators(segmenter, pixels) if profile else None
    flops = count_flops(lambda: segmenter.forward(pixels))
    bound = flops / rate / 1e6
    return {
        "preset": name, "precision": precision, "threads": threads, "size": size, "scan": fastest_kernel(pixels.device),
        "load_s": loaded, "ms": ms, "gflop": flops / 1e9, "gflops": rate, "bound_ms": bound, "ratio": ms / bound,
        "peak_gb": peak / 1e9, "stages": stages, "operators": slowest,
    }  # fmt: skip


def stage_times(segmenter: Any, pixels: Any) -> dict[str, float]:
    """Milliseconds of each part in one forward pass, by hooks; parts within parts are taken out of the outer one."""
    model, spent = segmenter.model, {}
    head = model.heads["fused" if "fused" in model.heads else next(iter(model.heads))]
    parts = {
        "VFM": [model.vfm], "VLM": [model.vlm], "adapters": [model.fusion], "enhancer": [head.enhancer],
        "pyramid": [head.pyramid], "pixel decoder": [head.pixel_decoder], "query decoder": [head.query_decoder],
    }  # fmt: skip

    def timed(part: str, function: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments, **options)
            spent[part] = spent.get(part, 0.0) + (time.perf_counter() - started) * 1000
            return result

        return call

    changed = []
    for part, (module,) in parts.items():
        for name in ("embed", "block", "norm", "dense") if part in ("VFM", "VLM") else ("forward",):
            if hasattr(module, name):
                setattr(module, name, timed(part, getattr(module, name)))
                changed.append((module, name))
    started = time.perf_counter()
    segmenter.forward(pixels)
    total = (time.perf_counter() - started) * 1000
    for module, name in changed:
        delattr(module, name)
    return {**spent, "rest": total - sum(spent.values())}


def operators(segmenter: Any, pixels: Any, count: int = 15) -> list[dict[str, Any]]:
    """The operators that took the most time in one forward pass."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        segmenter.forward(pixels)
    found = sorted(recorded.key_averages(), key=lambda e: -e.self_cpu_time_total)[:count]
    return [{"name": e.key, "ms": e.self_cpu_time_total / 1000, "calls": e.count} for e in found]


# ------------------------------------------------------------------------------------------------ for reading


def product_lines(facts: dict[str, Any]) -> list[str]:
    out = [f"product {'x'.join(map(str, facts['shape']))} ({facts['cpu']})", "  dtype     threads  GFLOP/s"]
    return out + [f"  {r['dtype']:9} {r['threads']:7}  {r['gflops']:7.0f}" for r in facts["rates"]]


def scan_lines(facts: dict[str, Any]) -> list[str]:
    shape = f"{facts['length']} steps, {facts['dim']} channels, {facts['state']} states"
    out = [f"selective scan, {shape}, {facts['threads']} threads", "  kernel          ms  times faster  largest error"]
    out += [f"  {r['kernel']:9} {r['ms']:8.2f}  {r['ratio']:12.1f}  {r['error']:13.1e}" for r in facts["kernels"]]
    if facts["first_use_s"] is not None:
        out.append(
            f"  compiled: {facts['first_use_s']:.1f} s to import and compile, or to read what was compiled before"
        )
    return out


def model_lines(facts: dict[str, Any]) -> list[str]:
    out = [
        f"{facts['preset']}, {facts['precision']}, {facts['size']}x{facts['size']}, {facts['threads']} threads, "
        f"{facts['scan']} scan",
        f"  {facts['ms']:.0f} ms = {facts['ratio']:.2f} x the bound of {facts['bound_ms']:.0f} ms "
        f"({facts['gflop']:.0f} GFLOP at {facts['gflops']:.0f} GFLOP/s)",
        f"  peak memory, loading included: {facts['peak_gb']:.2f} GB; loaded in {facts['load_s']:.1f} s",
        "  by stage, ms: " + ", ".join(f"{name} {ms:.0f}" for name, ms in facts["stages"].items()),
    ]
    return out + [f"    {o['name']:44} {o['ms']:8.1f} ms  {o['calls']:5} calls" for o in facts["operators"] or ()]
