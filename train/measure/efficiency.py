"""`python -m train efficiency`: parameters, arithmetic, time and memory of every adapter (the paper's Table 3)."""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mfuser.config import FusionConfig
from mfuser.fusion.alternatives import ADAPTERS, DeformableAttention, SeparateMVFuser
from mfuser.fusion.mvfuser import MVFuser
from mfuser.ops.flops import count_flops
from mfuser.ops.peak_memory import forget_peak, peak_memory
from mfuser.ops.timing import times_ms
from mfuser.writing import output_folder, write_bytes
from train.runtime.markdown import table

WIDTH, GRID = 1024, (36, 36)  # DINOv2-L and EVA02-CLIP-L at 512 x 512: 2 x (1 + 1296) tokens
PAPER = {  # Table 3: million parameters, GFLOP of a batch of 2
    "mvfuser": (1.67, 17.21),
    "self-attention": (4.20, 98.64),
    "separate-attention": (8.40, 71.08),
    "deformable": (3.35, 34.65),
}
LENGTHS = {1024: (16, 32), 2048: (32, 32), 4096: (32, 64), 8192: (64, 64), 16384: (64, 128)}  # tokens: grid of each
Row = dict[str, Any]


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    parser = argparse.ArgumentParser(prog="python -m train efficiency", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write efficiency.md, two .csv and a .png here")
    kinds, lengths = ", ".join(ADAPTERS), ", ".join(map(str, LENGTHS))
    parser.add_argument(
        "--kinds", nargs="+", choices=ADAPTERS, default=list(PAPER), metavar="KIND",
        help=f"adapters whose time is measured, of {kinds} (default: those of Table 3)",
    )  # fmt: skip
    parser.add_argument(
        "--tokens", nargs="+", type=int, choices=LENGTHS, default=list(LENGTHS), metavar="N",
        help=f"sequence lengths, of {lengths} (default: all)",
    )  # fmt: skip
    parser.add_argument("--no-times", action="store_true", help="parameters and arithmetic only")
    args = parser.parse_args(argv)
    folder = output_folder(args.out) if args.out else None
    sizes = [arithmetic(kind) for kind in ADAPTERS]
    parts = [CAPTIONS[0], table(sizes)]
    print("\n\n".join(parts), flush=True)
    times: list[Row] = []
    if not args.no_times:
        for kind in args.kinds:
            for tokens in args.tokens:
                times.append(in_new_process(kind, tokens))
                print(" ".join(f"{k}={v}" for k, v in times[-1].items()), flush=True)
        parts += [CAPTIONS[1].format(threads=torch.get_num_threads()), table(times)]
        print("\n" + "\n\n".join(parts[2:]))
    if folder:
        write_bytes(folder / "efficiency.md", ("\n\n".join(parts) + "\n").encode())
        write_bytes(folder / "efficiency-sizes.csv", as_csv(sizes))
        if times:
            write_bytes(folder / "efficiency-times.csv", as_csv(times))
            write_bytes(folder / "efficiency.png", plot(times))


CAPTIONS = (
    "One adapter at batch 2, 2594 tokens of width 1024; FLOPs are 2 per multiply-add. `scan G` is the selective scan's "
    "own arithmetic (7 per state and 3 more per channel and step, softplus aside), not in `GFLOPs`, as in the paper.",
    "One adapter, batch 1, width 1024, float32 on the CPU with {threads} threads, without gradients: best of the runs "
    "after a first one. MB is what the forward pass adds to the peak resident memory of a process of its own.",
)


# ------------------------------------------------------------------------------------------------ arithmetic


def arithmetic(kind: str) -> Row:
    """Parameters and FLOPs of one adapter at Table 3's setting beside the paper's figures."""
    params, flops, scan = count(kind)
    paper_params, paper_flops = PAPER.get(kind, (None, None))
    return {
        "adapter": kind,
        "params M": round(params / 1e6, 2),
        "paper M": paper_params,
        "GFLOPs": round(flops / 1e9, 2),
        "paper G": paper_flops,
        "difference": None if paper_flops is None else f"{flops / 1e9 / paper_flops - 1:+.1%}",
        "scan G": round(scan / 1e9, 2) or None,
    }


def count(kind: str, batch: int = 2, width: int = WIDTH, grid: tuple[int, int] = GRID) -> tuple[int, int, int]:
    """Parameters, FLOPs, and the scan's FLOPs, of one adapter; both encoders bring a class token."""
    adapter = ADAPTERS[kind](width, FusionConfig(kind=kind)).eval()
    adapter.requires_grad_(False)  # the counter stumbles over parts of parameters that want gradients
    length = 1 + grid[0] * grid[1]
    tokens = torch.randn(batch, 2 * length, width)
    seen, scan = count_flops(lambda: adapter(tokens, (length, length), grid)), 0
    for module in adapter.modules():
        unseen, inside = formulas(module, tokens)
        seen, scan = seen + unseen, scan + inside
    return sum(p.numel() for p in adapter.parameters()), seen, scan


def formulas(module: nn.Module, tokens: Tensor) -> tuple[int, int]:
    """FLOPs of a module that torch's counter does not see, and those of its scan.

    tokens: (B, L, C), all that the adapter sees.
    """
    batch, length, width = tokens.shape
    if isinstance(module, MVFuser):
        steps = batch * length * module.half
        taps = module.conv1d_x.kernel_size[0] + module.conv1d_z.kernel_size[0]
        return 2 * taps * steps, (7 * module.state + 3) * steps
    if isinstance(module, SeparateMVFuser):  # each of its two sees half of the tokens
        unseen, scan = formulas(module.vfm, tokens)
        return -unseen, -scan
    if isinstance(module, DeformableAttention):  # four corners and one weight for each point, 2 each
        return 10 * batch * length * module.points * width, 0
    return 0, 0


# ------------------------------------------------------------------------------------------------ time and memory


def in_new_process(kind: str, tokens: int) -> Row:
    """`measure` in a process of its own, so that its peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (kind, tokens, torch.get_num_threads()))


@torch.inference_mode()
def measure(kind: str, tokens: int, threads: int, width: int = WIDTH, seconds: float = 2.0) -> Row:
    """Milliseconds and extra peak memory of one adapter over `tokens` tokens, half from each encoder."""
    torch.set_num_threads(threads)
    adapter = ADAPTERS[kind](width, FusionConfig(kind=kind)).eval()
    small = (4, 4)
    adapter(torch.randn(1, 32, width), (16, 16), small)  # loads libraries, compiles the scan
    x, before = torch.randn(1, tokens, width), forget_peak()
    adapter(x, (tokens // 2, tokens // 2), LENGTHS[tokens])
    peak = peak_memory() - before
    half = (tokens // 2, tokens // 2)
    cpu = torch.device("cpu")
    ms = min(times_ms(lambda: adapter(x, half, LENGTHS[tokens]), cpu, 0, 2, 20, seconds))
    row = {"adapter": kind, "tokens": tokens, "ms": round(ms, 1), "ms per 1000 tokens": round(ms / tokens * 1000, 2)}
    return {**row, "MB": round(peak / 1e6)}


# ------------------------------------------------------------------------------------------------ output


def as_csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def plot(rows: Sequence[Row]) -> bytes:
    """PNG: cost per token and memory over the length of the sequence."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), dpi=110, layout="constrained")
    for axes, key, title in zip(
        figure.subplots(1, 2), ("ms per 1000 tokens", "MB"), ("ms per 1000 tokens", "MB added to the peak"), strict=True
    ):
        for kind in dict.fromkeys(row["adapter"] for row in rows):
            own = [row for row in rows if row["adapter"] == kind]
            axes.plot([r["tokens"] for r in own], [r[key] for r in own], marker="o", label=kind)
        axes.set(xscale="log", yscale="log", xlabel="tokens of both encoders", title=title)
        axes.set_xticks(lengths := sorted({r["tokens"] for r in rows}), [f"{n // 1024}k" for n in lengths], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
