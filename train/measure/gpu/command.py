"""`python -m train gpu`: the paper's models on a GPU, checked, timed, and compared with what the GPU can do."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mfuser import presets
from mfuser.inference.precision import usable_device
from mfuser.inference.segmenter import Segmenter
from mfuser.weights import availability
from mfuser.writing import output_folder, write_bytes
from train.measure import parity
from train.measure.gpu import adapters, inference, kernels, step
from train.measure.gpu.timing import PRECISIONS, Row, ceilings, float32_mode, machine
from train.runtime.markdown import table

PARTS = ("kernels", "reference", "inference", "profile", "compiled", "adapters", "step", "processes")
PAPER = tuple(f"dinov2-l+{vlm}" for vlm in availability.OFFICIAL)


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    parser = argparse.ArgumentParser(prog="python -m train gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where gpu-PART.md and .json go")
    parser.add_argument(
        "--part", nargs="+", choices=PARTS, default=list(PARTS), help=f"of {', '.join(PARTS)} (default: all)"
    )
    parser.add_argument("--device", metavar="DEVICE", help="default: cuda, else cpu")
    parser.add_argument("--presets", nargs="+", default=list(PAPER), metavar="NAME", help="default: the paper's three")
    parser.add_argument("--size", type=int, default=512, metavar="N", help="side of crops (default: 512)")
    parser.add_argument(
        "--batches", nargs="+", type=int, default=[1, 2, 8, 18], metavar="N",
        help="images at once (default: 1 2 8 18; a Cityscapes image has 18 windows)",
    )  # fmt: skip
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS), help="default: all")
    lengths = list(adapters.GRIDS)
    parser.add_argument(
        "--tokens", nargs="+", type=int, choices=lengths, default=lengths, metavar="N",
        help=f"sequence lengths of the adapters, of {', '.join(map(str, lengths))} (default: all)",
    )  # fmt: skip
    parser.add_argument("--reference", type=Path, metavar="DIR", help="folder of the released code's stored values")
    parser.add_argument(
        "--product", type=int, default=8192, metavar="N", help="side of the ceiling's matrices (default: 8192)"
    )
    parser.add_argument("--steps", type=int, default=60, metavar="N", help="of each run of processes (default: 60)")
    args = parser.parse_args(argv)
    for name in args.presets:
        presets.get(name)
    for name in ("size", "product"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} must be at least 1, got {getattr(args, name)}.")
    if args.steps < 3 or min(args.batches) < 1:
        raise ValueError("--steps must be at least 3 and --batches at least 1.")
    if "reference" in args.part and args.reference is None:
        if args.part != list(PARTS):
            raise ValueError("--part reference needs --reference DIR, the folder of the stored values.")
        args.part = [p for p in PARTS if p != "reference"]
        print("part reference is left out: it needs --reference DIR, the folder of the stored values.", flush=True)
    run(args, output_folder(args.out))


def run(args: argparse.Namespace, folder: Path) -> None:
    """Every part asked for; each writes its report when it is done."""
    device = torch.device(usable_device(args.device))
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)
    facts = machine(device)
    print(json.dumps(facts), flush=True)
    rates: dict[str, float] = {}
    if set(args.part) & {"inference", "compiled", "step"}:
        rates = ceilings(device, args.product)
        facts["ceilings TFLOP/s"] = {k: round(v, 1) for k, v in rates.items()}
        print(f"products of {args.product}: " + ", ".join(f"{k} {v:.1f} TFLOP/s" for k, v in rates.items()), flush=True)
    works: dict[str, Callable[[], dict[str, list[Row]]]] = {
        "kernels": lambda: kernel_tables(device),
        "reference": lambda: reference_tables(args.reference, device),
        "inference": lambda: {
            "Forward pass of the fused stream": inference.measure(
                args.presets, args.size, args.batches, args.precision, rates, device, _say
            )
        },
        "profile": lambda: profile_tables(args, device),
        "compiled": lambda: {
            "Forward pass with compiled encoder blocks": inference.compiled(
                args.presets[0], args.size, args.batches, rates, device
            )
        },
        "adapters": lambda: {"Table 3's adapters, batch 1": adapters.measure(device, args.tokens)},
        "step": lambda: step_tables(args, folder, rates, device),
        "processes": lambda: process_tables(args, folder, device),
    }
    for part in args.part:
        started = time.perf_counter()
        tables = works[part]()
        seconds = time.perf_counter() - started
        text = "\n\n".join(f"### {title}\n\n{table(same_columns(rows))}" for title, rows in tables.items() if rows)
        print(f"\n{text}\n({part}: {seconds:.0f} s)\n", flush=True)
        head = "\n".join(f"* {name}: {value}" for name, value in facts.items())
        write_bytes(folder / f"gpu-{part}.md", f"{head}\n\n{text}\n".encode())
        content = {"machine": facts, "seconds": seconds, "tables": tables}
        write_bytes(folder / f"gpu-{part}.json", (json.dumps(content, indent=1, default=str) + "\n").encode())


def _say(line: str) -> None:
    print(line, flush=True)


def same_columns(rows: Sequence[Row]) -> list[Row]:
    """Rows with all columns that one of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]


