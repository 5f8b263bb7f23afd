"""`info`: installed packages, devices, and which presets run here."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
from typing import Any

from mfuser import config, presets
from mfuser.cli import common
from mfuser.weights import files

PACKAGES = (
    "torch", "torchvision", "timm", "open_clip_torch", "safetensors", "huggingface_hub", "tokenizers", "numpy",
    "opencv-python-headless", "opencv-python", "scikit-learn", "matplotlib", "pillow", "gradio", "numba",
    "mamba-ssm", "causal-conv1d",
)  # fmt: skip
EXAMPLES = """  python -m mfuser info
  python -m mfuser info --json
"""


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    summary = "Versions, devices, scan kernels, and every preset: does it run here, and if not, what would help."
    parser = common.add_command(commands, "info", run, summary, EXAMPLES)
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    facts = collect()
    print(json.dumps(facts, indent=2) if args.json else "\n".join(lines(facts)))
    return 0


def collect() -> dict[str, Any]:
    """Everything that `info` prints, as plain data."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "packages": versions(),
        "devices": devices(),
        "presets": [{**status, "weights": weights(presets.get(status["name"]))} for status in presets.available()],
    }


def versions() -> dict[str, str]:
    """Versions of the installed packages of interest. None of them is imported."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def devices() -> list[dict[str, str]]:
    """Usable devices, with their default precision and scan kernel."""
    import torch

    from mfuser.fusion.selective_scan import running_kernel
    from mfuser.inference.precision import native_precision

    names = {"cpu": platform.processor() or platform.machine()}
    names |= {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    return [
        {"name": n, "title": t, "precision": native_precision(n), "scan_kernel": running_kernel(torch.device(n))}
        for n, t in names.items()
    ]


def weights(preset: config.Preset) -> dict[str, int]:
    """Size in bytes of each weight file of a preset that is here, by file name."""
    if (folder := files.folder_of(preset)) is None:
        return {}
    paths = [folder / name for name in files.weight_files(preset)]
    return {path.name: path.stat().st_size for path in paths if path.is_file()}


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts of `collect` as lines of text."""
    out = [f"Python {facts['python']} on {facts['system']}"]
    out.append("packages: " + ", ".join(f"{name} {version}" for name, version in facts["packages"].items()))
    for device in facts["devices"]:
        runs = f"{device['precision']}, {device['scan_kernel']} scan kernel"
        out.append(f"device {device['name']} ({device['title']}): {runs}")
    for preset in facts["presets"]:
        state = "runs here" if preset["runnable"] else f"does not run here: {preset['why']}"
        out.append(f"preset {preset['name']} ({preset['title']}): {state}")
        if preset["command"]:
            out.append(f"  to get it: {preset['command']}")
        out += [f"  {name}  {size / 1e6:.1f} MB" for name, size in preset["weights"].items()]
    return out
