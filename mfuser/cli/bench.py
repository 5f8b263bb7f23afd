"""`bench`: how fast this machine multiplies matrices, scans, and runs a preset, and how close to its bound."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mfuser.cli import common

EXAMPLES = """  python -m mfuser bench
  python -m mfuser bench --preset dinov2-l+eva02-clip-l --random --precision float32,bf16
  python -m mfuser bench --preset nano --profile

The bound is what the FLOPs of a pass take at the rate of one large product. Two ratios are told: to that of the layers
as published, and to that of what is executed, less where the pyramid's upsamplings are merged into what follows them.
"""


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
    from mfuser.cli.benchmark import apart, lacking, measure_model, measure_products, measure_scans

    preset = presets.get(args.preset)
    for name in ("size", "threads", "runs"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}.")
    size = args.size or max(1, round(512 / preset.divisor)) * preset.divisor if preset.exact else args.size or 512
    if not args.random and (sentence := lacking(args.preset)) is not None:
        raise ValueError(sentence)  # before minutes are spent on the machine
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


# ------------------------------------------------------------------------------------------------ for reading


def product_lines(facts: dict[str, Any]) -> list[str]:
    out = [f"product {'x'.join(map(str, facts['shape']))} ({facts['cpu']})", "  dtype     threads  GFLOP/s"]
    return out + [f"  {r['dtype']:9} {r['threads']:7}  {r['gflops']:7.0f}" for r in facts["rates"]]


def scan_lines(facts: dict[str, Any]) -> list[str]:
    shape = f"{facts['length']} steps, {facts['dim']} channels, {facts['state']} states"
    out = [f"selective scan, {shape}, {facts['threads']} threads", "  kernel          ms  times faster  largest error"]
    out += [f"  {r['kernel']:9} {r['ms']:8.2f}  {r['ratio']:12.1f}  {r['error']:13.1e}" for r in facts["kernels"]]
    if facts["first_use_s"] is not None:
        how = "import numba and read what was compiled before" if facts["from_cache"] else "import numba and compile"
        out.append(f"  compiled: {facts['first_use_s']:.1f} s to {how}")
    return out


def model_lines(facts: dict[str, Any]) -> list[str]:
    out = [
        f"{facts['preset']}, {facts['precision']}, {facts['size']}x{facts['size']}, {facts['threads']} threads, "
        f"{facts['scan']} scan",
        f"  {facts['ms']:.0f} ms = {facts['ratio']:.2f} x the bound of {facts['bound_ms']:.0f} ms "
        f"({facts['gflop']:.0f} GFLOP of the published layers at {facts['gflops']:.0f} GFLOP/s); "
        f"{facts['executed_ratio']:.2f} x that of the {facts['executed_gflop']:.0f} GFLOP executed",
        f"  peak memory, loading included: {facts['peak_gb']:.2f} GB; loaded in {facts['load_s']:.1f} s",
        "  by stage, ms of one pass: " + ", ".join(f"{name} {ms:.0f}" for name, ms in facts["stages"].items()),
    ]
    return out + [f"    {o['name']:44} {o['ms']:8.1f} ms  {o['calls']:5} calls" for o in facts["operators"] or ()]
