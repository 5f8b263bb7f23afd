"""`segment`: masks, features and similarities of images, written as pictures and numbers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfuser import writing
from mfuser.cli import common

if TYPE_CHECKING:
    import numpy as np

    from mfuser.inference.analysis import Analysis

EXAMPLES = """  python -m mfuser segment street.jpg --out results
  python -m mfuser segment photos/ "night/*.png" --query "car, bus" --windows sliding --out results
  python -m mfuser segment street.jpg --point 320,200 --streams vfm,fused --npy --out results
  python -m mfuser segment street.jpg --classes "car,lorry,zebra crossing,road" --out results

written to DIR/<name of the image>/, for each stream (vfm, vlm: one encoder alone; fused: MFuser):
  mask-STREAM.png         8-bit train ids (0 road ... 18 bicycle); with --classes: places in that list, from 0
  colour-STREAM.png       the mask in the Cityscapes colours; further names have further colours
  overlay-STREAM.png      the same over the image
  pca-STREAM.png          three principal components of the last patch tokens
  similarity-STREAM.png   cosine with the query over the image, one scale for all streams
  similarity-STREAM.npy   the cosines, (height, width) float32 (with --npy)
  comparison.png          all of it on one sheet
  legend.png, shares.png  the classes found (of the last stream), and the share of each in every stream
  analysis.json           class shares, how each mask was made, query, sizes, times, and what ran
