"""`features`: patch tokens of images as arrays, and as pictures of their principal components."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfuser import writing
from mfuser.cli import common

if TYPE_CHECKING:
    import numpy as np

    from mfuser.inference.analysis import Analysis

EXAMPLES = """  python -m mfuser features street.jpg --out features
  python -m mfuser features photos/ --layers 0,5 --before --out features
  python -m mfuser features street.jpg --layers none --streams fused --out features

written to DIR/<name of the image>/ (h, w: the patch grid; C: channels; all float16):
  features.npz   last/STREAM                (h, w, C) normed patch tokens after the last block: vfm, vlm, fused
                 layer-NN/ENCODER           (h, w, C) tokens of the fused pass after block NN and its adapter: vfm, vlm
                 layer-NN/ENCODER-before    (h, w, C) the same before the adapter's offset (with --before)
  pca-STREAM.png, pca-layer-NN-ENCODER[-before].png   their first three principal components, at the image's size
"""


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    summary = "Write the patch tokens of every stream and fused layer as .npz, with PCA pictures."
    parser = common.add_command(commands, "features", run, summary, EXAMPLES)
    common.add_images(parser)
    common.add_model(parser)
    parser.add_argument("--streams", type=common.streams, metavar="LIST", help="by commas (default: vfm,vlm,fused)")
    parser.add_argument(
        "--layers", type=layers, default="all", metavar="LIST", help="fused layers: none, 0,5,... (default: all)"
    )
    parser.add_argument("--before", action="store_true", help="also the tokens before each adapter")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results, made when missing")


def layers(text: str) -> str | list[int]:
    """Type of --layers: "all", or a list."""
    if text == "all":
        return text
    try:
        return [] if text == "none" else [int(part) for part in common.comma_list(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"choose all, none, or numbers as in 0,5, not {text!r}") from None


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    names = common.output_names(common.find_images(args.images))
    out = writing.output_folder(args.out)
    segmenter = common.load_model(args)

    def work(path: Path) -> str:
        from mfuser import images
        from mfuser.pictures import visualize

        analysis = segmenter.analyse(path, resolution=args.resolution, layers=bool(args.layers))
        chosen = range(len(analysis.layers)) if args.layers == "all" else args.layers
        arrays = tokens(analysis, args.streams or list(analysis.tokens), chosen, args.before)
        folder = writing.output_folder(out / names[path])
        writing.write_npz(folder / "features.npz", arrays)
        for name, array in arrays.items():
            picture = visualize.pca_rgb(array, analysis.size)
            images.save(folder / f"pca-{name.removeprefix('last/').replace('/', '-')}.png", picture)
        h, w = next(iter(analysis.tokens.values())).shape[:2]
        return f"{path} -> {folder} ({len(arrays)} arrays of {h} x {w} patches)"

    return common.each_image(args, list(names), work)


def tokens(analysis: Analysis, streams: list[str], chosen: Any, before: bool) -> dict[str, np.ndarray]:
    """Arrays of features.npz by name.

    Args:
        analysis: with layers.
        streams: whose last tokens are written.
        chosen: indices of fused blocks.
        before: also the tokens before each adapter.

    Returns:
        {name: (h, w, C) float16}.

    Raises:
        ValueError: a block that does not exist.
    """
    arrays = {f"last/{s}": analysis.tokens[s] for s in streams}
    for index in chosen:
        for encoder in [s for s in ("vfm", "vlm") if s in streams or "fused" in streams]:
            arrays[f"layer-{index:02d}/{encoder}"] = analysis.layer(index, encoder)
            if before:
                arrays[f"layer-{index:02d}/{encoder}-before"] = analysis.layer(index, encoder, before=True)
    return arrays
