"""Speed of this machine and of a model on it: matrix products, scan kernels, and a forward pass against its bound.

The bound is the FLOPs of the layers as published at the rate of one large product: what the hardware would need if all
else were free. A model prepared for inference executes fewer, as two upsamplings are merged into what follows them
(`merged_flops`); a bound of those is told beside it.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import torch

from mfuser import presets
from mfuser.fusion.scan_kernels import compiled
from mfuser.fusion.selective_scan import running_kernel, selective_scan
from mfuser.inference.load import load
from mfuser.inference.precision import PRECISIONS, store_weights
from mfuser.inference.segmenter import Segmenter
from mfuser.loading import MFuser
from mfuser.ops.flops import count_flops
from mfuser.ops.peak_memory import peak_memory
from mfuser.ops.timing import PRODUCT, part_times, product_rate, random_token_ids, slowest_operators, times_ms

CPU = torch.device("cpu")
RANDOM = "(--random runs it with random weights.)"
ADAPTER = {"length": 2594, "dim": 512, "state": 16}  # the scan of one ViT-L adapter over both encoders' tokens


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def use_threads(threads: int | None) -> int:
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def measure_products(threads: int | None) -> dict[str, Any]:
    """Rates of float32 and bfloat16 at 1 thread and at all of them."""
    most = use_threads(threads)
    rates = []
    for count in sorted({1, most}):
        torch.set_num_threads(count)
        rates += [
            {"dtype": name, "threads": count, "gflops": product_rate(dtype, CPU) / 1e9}
            for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
        ]
    return {"shape": PRODUCT, "cpu": torch.backends.cpu.get_cpu_capability(), "rates": rates}


def measure_scans(threads: int | None) -> dict[str, Any]:
    """Every CPU kernel against the reference on one ViT-L adapter's sequence."""

    threads = use_threads(threads)
    g = torch.Generator().manual_seed(0)
    length, dim, state = ADAPTER.values()

    def n(channels: int) -> Any:
        return torch.randn(1, length, channels, generator=g).transpose(1, 2)

    inputs = (n(dim), n(dim) - 2, -torch.arange(1.0, state + 1).repeat(dim, 1), n(state), n(state))
    kernels, first, cached, rows = ["reference", "chunked"], None, None, []
    if compiled.installed():
        started = time.perf_counter()
        if compiled.ready():
            kernels.append("compiled")
            first, cached = time.perf_counter() - started, compiled.from_cache(compiled.function())
    with torch.inference_mode():
        for kernel in kernels:
            options = {"delta_softplus": True, "kernel": kernel}
            y = selective_scan(*inputs, **options)
            runs = 5 if kernel == "reference" else 20
            ms = min(times_ms(lambda: selective_scan(*inputs, **options), CPU, least=runs, most=runs))  # noqa: B023
            if kernel == "reference":
                expected, reference = y, ms
            error = ((y - expected).abs().max() / expected.abs().max()).item()
            rows.append({"kernel": kernel, "ms": ms, "ratio": reference / ms, "error": error})
    return {**ADAPTER, "threads": threads, "kernels": rows, "first_use_s": first, "from_cache": cached}


def lacking(name: str) -> str | None:
    """A sentence where a preset's weights are not here, with the way to get them; None where they are."""
    status = next(row for row in presets.available() if row["name"] == name)
    if status["runnable"]:
        return None
    return f"{name} cannot run here ({status['why']}): run `{status['command']}`. {RANDOM}"


def measure_model(
    name: str, precision: str, size: int, runs: int, random: bool, threads: int | None, profile: bool
) -> dict[str, Any] | str:
    """One preset's fused stream on one crop. Returns a sentence where the preset cannot be loaded."""

    logging.getLogger("mfuser").setLevel(logging.ERROR)
    threads, started = use_threads(threads), time.perf_counter()
    try:
        if random:
            segmenter = Segmenter(random_model(name, precision).for_inference(), "cpu", precision)
        else:
            segmenter = load(name, "cpu", precision)
    except ValueError as error:
        return f"{error} {RANDOM}"
    loaded = time.perf_counter() - started
    pixels = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 255

    def forward() -> object:
        return segmenter.forward(pixels)

    rate = product_rate(PRECISIONS[precision], CPU) / 1e9
    with torch.inference_mode():
        ms = min(times_ms(forward, CPU, least=runs, most=runs))
        rate = max(rate, product_rate(PRECISIONS[precision], CPU) / 1e9)  # before and after: neighbours may be busy
        peak = peak_memory()
        stages = part_times(segmenter.model, forward, CPU)
        slowest = slowest_operators(forward, CPU, 15) if profile else None
    segmenter.model.requires_grad_(False)
    with torch.enable_grad(), segmenter.autocast():  # with gradients on, all operators are those that are counted
        executed = count_flops(lambda: segmenter.model(pixels))
    flops = executed + merged_flops(segmenter.model, size)
    bound = flops / rate / 1e6
    return {
        "preset": name, "precision": precision, "threads": threads, "size": size, "scan": running_kernel(pixels.device),
        "load_s": loaded, "ms": ms, "gflop": flops / 1e9, "gflops": rate, "bound_ms": bound, "ratio": ms / bound,
        "executed_gflop": executed / 1e9, "executed_ratio": ms / (executed / rate / 1e6),
        "peak_gb": peak / 1e9, "stages": stages, "operators": slowest,
    }  # fmt: skip


def merged_flops(model: MFuser, size: int) -> int:
    """FLOPs for an image of `size` pixels a side that the published layers need and a model prepared for inference
    saves: two transposed convolutions of the pyramid, from C channels to C, at g and at 2g."""
    head = model.heads["fused" if "fused" in model.heads else next(iter(model.heads))]
    if head.pyramid.up2 is not None:
        return 0
    grid = size // model.vlm.patch
    return 2 * 4 * head.pyramid.up4[0].in_features ** 2 * (grid**2 + (2 * grid) ** 2)


@torch.no_grad()
def random_model(name: str, precision: str) -> MFuser:
    """A preset with random weights that never took more memory than they do in the end."""
    preset = presets.get(name)
    with torch.device("meta"):
        model = MFuser(preset)
    if precision != "float32":
        store_weights(model, PRECISIONS[precision])
    for module in model.modules():
        if next(iter([*module.parameters(recurse=False), *module.buffers(recurse=False)]), None) is None:
            continue
        module.to_empty(device="cpu", recurse=False)
        for key, p in module.named_parameters(recurse=False):
            if p.ndim > 1:
                p.normal_(std=p[0].numel() ** -0.5)
            else:  # scales of branches are small, and never 0: a branch that adds nothing is not what runs elsewhere
                p.fill_(0.0 if "bias" in key else 1.0 if key == "weight" else 0.1)
        for key, buffer in module.named_buffers(recurse=False):
            buffer.fill_(key == "running_var")
    if model.vlm.vocabulary_is_here():
        model.set_class_ids(model.tokenize_classes())
    else:
        model.set_class_ids(random_token_ids(len(preset.classes), preset.decoder.class_tokens))
    return model.eval()
