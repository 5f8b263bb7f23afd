"""Stages that follow each other: each is a command, knows what it makes, and is skipped when that is there.

OUT/stages/NAME.json holds the settings with which a stage was begun, whether it is done, how long it took, and a digest
of what it made; the next stage keeps the digest of what it followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from train.runtime.files import copy_whole, in_words
from train.runtime.subprocesses import options


@dataclass(frozen=True)
class Stage:
    """One stage in a folder.

    settings: what decides its result, as options of its command. places: options that decide nothing, such as folders
    and the device. makes: files, below the folder, that are all there when it is done. leaves: further files and whole
    folders of its own (resumable states, logs). follows: stages whose results it reads. copies: (from, to) folders
    below the run's; the files that it makes are first copied, anew each time, and then changed in place.
    """

    name: str
    command: str
    settings: Mapping[str, Any]
    places: Mapping[str, Any] = field(default_factory=dict)
    makes: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    copies: tuple[str, str] | None = None

    def arguments(self) -> list[str]:
        """Command line behind `python -m train`; places override settings of the same name."""
        given = {**self.settings, **self.places}
        return [self.command, *(word for name, value in given.items() for word in options(name, value))]


class Ledger:
    """What the stages of a folder have made."""

    def __init__(self, out: Path):
        self.out, self.folder = out, out / "stages"

    def log(self, stage: Stage) -> Path:
        """Everything that the stage said."""
        return self.folder / f"{stage.name}.txt"

    def read(self, name: str) -> dict[str, Any]:
        """The record of a stage; {} when it was never begun. Raises ValueError for a damaged one."""
        path = self.folder / f"{name}.json"
        try:
            return json.loads(path.read_text()) if path.is_file() else {}
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is damaged: remove it, and the stage {name} is made anew.") from error

    def done(self, stage: Stage) -> bool:
        """It ended well and its files are there; `differs` says whether it is the one that is asked for."""
        return bool(self.read(stage.name).get("done")) and all((self.out / path).is_file() for path in stage.makes)

    def differs(self, stage: Stage) -> str:
        """In words, how what is there differs from what is asked for; "" when it does not, or nothing is there."""
        found = self.read(stage.name)
        if not found:
            here = [path for path in stage.makes if (self.out / path).exists()]
            return f"{here[0]} is there, of unknown settings" if here else ""
        wanted = json.loads(json.dumps(dict(stage.settings)))  # tuples become lists, as they were stored
        for key in sorted(wanted.keys() | found["settings"].keys()):
            old, new = found["settings"].get(key), wanted.get(key)
            if old != new:
                return f"it has {key} {in_words(old)}, not {in_words(new)}"
        for name in stage.follows:
            if found["follows"].get(name) != self.read(name).get("digest"):
                return f"it follows another {name}"
        return ""

    def begin(self, stage: Stage, command: str) -> None:
        """Note that a stage runs; one that had begun alike goes on.

        The digest of an earlier result stays until there is another: the same result leaves what follows as it is.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.read(stage.name)
        record = {
            "command": command,
            "settings": dict(stage.settings),
            "follows": {name: self.read(name).get("digest") for name in stage.follows},
            "done": False,
            "seconds": before.get("seconds", 0.0),
            "digest": before.get("digest"),
        }
        self._write(stage, record)
        if stage.copies is not None:
            source, target = (self.out / folder for folder in stage.copies)
            target.mkdir(parents=True, exist_ok=True)
            for path in stage.makes:
                copy_whole(source / Path(path).name, target / Path(path).name)

    def spent(self, stage: Stage, seconds: float) -> None:
        """Add the time that an attempt took."""
        record = self.read(stage.name)
        self._write(stage, {**record, "seconds": round(record["seconds"] + seconds, 1)})

    def finish(self, stage: Stage) -> None:
        """Note that a stage is done. Raises ValueError when something that it should have made is missing."""
        missing = [path for path in stage.makes if not (self.out / path).is_file()]
        if missing:
            raise ValueError(f"The stage {stage.name} ended without {', '.join(missing)}: see {self.log(stage)}.")
        self._write(stage, {**self.read(stage.name), "done": True, "digest": digest(self.out, stage.makes)})

    def clear(self, stage: Stage) -> None:
        """Remove what a stage has made and its record."""
        for path in (*stage.leaves, *stage.makes):
            if (self.out / path).is_dir():
                shutil.rmtree(self.out / path)
            else:
                (self.out / path).unlink(missing_ok=True)
        (self.folder / f"{stage.name}.json").unlink(missing_ok=True)

    def _write(self, stage: Stage, record: Mapping[str, Any]) -> None:
        path = self.folder / f"{stage.name}.json"
        beside = path.with_name(path.name + ".part")
        beside.write_text(json.dumps(record, indent=1) + "\n")
        os.replace(beside, path)


def digest(out: Path, paths: Sequence[str]) -> str:
    """Content hash of files."""
    total = hashlib.sha256()
    for path in paths:
        total.update((out / path).read_bytes())
    return total.hexdigest()[:16]