A stream without a trained decoder gets a mask all the same: vlm by the highest cosine with a class name (zero-shot),
vfm by clusters of its patches in the colours of the fused mask; analysis.json and the pictures say so.
Files of the same names are replaced one by one.
"""
OPACITY = 0.6  # of a similarity map over the image


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    summary = "Segment street scenes with each encoder alone and with both fused."
    parser = common.add_command(commands, "segment", run, summary, EXAMPLES)
    common.add_images(parser)
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--query", metavar="TEXT", help="what to look for; several texts by commas (default: car)")
    asked.add_argument("--point", type=point, metavar="X,Y", help="look for what resembles the patch at this pixel")
    classes = "your own class names, by commas (experimental: the decoders were trained for others)"
    parser.add_argument("--classes", metavar="LIST", help=classes)
    common.add_model(parser)
    parser.add_argument(
        "--windows",
        choices=("single", "sliding"),
        default="single",
        help="the whole image at once, or the paper's 512-pixel windows (default: %(default)s)",
    )
    parser.add_argument(
        "--streams",
        type=common.streams,
        default=None,
        metavar="LIST",
        help="streams to write, by commas (default: vfm,vlm,fused)",
    )
    parser.add_argument("--npy", action="store_true", help="write the cosines as .npy as well")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results, made when missing")


def point(text: str) -> tuple[float, float]:
    """Type of --point."""
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a point is two numbers, as in 320,200, not {text!r}") from None
    return x, y


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    query = args.point or common.comma_list("car" if args.query is None else args.query)
    if not query:
        raise ValueError("The text query is empty: type what to look for, for example --query car.")
    names = common.output_names(common.find_images(args.images))
    out = writing.output_folder(args.out)
    segmenter = common.load_model(args, None if args.classes is None else class_list(args.classes))
    for text in query if isinstance(query, list) else []:
        if segmenter.is_cut(text):
            message = f"mfuser: the query {text[:30]!r}... is too long for the text tower; its end is ignored"
            print(message, file=sys.stderr)

    def work(path: Path) -> str:
        analysis = segmenter.analyse(path, args.windows, args.resolution)
        if not args.quiet and path == next(iter(names)):
            tell_fallbacks(analysis)
        folder = writing.output_folder(out / names[path])
        write(analysis, folder, query, args.streams or list(analysis.tokens), args.npy, path.name)
        largest = list(analysis.shares(analysis.streams[-1]).items())[:3]
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in largest)
        return f"{path} -> {folder} ({analysis.ran['milliseconds']['total']:.0f} ms; {shares})"

    return common.each_image(args, list(names), work)


def class_list(text: str) -> list[str]:
    """The names of --classes.

    Args:
        text: names separated by commas.

    Raises:
        ValueError: no name.
    """
    from mfuser.inference import open_vocabulary

    names = open_vocabulary.split(text)
    if not names:
        raise ValueError("The class list is empty: type names, for example --classes road,car,sky, or leave it out.")
    return names


def tell_fallbacks(analysis: Analysis) -> None:
    """Report on stderr which masks come without a trained decoder, and the command that trains one."""
    for stream, command in analysis.ran["training"].items():
        message = f"the {stream} mask is {analysis.made[stream]}, for no decoder was trained; to train one: {command}"
        print(f"mfuser: {message}", file=sys.stderr)


def write(
    analysis: Analysis,
    folder: Path,
    query: list[str] | tuple[float, float],
    streams: list[str],
    npy: bool,
    source: str,
) -> None:
    """Write everything about one image into an existing folder.

    Args:
        analysis: of the image.
        folder: to write into.
        query: texts, or a point (x, y) in pixels.
        streams: to write.
        npy: write the cosines as .npy too.
        source: name of the image file.

    Raises:
        ValueError: the point is outside the image.
    """
    from mfuser import images
    from mfuser.pictures import charts, visualize

    maps = similarities(analysis, query, streams)
    scale = visualize.similarity_scale(list(maps.values())) if maps else None
    pictures = {f"pca-{s}": analysis.pca(s) for s in streams}
    for s in streams:
        if s in maps:
            pictures[f"similarity-{s}"] = visualize.overlay(analysis.image, visualize.heat(maps[s], *scale), OPACITY)
        if s in analysis.masks:
            mask = analysis.masks[s]
            pictures |= {f"mask-{s}": mask, f"colour-{s}": visualize.colorize(mask, analysis.palette)}
            pictures[f"overlay-{s}"] = visualize.mask_overlay(analysis.image, mask, colours=analysis.palette)
    titles = [analysis.title(s, "mask: ") for s in streams]
    rows = [[pictures.get(f"{kind}-{s}") for s in streams] for kind in ("pca", "similarity", "overlay")]
    pictures["comparison"] = charts.contact_sheet(rows, ["features", query_label(query), "masks"], titles)
    found = {s: analysis.shares(s) for s in streams if s in analysis.masks}
    if found:
        pictures["legend"] = charts.legend_picture(list(found.values())[-1], classes=analysis.classes)
        pictures["shares"] = charts.class_bars(found, titles={s: analysis.title(s) for s in found})
    for name, picture in pictures.items():
        images.save(folder / f"{name}.png", picture)
    if npy:
        for s, field in maps.items():
            writing.write_npy(folder / f"similarity-{s}.npy", field)
    writing.write_json(folder / "analysis.json", summary(analysis, query, streams, maps, scale, source))


def similarities(
    analysis: Analysis, query: list[str] | tuple[float, float], streams: list[str]
) -> dict[str, np.ndarray]:
    """Cosine maps of the streams that can answer: a VFM alone has no text space, but it has points.

    Args:
        analysis: of the image.
        query: texts, or a point (x, y) in pixels.
        streams: to ask.

    Returns:
        {stream: (H, W) float32}.
    """
    able = streams if isinstance(query, tuple) else [s for s in streams if s != "vfm"]
    return {s: analysis.similarity(query, stream=s) for s in able}


def query_label(query: list[str] | tuple[float, float], longest: int = 16) -> str:
    """The query as a short label beside a picture.

    Args:
        query: texts, or a point (x, y) in pixels.
        longest: most characters.
    """
    text = f"({query[0]:g}, {query[1]:g})" if isinstance(query, tuple) else f"'{', '.join(query)}'"
    return text if len(text) <= longest else text[: longest - 3] + "...'"


def summary(
    analysis: Analysis,
    query: list[str] | tuple[float, float],
    streams: list[str],
    maps: dict[str, np.ndarray],
    scale: tuple[float, float] | None,
    source: str,
) -> dict[str, Any]:
    """The content of analysis.json.

    Args:
        analysis: of the image.
        query: texts, or a point (x, y) in pixels.
        streams: that are written.
        maps: {stream: (H, W) cosines}.
        scale: (low, high) of the colours of all maps.
        source: name of the image file.
    """
    height, width = analysis.size
    asked = {"point": list(query)} if isinstance(query, tuple) else {"texts": query}
    return {
        "image": source,
        "width": width,
        "height": height,
        "query": asked,
        "similarity": {
            "scale": scale,
            "streams": {s: {n: float(getattr(f, n)()) for n in ("min", "mean", "max")} for s, f in maps.items()},
        },
        "classes": list(analysis.classes),
        "classes_trained": analysis.trained_classes,
        "masks": {s: mask_origin(analysis, s) for s in streams if s in analysis.masks},
        "shares": {s: analysis.shares(s) for s in streams if s in analysis.masks},
        "mean_confidence": {s: float(analysis.confidence[s].mean()) for s in streams if s in analysis.confidence},
        "ran": analysis.ran,
    }


def mask_origin(analysis: Analysis, stream: str) -> dict[str, str]:
    """How a mask came about, and the command that trains a decoder where there is none.

    Args:
        analysis: of the image.
        stream: a stream with a mask.
    """
    from mfuser.inference.analysis import MASK_ORIGINS

    origin = {"made": analysis.made[stream], "how": MASK_ORIGINS[analysis.made[stream]]}
    return origin | ({"train": analysis.ran["training"][stream]} if stream in analysis.ran["training"] else {})
