"""MVFuser on a device, through every scan and convolution that runs there, against the step-by-step reference."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from mfuser.fusion import mvfuser
from mfuser.fusion.mvfuser import MVFuser, causal_conv_installed, conv_silu, shifted_conv
from mfuser.fusion.scan_kernels import cuda
from mfuser.fusion.selective_scan import selective_scan
from mfuser.ops import fused_steps as steps
from train.measure.gpu.timing import Row, float32_mode, median_ms, peak_gb

MARKS = {"float32": 1e-4, "bf16": 2e-2}  # relative, of norms
SHAPES = ((1024, 2594, 2), (256, 1335, 2), (1024, 77, 3))  # width, tokens, batch: an adapter, MTEnhancer's, an odd one
Values = dict[str, Tensor]


def paths(device: torch.device) -> list[tuple[str, bool]]:
    """(scan kernel, whether causal-conv1d convolves) that a device can run."""
    fused = device.type == "cuda" and cuda.installed()
    convolves = device.type == "cuda" and causal_conv_installed()
    return [("chunked", False), *([("chunked", True)] if convolves else []), *([("cuda", convolves)] if fused else [])]


@contextmanager
def through(kernel: str, convolves: bool) -> Iterator[None]:
    """MVFuser with this scan, and with or without causal-conv1d, while open."""
    before = mvfuser.selective_scan, mvfuser.causal_conv_installed
    mvfuser.selective_scan = partial(selective_scan, kernel=kernel)
    mvfuser.causal_conv_installed = lambda: convolves
    try:
        yield
    finally:
        mvfuser.selective_scan, mvfuser.causal_conv_installed = before


def ordinary(width: int) -> MVFuser:
    """An MVFuser whose parameters all have values of ordinary size: small starts would hide mistakes."""
    torch.manual_seed(width)
    module = MVFuser(width).eval()
    with torch.no_grad():
        module.scale.fill_(1.0)
        module.D.add_(0.3 * torch.randn_like(module.D))
        module.norm.weight.add_(0.3 * torch.randn_like(module.norm.weight))
        module.A_log.add_(0.05 * torch.randn_like(module.A_log))
    return module


def both_ways(module: MVFuser, tokens: Tensor, upstream: Tensor, precision: str = "float32") -> Values:
    """Output, gradient of the tokens, and gradients of all parameters, float32 on the CPU."""
    module.zero_grad()
    tokens = tokens.clone().requires_grad_(True)
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=precision == "bf16"):
        y = module(tokens)
    y.float().backward(upstream)
    values = {"output": y, "tokens": tokens.grad, **{n: p.grad for n, p in module.named_parameters()}}
    return {name: v.detach().float().cpu() for name, v in values.items()}


def error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def agreement(device: torch.device, shapes: Sequence[tuple[int, int, int]] = SHAPES) -> list[Row]:
    """Errors of MVFuser, forward and backward, in float32 and under bf16 autocast."""
    rows = []
    for width, length, batch in shapes:
        module = ordinary(width)
        tokens, upstream = torch.randn(batch, length, width), torch.randn(batch, length, width)
        with through("reference", False):
            expected = both_ways(module, tokens, upstream)
        own, tokens, upstream = copy.deepcopy(module).to(device), tokens.to(device), upstream.to(device)
        for kernel, convolves in paths(device):
            for precision, mark in MARKS.items():
                with float32_mode("float32"), through(kernel, convolves):
                    found = both_ways(own, tokens, upstream, precision)
                errors = {name: error(found[name], value) for name, value in expected.items()}
                output, gradient = errors.pop("output"), errors.pop("tokens")
                scalar = errors.pop("scale")  # a sum over all tokens that nearly cancels: shown, without a mark
                worst = max(errors, key=errors.__getitem__)
                rows.append({
                    "width": width, "tokens": length, "batch": batch, "scan": kernel,
                    "convolution": "causal-conv1d" if convolves else "torch", "precision": precision,
                    "output": f"{output:.1e}", "gradient": f"{gradient:.1e}",
                    "worst parameter": f"{errors[worst]:.1e} ({worst})", "scale": f"{scalar:.1e}",
                    "mark": mark, "holds": bool(max(output, gradient, errors[worst]) <= mark),
                })  # fmt: skip
    return rows


def convolutions(device: torch.device, lengths: Sequence[int] = (1, 2, 3, 8, 45, 2594)) -> list[Row]:
    """Errors of the convolution with its activation against shifted products in float64, forward and backward."""
    rows = []
    conv = nn.Conv1d(512, 512, 3, padding="same", groups=512, bias=False)
    exact = copy.deepcopy(conv).double()
    own = copy.deepcopy(conv).to(device)
    for length in lengths:
        x, upstream = torch.randn(2, length, 512), torch.randn(2, length, 512)

        def run(function: Callable, x: Tensor, module: nn.Module, upstream: Tensor) -> list[Tensor]:
            x = x.clone().requires_grad_(True)
            y = function(x)
            return [v.double().cpu() for v in (y, *torch.autograd.grad(y, (x, module.weight), upstream.to(y.dtype)))]

        want = run(lambda x: nn.functional.silu(shifted_conv(x, exact.weight)), x.double(), exact, upstream)
        for dtype, mark in ((torch.float32, 1e-5), (torch.bfloat16, MARKS["bf16"])):
            module = copy.deepcopy(own).to(dtype)
            with float32_mode("float32"):
                got = run(lambda x: conv_silu(x, module), x.to(device, dtype), module, upstream.to(device))  # noqa: B023
            errors = [error(a, b) for a, b in zip(got, want, strict=True)]
            row = {"tokens": length, "dtype": str(dtype).removeprefix("torch.")}
            row |= {k: f"{e:.1e}" for k, e in zip(("output", "gradient", "kernel"), errors, strict=True)}
            rows.append({**row, "mark": mark, "holds": max(errors) <= mark})
    return rows


def folded(device: torch.device, shapes: Sequence[tuple[int, int, int]] = SHAPES) -> list[Row]:
    """Errors of a folded MVFuser in bfloat16, as a segmenter on CUDA runs it, and of the one it was made from."""
    steps.trust(device)
    rows = []
    for width, length, batch in shapes:
        module, tokens = ordinary(width), torch.randn(batch, length, width)
        with torch.no_grad(), through("reference", False):
            expected = module(tokens)
        module, tokens, row = module.to(device), tokens.to(device).bfloat16(), {"width": width, "tokens": length}
        for name in ("as trained", "folded"):
            if name == "folded":
                module.fold_scales()
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
                row[name] = error(module(tokens).float().cpu(), expected)
        holds = row["folded"] <= MARKS["bf16"]
        rows.append({**row, **{n: f"{row[n]:.1e}" for n in ("as trained", "folded")}, "holds": holds})
    return rows


def fused_steps(device: torch.device) -> list[Row]:
    """Errors of the steps that have a kernel of their own on CUDA, and whether it is used there."""
    steps.trust(device)
    rows = []
    for step in steps.KERNELS:
        row = {"step": step.name, "used": step.trusted.get(device, False), "error": "", "mark": steps.MARK}
        try:
            row["error"] = f"{step.error(device):.1e}" if device.type == "cuda" else "no GPU"
        except Exception as reason:  # as in `trust`: what cannot run is reported, and is not used
            row["error"] = f"{type(reason).__name__}: {reason}"[:120]
        rows.append(row)
    return rows


def scan_times(
    device: torch.device, batches: Sequence[int] = (1, 2, 8, 18), length: int = 2594, dim: int = 512, state: int = 16
) -> list[Row]:
    """Milliseconds and memory of the scan alone, one ViT-L adapter, without and with gradients."""
    rows = []
    for batch in batches:
        for dtype in (torch.float32, torch.bfloat16):
            u, delta = (torch.randn(batch, dim, length, device=device).to(dtype) for _ in range(2))
            b, c = (torch.randn(batch, state, length, device=device).to(dtype) for _ in range(2))
            a = -torch.arange(1.0, state + 1, device=device).repeat(dim, 1)
            for kernel in dict.fromkeys(kernel for kernel, _ in paths(device)):
                row = {"batch": batch, "dtype": str(dtype).removeprefix("torch."), "scan": kernel}
                run = partial(selective_scan, u, delta, a, b, c, delta_softplus=True, kernel=kernel)
                with torch.no_grad(), peak_gb(device) as memory:
                    run()
                with torch.no_grad():
                    row["ms"] = round(median_ms(run, device, 0.3), 3)
                row["GB"] = round(memory["peak"] - memory["before"], 3)
                leaves = [x.requires_grad_(True) for x in (u, delta, b, c)]

                def trained(run: Callable = run, leaves: list[Tensor] = leaves) -> None:
                    torch.autograd.grad(run().float().sum(), leaves)

                row["ms with gradients"] = round(median_ms(trained, device, 0.3), 3)
                for x in leaves:
                    x.requires_grad_(False)
                rows.append(row)
    return rows
