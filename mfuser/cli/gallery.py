"""`gallery`: an interactive page of a few pictures as static files."""

from __future__ import annotations

import argparse
from typing import Any

from mfuser import writing
from mfuser.cli import common

EXAMPLES = """  python -m mfuser gallery street.jpg night.jpg --out page
  python -m mfuser gallery photos/ --queries "car, person, tram" --title "Fusion in fog" --out page
  python -m http.server -d page    # then open http://127.0.0.1:8000

written to DIR: index.html, the stage's scripts, and for each picture a bundle (.mfb) and a thumbnail. No server of ours
is needed: similarity to any patch, swipe, layers and zoom are computed in the browser. Texts are those of --queries.
"""


def add_parser(commands: Any) -> None:
    summary = "Write a page of a few pictures that any web server can show, for a project's site or a static Space."
    parser = common.add_command(commands, "gallery", run, summary, EXAMPLES)
    common.add_images(parser)
    common.add_model(parser)
    parser.add_argument("--queries", metavar="LIST", help="texts that can be looked for, joined by commas")
    parser.add_argument("--title", default="MFuser", help="of the page (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the page, made when missing")


def run(args: argparse.Namespace) -> int:
    """Analyse the images and write the page. Returns the exit code, 2 when an image could not be read."""
    from mfuser.images import ImageError
    from mfuser.stage import gallery, scales

    paths = common.find_images(args.images)
    queries = common.comma_list(args.queries) if args.queries else gallery.QUERIES
    out = writing.output_folder(args.out)
    segmenter = common.load_model(args)
    analyses = []

    def analyse(path) -> str:
        analyses.append((path.stem, segmenter.analyse(path, resolution=args.resolution)))
        return f"{path}: analysed"

    code = common.each_image(args, paths, analyse)
    if not analyses:
        raise ImageError("No image could be read: the gallery was not written.")
    written = gallery.write_gallery(out, analyses, args.title, queries, scales.read(segmenter.folder))
    if not args.quiet:
        size = sum(path.stat().st_size for path in written) / 1e6
        print(f"{out}: {len(analyses)} pictures, {size:.1f} MB; try it with `python -m http.server -d {out}`")
    return code