def kernel_tables(device: torch.device) -> dict[str, list[Row]]:
    small = device.type == "cpu"
    shapes = ((64, 70, 2), (64, 9, 3)) if small else kernels.SHAPES
    lengths = (1, 2, 45) if small else (1, 2, 3, 8, 45, 2594)
    options = {"batches": (1,), "length": 70, "dim": 16} if small else {}
    return {
        "MVFuser against the reference": kernels.agreement(device, shapes),
        "Convolution with SiLU against shifted products": kernels.convolutions(device, lengths),
        "Selective scan of one adapter": kernels.scan_times(device, **options),
        "One kernel against many passes": kernels.fused_steps(device),
        "MVFuser as inference runs it, in bfloat16": kernels.folded(device, shapes),
    }


def reference_tables(folder: Path, device: torch.device) -> dict[str, list[Row]]:
    """The stored values of the released code, in float32."""
    model = parity.build(folder).to(device)
    with float32_mode("float32"):
        _, stages = parity.run(model, folder, device)
    names = ("stage", "single / std", "mark", "deviation", "its mark")
    found = [dict(zip(names, row, strict=True)) for row in parity.rows(folder, stages)]
    for row in found:
        row["holds"] = row["single / std"] <= row["mark"] and row["deviation"] <= row["its mark"]
    names = ("values", "99 %", "most", "mark")
    values = [dict(zip(names, row, strict=True)) for row in parity.excerpts(folder, stages)]
    for row in values:
        row["holds"] = row["99 %"] <= row["mark"] and row["most"] <= 10 * row["mark"]
    margins = parity.mask_margins(folder, stages)
    first = next((row["stage"] for row in found if not row["holds"]), None)
    summary = {
        "stages": len(found), "stages that hold": sum(row["holds"] for row in found), "first that does not": first,
        "excerpts": len(values), "excerpts that hold": sum(row["holds"] for row in values),
        "pixels of another class": len(margins), "their largest margin": max(margins, default=0.0),
    }  # fmt: skip
    return {"Stages": [rounded(row) for row in found], "Values": [rounded(row) for row in values], "Sum": [summary]}


def rounded(row: Row) -> Row:
    return {name: f"{value:.1e}" if isinstance(value, float) else value for name, value in row.items()}


def profile_tables(args: argparse.Namespace, device: torch.device) -> dict[str, list[Row]]:
    """Where the time of each preset goes, at the largest batch."""
    batch = max(args.batches)
    tables: dict[str, list[Row]] = {}
    for name in args.presets:
        segmenter: Any = Segmenter(inference.random_model(name, device).for_inference(), str(device), "bf16")
        title = f"{name}, bf16, batch {batch}"
        parts, kernels_of = inference.profile(segmenter, batch, args.size)
        tables |= {f"Parts of a forward pass: {title}": parts, f"Kernels of a forward pass: {title}": kernels_of}
        del segmenter
        inference.release(device)
    return tables


def step_tables(
    args: argparse.Namespace, folder: Path, rates: dict[str, float], device: torch.device
) -> dict[str, list[Row]]:
    data = step.write_folder(folder / "made", *made_size(args))
    precisions = [p for p in ("float32", "bf16") if p in args.precision]
    rows = step.measure(args.presets, data, folder, rates, device, precisions, **recipe(args))
    return {"A training step of the recipe, without loading": rows}


def process_tables(args: argparse.Namespace, folder: Path, device: torch.device) -> dict[str, list[Row]]:
    data = step.write_folder(folder / "made", *made_size(args))
    here = torch.cuda.device_count() if device.type == "cuda" else 1
    counts = [n for n in (1, 2, 4, 8) if n <= here]
    more = [] if device.type == "cuda" else ["--device", "cpu", "--workers", "0"]
    if args.size != 512:
        more += ["--crop", str(args.size)]
    rows = step.processes(args.presets[0], data, folder, counts, sorted({2, 2 * counts[-1]}), args.steps, *more)
    return {"`train fit` under torchrun": rows}


def made_size(args: argparse.Namespace) -> tuple[int, tuple[int, int]]:
    """Photographs of a Cityscapes camera, or smaller ones for smaller crops."""
    return (24, (1024, 2048)) if args.size >= 512 else (3, (2 * args.size, 4 * args.size))


def recipe(args: argparse.Namespace) -> dict[str, Any]:
    return {} if args.size == 512 else {"crop": args.size}
