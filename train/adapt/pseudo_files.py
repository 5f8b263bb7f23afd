"""What `python -m train pseudo` leaves: names that keep photographs apart, and a record of what made their labels."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfuser.writing import write_json
from train.data.registry import parse
from train.runtime.files import in_words


class Record:
    """OUT/pseudo.json: "settings" that made the labels, and for each of "sets" its photographs and labelled share."""

    def __init__(self, out: Path):
        self.out, self.path = out, out / "pseudo.json"

    def read(self) -> dict[str, Any]:
        """What was written; {} when nothing was. Raises ValueError for a damaged file."""
        try:
            return json.loads(self.path.read_text()) if self.path.is_file() else {}
        except ValueError as error:
            raise ValueError(f"{self.path} is damaged: choose another --out or pass --overwrite.") from error

    def write(self, content: Mapping[str, Any]) -> None:
        """Write the record, beside its place and renamed."""
        write_json(self.path, content)

    def require(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError naming a setting in which what is there was made otherwise."""
        if not self.path.is_file():
            return self.require_empty()
        found = self.read().get("settings", {})
        for name, new in settings.items():
            if (old := found.get(name)) != new:
                raise ValueError(
                    f"{self.out} was made with {name} {in_words(old)}, not {in_words(new)}: "
                    "choose another --out or pass --overwrite."
                )

    def require_empty(self) -> None:
        """Raise ValueError when there are photographs or labels of which nothing is known."""
        for folder in (self.out / "images", self.out / "labels"):
            if folder.is_dir() and any(folder.iterdir()):
                raise ValueError(f"{folder} holds files, and no {self.path.name} says what made them: another --out.")

    def clear(self) -> None:
        """Remove what was made. The record goes last: one that is cut short is still known as ours."""
        for folder in (self.out / "images", self.out / "labels"):
            if folder.is_dir():
                shutil.rmtree(folder)
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Prefix:
    """What a set's files begin with: the name of its folder, and which of the folders of this name it is, from 1."""

    folder: str
    number: int = 1

    def __str__(self) -> str:
        return self.folder if self.number == 1 else f"{self.folder} ({self.number})"

    def name(self, root: Path, image: Path) -> str:
        """Name a photograph.

        Args:
            root: folder of its set.
            image: its path.

        Returns:
            A name without suffix. The hash of the path below the root, and of the number, keeps photographs of one name
            in other folders, with another suffix or of other roots apart, wherever the data lies.
        """
        place = Path(os.path.relpath(image, root)).as_posix()
        key = place if self.number == 1 else f"{self.number}:{place}"
        return f"{self.folder}-{image.stem}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def name_sets(specs: Sequence[str]) -> list[Prefix]:
    """Give each set a prefix of its own.

    Args:
        specs: as of `--data`.

    Returns:
        One prefix a set; of folders with one name the second is number 2, and so on.

    Raises:
        ValueError: a folder is given twice.
    """
    roots = [parse(spec)[1].resolve() for spec in specs]
    if twice := [spec for i, spec in enumerate(specs) if roots[i] in roots[:i]]:
        raise ValueError(f"{twice[0]} is given twice: name each folder once.")
    names = [root.name for root in roots]
    return [Prefix(name, 1 + names[:i].count(name)) for i, name in enumerate(names)]
