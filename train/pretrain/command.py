"""Command line of pre-training: three stages, each resumable and skipped when its output exists.

text  the VLM's text tower, distilled from a sentence encoder
vlm   the VLM's vision tower, aligned with that text (needs labels)
vfm   the VFM, self-distilled without labels
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from mfuser import checkpoint, presets
from mfuser.model import MFuser
from train.pretrain import text, vfm, vlm
from train.pretrain.runner import RunConfig

STAGES = {"text": text, "vlm": vlm, "vfm": vfm}


def main(argv: list[str] | None = None) -> None:
    """Run the stages asked for; bad input ends with one sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m train pretrain", description=__doc__)
    parser.add_argument("--stage", nargs="+", choices=[*STAGES, "all"], default=["all"], help="what to train")
    parser.add_argument("--preset", default="nano", help="preset whose encoders are trained")
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="[name:]ROOT[/split]",
        help="photographs; repeat for several sets",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/nano"), help="folder of encoder-*.safetensors")
    parser.add_argument("--iterations", type=int, help="optimizer steps of each stage (default: the stage's own)")
    parser.add_argument("--batch", type=int, help="images or phrases per step (default: the stage's own)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--precision", choices=["float32", "bf16"], default="float32", help="autocast of forward passes"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overwrite", action="store_true", help="train again although the output exists")
    args = parser.parse_args(argv)
    try:
        run(args)
    except (ValueError, OSError) as error:
        print(f"pretrain: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def run(args: argparse.Namespace) -> None:
    preset = presets.get(args.preset)
    if preset.vfm.family != "nano-vfm":
        raise ValueError(f"Preset {preset.name!r} has pretrained encoders of its own; only nano's are trained here.")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    stages = list(STAGES) if "all" in args.stage else args.stage
    args.out.mkdir(parents=True, exist_ok=True)
    for name in stages:
        stage = STAGES[name]
        target = args.out / stage.OUTPUT
        if target.exists() and not args.overwrite:
            print(f"{target} exists: stage {name} skipped (--overwrite trains it again)")
            continue
        torch.manual_seed(args.seed)
        model = MFuser.from_preset(preset, pretrained=False)
        changes = {"iterations": args.iterations, "batch": args.batch}
        config: RunConfig = replace(
            stage.CONFIG,
            **{k: v for k, v in changes.items() if v is not None},
            device=device,
            precision=args.precision,
            seed=args.seed,
            state=args.out / f"{name}.state.pt",
        )
        tensors = stage.train(model, args.data, args.out, config)
        checkpoint.save(
            target, tensors, {"stage": name, "iterations": str(config.iterations), "seed": str(args.seed)}, half=True
        )
        config.state.unlink(missing_ok=True)
        print(f"{target} written")
