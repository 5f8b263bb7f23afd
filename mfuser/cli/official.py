"""`import-official`: a checkpoint of the authors as a folder of ours."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mfuser import writing
from mfuser.cli import common
from mfuser.weights import availability, files

EXAMPLES = """  python -m mfuser import-official iter_20000.pth --out weights/eva
  python -m mfuser import-official iter_20000.pth --vlm siglip-l --token-ids ids.json --out weights/siglip
  python -m mfuser segment street.jpg --preset dinov2-l+eva02-clip-l --weights weights/eva --out results

written to DIR: encoder-vfm, encoder-vlm and stream-fused (.safetensors, float32, bit for bit the checkpoint's values)
and card.json, which says what became of every entry of the checkpoint. Nothing but tensors is read from it.
"""


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    summary = "Turn a checkpoint of the authors (iter_20000.pth) into a folder that `--weights` takes."
    parser = common.add_command(commands, "import-official", run, summary, EXAMPLES)
    parser.add_argument("checkpoint", metavar="FILE", help="the authors' checkpoint")
    parser.add_argument("--vlm", choices=availability.OFFICIAL, help="its vision-language model (default: recognised)")
    parser.add_argument(
        "--out", metavar="DIR", help="folder for the weights (default: where the preset looks for them)"
    )
    ids = "JSON list of 19 lists of 5 token ids, for SigLIP without its vocabulary"
    parser.add_argument("--token-ids", metavar="FILE", help=ids)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from mfuser.loading import MFuser
    from mfuser.weights import folder, official

    source = Path(args.checkpoint)
    state = official.read(source)
    vlm = official.recognise(state, args.vlm)
    model = MFuser.from_official(state, vlm, read_ids(args.token_ids) if args.token_ids else None)
    out = writing.output_folder(args.out or files.folder_of(model.preset))
    folder.save_folder(model, out, {"source": source.name})
    account = official.account(model, state)
    card = {
        "preset": model.preset.name,
        "source": source.name,
        "entries": len(state),
        "used": account.used,
        "constant": account.constant,
        "inert": account.inert,
        "parameters": sum(p.numel() for p in model.parameters()),
        "classes": list(model.preset.classes),
        "licence": model.preset.licence,
    }
    writing.write_json(out / "card.json", card)
    print(
        f"{source} -> {out}: {model.preset.title}; {len(state)} entries: {len(account.used)} used, "
        f"{len(account.constant)} constants, {len(account.inert)} never read by the released code"
    )
    if (command := availability.vocabulary_command(model.preset, out)) is not None:
        print(f"The class names still need their vocabulary: run `{command}`, or import again with --token-ids FILE.")
    return 0


def read_ids(path: str):
    """Token ids of a JSON file.

    Args:
        path: of the file.

    Returns:
        (K, T) int64 tensor.

    Raises:
        ValueError: it is not a list of lists of whole numbers.
    """
    import torch

    try:
        return torch.tensor(json.loads(Path(path).read_text()), dtype=torch.int64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a JSON list of lists of whole numbers ({error}).") from error
