"""Picture files in folders: which files count as pictures, in which order they come, and which are left out."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# In lower case; files may have them in any case.
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
    ".avif", ".heic", ".heif", ".hif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx",
)  # fmt: skip


@dataclass(frozen=True)
class PictureFiles:
    """What a folder holds.

    pictures: files with a picture's suffix, in natural order. left_out: all other files in natural order: other
    suffixes, hidden pictures such as `._x.png`, links to nothing. Other hidden files are not mentioned.
    """

    folder: Path
    pictures: tuple[Path, ...]
    left_out: tuple[Path, ...]

    def note(self) -> str:
        """One sentence on the files that are left out; "" when there are none."""
        if not self.left_out:
            return ""
        count, first = len(self.left_out), self.left_out[0].relative_to(self.folder)
        if count == 1:
            return f"1 file in {self.folder} is no picture and is left out: {first}."
        return f"{count} files in {self.folder} are no pictures and are left out, {first} for one."


def find_pictures(
    folder: str | Path, nested: bool = False, suffixes: Sequence[str] = SUFFIXES, stem_end: str = ""
) -> PictureFiles:
    """Find the picture files of a folder.

    Args:
        folder: where to look. Symbolic links to files are followed.
        nested: look into the folders inside as well, and follow symbolic links to folders.
        suffixes: endings that count as pictures, in lower case.
        stem_end: what a picture's name must end with before the suffix, "_leftImg8bit" for example.

    Returns:
        The pictures and the files that are left out, each in natural order ("2.png" before "10.png").

    Raises:
        ValueError: a symbolic link leads back to a folder around it, or to itself.
        OSError: the folder cannot be read.
    """
    folder = Path(folder)
    pictures: list[Path] = []
    left_out: list[Path] = []
    for path in _files(folder, nested, ()):
        right_name = path.suffix.lower() in suffixes and path.stem.endswith(stem_end)
        hidden = path.name.startswith(".")
        if right_name and not hidden and path.is_file():
            pictures.append(path)
        elif not hidden or path.suffix.lower() in suffixes:
            left_out.append(path)
    return PictureFiles(folder, *(tuple(sorted(paths, key=natural_key)) for paths in (pictures, left_out)))


def natural_key(path: Path) -> tuple[list[list[tuple[int, int, str]]], str]:
    """Sort key of natural order.

    Args:
        path: any path; each folder and the name are compared for themselves.

    Returns:
        A key that compares runs of digits as numbers and all else as text.
    """
    parts = [
        [(0, int(run), "") if run.isdecimal() else (1, 0, run) for run in re.split(r"(\d+)", part) if run]
        for part in path.parts
    ]
    return parts, str(path)


def _files(folder: Path, nested: bool, around: tuple[str, ...]) -> Iterator[Path]:
    """Everything in a folder that is no folder. around: real paths of the folders that led here."""
    around = (*around, os.path.realpath(folder))
    for entry in os.scandir(folder):
        path = folder / entry.name
        try:
            is_folder = entry.is_dir()
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise ValueError(f"The symbolic link {path} leads to itself: remove it.") from error
        if not is_folder:
            yield path
        elif nested and not entry.name.startswith("."):
            if os.path.realpath(path) in around:
                raise ValueError(f"The symbolic link {path} leads back to a folder around it: remove it.")
            yield from _files(path, nested, around)
