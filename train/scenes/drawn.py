"""Street scenes drawn from nothing but a seed: `python -m train.scenes.drawn --out assets/examples`.

The bundled example pictures of the page, with exact labels, so that masks can be scored where no photograph may be
shipped. Three kinds of street (avenue, town, suburb); with a larger --count they repeat with other seeds.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import cv2

from train.scenes.picture import draw_street
from train.scenes.streets import STREETS


def write_examples(out: Path, count: int = 3, seed: int = 0, size: tuple[int, int] = (1024, 512)) -> list[dict]:
    """Draw count streets into a folder: street-N.jpg, its label street-N.png, and the card examples.json.

    Returns: the entries of the card. Raises ValueError for a count below one.
    """
    if count < 1:
        raise ValueError(f"--count is {count}, but at least one street must be drawn.")
    out.mkdir(parents=True, exist_ok=True)
    folder = out.name if out.is_absolute() else out.as_posix()
    command = f"python -m train.scenes.drawn --out {folder} --count {count} --seed {seed} --size {size[0]}x{size[1]}"
    card = []
    for index in range(count):
        kind, this_seed = index % len(STREETS), seed + index // len(STREETS)
        picture, label, street = draw_street(kind, this_seed, size)
        name = f"street-{index + 1}"
        jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        _write(out / f"{name}.jpg", jpeg)
        _write(out / f"{name}.png", cv2.imencode(".png", label)[1].tobytes())
        card.append({"file": f"{name}.jpg", "label": f"{name}.png", "title": street.title, "alt": street.alt,
                     "seed": this_seed, "command": command})  # fmt: skip
    _write(out / "examples.json", (json.dumps(card, indent=2) + "\n").encode())
    return card


def parse_size(text: str) -> tuple[int, int]:
    """ "1024x512" to (1024, 512)."""
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 64):
        raise argparse.ArgumentTypeError(f"{text} is not a size; write it as WIDTHxHEIGHT in pixels, at least 64x64.")
    return int(width), int(height)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.scenes.drawn", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures, made if absent")
    parser.add_argument("--count", type=int, default=3, help="number of streets (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same pictures (default 0)")
    parser.add_argument("--size", type=parse_size, default=(1024, 512), help="WIDTHxHEIGHT in pixels (1024x512)")
    options = parser.parse_args(arguments)
    try:
        card = write_examples(options.out, options.count, options.seed, options.size)
    except ValueError as error:
        parser.error(str(error))
    for entry in card:
        print(f"{options.out / entry['file']}: {entry['title']}")


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


if __name__ == "__main__":
    main()
