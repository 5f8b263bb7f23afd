"""Files of a set: which label belongs to which photograph, and the size of a photograph as it is seen."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from mfuser.picture_files import find_pictures
from train.data.labels import LabelRule

LABEL_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # lossless ones
ANY_LABEL: tuple[tuple[str, LabelRule | None], ...] = tuple((suffix, None) for suffix in LABEL_SUFFIXES)
ORIENTATION = 0x0112  # EXIF tag; 1 is upright, 5 to 8 swap the sides
PNG_TEXTS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")  # that can hold an orientation


@dataclass(frozen=True)
class Pair:
    """A photograph and its label.

    label: None for an unlabelled photograph; a file that should be there, whether it is or not, for others. rule: how
    the label is read, where it differs from the set's. condition: weather or time of day that the set names.
    """

    image: Path
    label: Path | None
    rule: LabelRule | None = None
    condition: str = ""

    def missing(self) -> str:
        """What to say when the label is not there; "" when it is, or none is asked for."""
        there = self.label is None or self.label.is_file()
        return "" if there else f"No label for {self.image}: expected {self.label}."


def pair_files(
    images: Path,
    labels: Path | None,
    image_end: str = "",
    label_ends: Sequence[tuple[str, LabelRule | None]] = ANY_LABEL,
    nested: bool = False,
) -> list[Pair]:
    """Pair `images/X<image_end>.*` with `labels/X<label_end>`.

    Files that are no pictures are named once on stderr.

    Args:
        images: folder of the photographs, with any suffix of a picture in any letter case.
        labels: folder of the labels; None pairs photographs with nothing.
        image_end: what the name of a photograph ends with before its suffix.
        label_ends: possible endings of label files with their suffix, in the order of preference, each with the rule
            of its files (None: the set's own).
        nested: take photographs from the folders inside too; their labels lie in folders of the same names.

    Returns:
        Pairs in the natural order of the photographs. A photograph without a label is paired with the file that is
        missing.

    Raises:
        ValueError: no photographs, or symbolic links that lead in a circle.
    """
    found = find_pictures(images, nested, stem_end=image_end)
    say_once(found.note())
    if not found.pictures:
        raise ValueError(f"The folder {images} holds no photographs: *{image_end}.jpg, .png and the like belong there.")
    if labels is None:
        return [Pair(path, None) for path in found.pictures]
    names_in = cache(_label_names)
    pairs = []
    for path in found.pictures:
        folder, stem = labels / path.parent.relative_to(images), path.stem.removesuffix(image_end)
        there = ((names_in(folder).get(stem + end), rule) for end, rule in label_ends)
        first = folder / (stem + label_ends[0][0])
        label, rule = next(((label, rule) for label, rule in there if label), (first, label_ends[0][1]))
        pairs.append(Pair(path, label, rule))
    return pairs


def _label_names(folder: Path) -> dict[str, Path]:
    """Files of a folder by their names, the suffix in lower case."""
    return {path.stem + path.suffix.lower(): path for path in folder.iterdir()} if folder.is_dir() else {}


@cache
def say_once(note: str) -> None:
    """Print a sentence on stderr the first time that it is said; of several processes only the first prints.

    Args:
        note: the sentence; "" says nothing.
    """
    if note and os.environ.get("RANK", "0") == "0":
        print(note, file=sys.stderr)


def upright_size(path: Path) -> tuple[tuple[int, int], int]:
    """Size of a photograph by the rule of `mfuser.images.load`, without its pixels where that is possible.

    Args:
        path: the file.

    Returns:
        (height, width) in pixels after the orientation is applied, and the orientation, 1 to 8. It stands in EXIF or
        XMP, which a PNG may hold after its pixels.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Pillow decodes a whole PNG to look for an orientation.
            known = image.format != "PNG" or _may_be_turned(path)
            orientation = image.getexif().get(ORIENTATION, 1) if known else 1
    except (OSError, SyntaxError) as error:
        raise ValueError(f"The image {path} cannot be read ({error}): replace or remove it.") from error
    return ((width, height) if orientation in (5, 6, 7, 8) else (height, width)), orientation


def _may_be_turned(path: Path) -> bool:
    """True when a PNG has a chunk that can hold an orientation, before or after its pixels."""
    with path.open("rb", buffering=0) as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            text = file.read(min(length, 24)) if kind in (b"iTXt", b"zTXt", b"tEXt") else b""
            if kind == b"eXIf" or text.startswith(PNG_TEXTS):
                return True
            file.seek(length - len(text) + 4, os.SEEK_CUR)
    return False
