"""`weather`: fog, rain, snow and night put on images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mfuser import writing
from mfuser.cli import common

EXAMPLES = """  python -m mfuser weather street.jpg --condition fog --severity 3 --out foggy.png
  python -m mfuser weather photos/ --condition fog+night,rain --severity 2,4 --out adverse/
  python -m mfuser weather street.jpg --condition all --severity all --out sweep/

--out ending in .png, .jpg or .jpeg is one picture (of one image, condition and severity); anything else is a folder,
which gets <name of the image>-CONDITION-SEVERITY.png.
"""


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    summary = "Put adverse weather on clear images, at the same size."
    parser = common.add_command(commands, "weather", run, summary, EXAMPLES)
    common.add_images(parser)
    conditions = "fog, rain, snow, night, fog+night, ...; or all (default: %(default)s)"
    parser.add_argument("--condition", default="fog", metavar="LIST", help=conditions)
    parser.add_argument("--severity", type=severities, default="3", metavar="LIST", help="1 (light) to 5; or all (3)")
    parser.add_argument("--seed", type=int, default=0, help="places drops, flakes and banks (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="FILE|DIR", help="picture, or folder made when missing")


def severities(text: str) -> list[int]:
    """Type of --severity."""
    try:
        found = list(range(1, 6)) if text == "all" else [int(part) for part in common.comma_list(text)]
    except ValueError:
        found = []
    if not found or not all(1 <= n <= 5 for n in found):
        raise argparse.ArgumentTypeError(f"choose whole numbers from 1 to 5, or all, not {text!r}")
    return found


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from mfuser import images, weather

    conditions = list(weather.CONDITIONS) if args.condition == "all" else common.comma_list(args.condition)
    check(conditions, args.seed)
    names = common.output_names(common.find_images(args.images))
    out = Path(args.out)
    single = out.suffix.lower() in images.WRITABLE
    if single and len(names) * len(conditions) * len(args.severity) > 1:
        raise ValueError(f"{str(out)!r} is one picture, but several were asked for; give --out a folder.")
    writing.output_folder(out.parent if single else out)

    def work(path: Path) -> str:
        clear, written = images.load(path), []
        for condition in conditions:
            for severity in args.severity:
                target = out if single else out / f"{names[path]}-{condition}-{severity}.png"
                images.save(target, weather.apply(clear, condition, severity, args.seed))
                written.append(target)
        return f"{path} -> {written[0] if len(written) == 1 else f'{len(written)} pictures in {out}'}"

    return common.each_image(args, list(names), work)


def check(conditions: list[str], seed: int) -> None:
    """Check conditions and seed before any image is touched.

    Args:
        conditions: as `mfuser.weather.apply` takes them.
        seed: as `mfuser.weather.apply` takes it.

    Raises:
        ValueError: unknown condition, or a seed out of range.
    """
    import numpy as np

    from mfuser import weather

    if not conditions:
        raise ValueError(f"No condition was given; choose from {', '.join(weather.CONDITIONS)}, or all.")
    for condition in conditions:
        weather.apply(np.zeros((16, 16, 3), np.uint8), condition, 1, seed)
