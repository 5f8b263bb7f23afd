"""What the stages of a folder have written, and whether it is what is asked for.

OUT/stages/NAME.json holds the command of a stage, its settings, whether it is done, how long it took, a digest of what
it wrote, and the digests of what it followed. It is written before the stage begins, so that one that was stopped
continues from its own checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from train.reproduce.recipe import Stage
from train.runtime.files import copy_whole, in_words


class Stages:
    """The stages of a folder.

    Args:
        out: the folder.
        rows: every stage, in order.
        settings: of each stage, by its name: what decides its result, as JSON can hold it.
    """

    def __init__(self, out: Path, rows: Sequence[Stage], settings: Mapping[str, Mapping[str, Any]]):
        self.out, self.folder = out, out / "stages"
        self.rows = {row.name: row for row in rows}
        self.settings = json.loads(json.dumps(settings))  # as they are recorded: tuples are lists
        writer = {path: row.name for row in rows for path in row.writes}
        self.follows = {row.name: list(dict.fromkeys(writer[path] for path in row.reads)) for row in rows}

    def read(self, name: str) -> dict[str, Any]:
        """The record of a stage; {} when it was never begun. Raises ValueError for a damaged one."""
        path = self.folder / f"{name}.json"
        try:
            return json.loads(path.read_text()) if path.is_file() else {}
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is damaged: remove it, and --overwrite makes the stage {name} anew.") from error

    def write(self, name: str, **changes: Any) -> None:
        """Change entries of the record of a stage."""
        path, beside = self.folder / f"{name}.json", self.folder / f"{name}.json.part"
        beside.write_text(json.dumps({**self.read(name), **changes}, indent=1) + "\n")
        os.replace(beside, path)

    def log(self, name: str) -> Path:
        """Everything that a stage prints."""
        return self.folder / f"{name}.txt"

    def done(self, name: str) -> bool:
        """It ended well and its files are there; `differs` says whether it is the one that is asked for."""
        return bool(self.read(name).get("done")) and not self.missing(name)

    def missing(self, name: str) -> list[str]:
        """What a stage should have written and has not."""
        return [path for path in self.rows[name].writes if not (self.out / path).is_file()]

    def differs(self, name: str) -> str:
        """In words, how what is there differs from what is asked for; "" when it does not, or nothing is there."""
        found, asked = self.read(name), self.settings[name]
        if not found:
            there = [path for path in self.rows[name].writes if (self.out / path).exists()]
            return f"{there[0]} is there, of unknown settings" if there else ""
        for key in sorted(asked.keys() | found["settings"].keys()):
            old, new = (in_words(of.get(key)) for of in (found["settings"], asked))
            if old != new:
                return f"it has {key} {old}, not {new}"
        others = [one for one in self.follows[name] if found["follows"].get(one) != self.read(one).get("digest")]
        return f"it follows another {others[0]}" if others else ""

    def refuse(self, name: str) -> None:
        """Raise ValueError for a stage that was made otherwise."""
        if how := self.differs(name):
            raise ValueError(
                f"The stage {name} in {self.out} was made otherwise: {how}. Pass --overwrite to make it anew, "
                "with all that follows, or another --out."
            )

    def begin(self, name: str, command: str) -> None:
        """Record that a stage runs, without what one that differs has left, and copy what it changes in place.

        The digest of an earlier result stays until there is another: the same result leaves what follows as it is.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        row, before = self.rows[name], self.read(name)
        if self.differs(name):
            for path in (path for pattern in row.owns for path in self.out.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            before = {}
        follows = {one: self.read(one).get("digest") for one in self.follows[name]}
        start = {"command": command, "settings": self.settings[name], "follows": follows, "done": False}
        self.write(name, **start, seconds=before.get("seconds", 0.0), digest=before.get("digest"))
        for path in row.writes if row.copies else ():
            (self.out / path).parent.mkdir(parents=True, exist_ok=True)
            copy_whole(self.out / row.copies / Path(path).name, self.out / path)

    def finish(self, name: str) -> None:
        """Record that a stage is done. Raises ValueError when something that it should have written is missing."""
        if missing := self.missing(name):
            raise ValueError(f"The stage {name} ended without {', '.join(missing)}: see {self.log(name)}.")
        total = hashlib.sha256()
        for path in self.rows[name].writes:
            total.update((self.out / path).read_bytes())
        self.write(name, done=True, digest=total.hexdigest()[:16])
