"""What the commands share: image arguments, model options, and files that appear whole or not at all."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mfuser import config, presets
from mfuser.picture_files import SUFFIXES, find_pictures, natural_key

# ------------------------------------------------------------------------------------------------ options


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str, examples: str
) -> argparse.ArgumentParser:
    """Add a command with the options that every command has.

    Args:
        commands: the subparsers of `mfuser.cli.build_parser`.
        name: of the command.
        run: takes the parsed options and returns the exit code.
        summary: one sentence for the help.
        examples: for the end of the help.
    """
    parser = commands.add_parser(name, help=summary, description=summary, epilog=f"examples:\n{examples}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is chosen, the scan kernel for one")
    parser.set_defaults(run=run)
    return parser


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add the image arguments and --quiet."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders of images, or quoted globs")
    parser.add_argument("--quiet", action="store_true", help="no progress, no lines on stdout; only problems")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options that `load_model` reads."""
    parser.add_argument("--preset", default="nano", help=f"model: {', '.join(presets.PRESETS)} (default: %(default)s)")
    where = "folder of weights, or a file in it, or a checkpoint of the authors (default: the preset's own)"
    parser.add_argument("--weights", metavar="DIR", help=where)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda when there is one)")
    parser.add_argument("--precision", choices=("float32", "bf16"), help="default: bf16 where the device has it")
    parser.add_argument("--resolution", type=int, metavar="N", help="short side in pixels at which the network looks")


def comma_list(text: str) -> list[str]:
    """Parts of a list separated by commas, without empty ones, each once."""
    return list(dict.fromkeys(part for part in map(str.strip, text.split(",")) if part))


def streams(text: str) -> list[str]:
    """Type of --streams."""
    names = comma_list(text)
    unknown = [name for name in names if name not in config.STREAMS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"choose from {', '.join(config.STREAMS)}, joined by commas, not {text!r}")
    return names


def load_model(args: argparse.Namespace, classes: Sequence[str] | None = None):
    """The Segmenter that the options describe.

    Args:
        args: parsed options of `add_model`.
        classes: names of the user's own, or None.

    Raises:
        ValueError: a bad option. A bad resolution is found here, not once per image.
    """
    from mfuser.inference.load import load
    from mfuser.inference.windows import working_size

    working_size((512, 512), presets.get(args.preset), args.resolution)
    return load(args.preset, args.device, args.precision, args.weights, classes)


# ------------------------------------------------------------------------------------------------ images in


def find_images(patterns: Sequence[str]) -> list[Path]:
    """Files that the arguments name. What a folder holds besides pictures is named once on stderr.

    Args:
        patterns: files, folders and globs. A folder gives its picture files in natural order, not those of folders
            inside. A pattern that names a file is that file, whatever its characters. A plain name that does not exist
            is kept, so that the others are done all the same.

    Returns:
        Paths in the order of the arguments, each once.

    Raises:
        ValueError: a folder without pictures, a glob without files, or a link that leads to itself.
    """
    found: dict[Path, None] = {}
    notes: dict[str, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            files = find_pictures(path)
            if not files.pictures:
                raise ValueError(f"The folder {pattern!r} holds no images ({', '.join(s[1:] for s in SUFFIXES)}).")
            inside = files.pictures
            notes[files.note()] = None
        elif os.path.lexists(path) or not glob.has_magic(pattern):
            inside = (path,)
        else:
            matches = sorted(map(Path, glob.glob(pattern, recursive=True)), key=natural_key)
            inside = tuple(p for p in matches if p.is_file())
            if not inside:
                raise ValueError(f"No file matches {pattern!r}.")
        found.update(dict.fromkeys(inside))
    for note in filter(None, notes):
        print(f"mfuser: {note}", file=sys.stderr)
    return list(found)


def output_names(paths: Iterable[Path]) -> dict[Path, str]:
    """A name for the results of each image: its stem, with -2, -3, ... where two images share one.

    Names are compared without case, as some file systems do.

    Args:
        paths: of the images.

    Returns:
        {path: name}.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        stem = path.stem.strip(". ") or "image"  # never ".." or an empty name
        name, count = stem, 1
        while name.lower() in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name.lower())
        names[path] = name
    return names


def each_image(args: argparse.Namespace, paths: Sequence[Path], work: Callable[[Path], str]) -> int:
    """Do some work for every image, with a progress bar when there are several.

    An image for which it fails is reported on stderr, and the others are done all the same.

    Args:
        args: parsed options with `command` and `quiet`.
        paths: of the images.
        work: takes a path and returns the line to print. It raises ValueError for a bad image.

    Returns:
        The exit code: 0, or 2 when an image failed.
    """
    from tqdm import tqdm

    bad = 0
    hidden = True if args.quiet or len(paths) < 2 else None  # None: shown on a terminal only
    with tqdm(total=len(paths), unit="image", disable=hidden) as bar:
        for path in paths:
            try:
                line = work(path)
            except ValueError as error:
                bad += 1
                bar.write(f"mfuser {args.command}: {path}: {error}", file=sys.stderr)
            else:
                if not args.quiet:
                    bar.write(line)
            bar.update()
    if bad and len(paths) > 1:
        print(f"mfuser {args.command}: {bad} of {len(paths)} images could not be used.", file=sys.stderr)
    return 2 if bad else 0
