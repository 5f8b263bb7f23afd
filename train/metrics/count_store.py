"""Confusion counts of finished images on disk, so that an evaluation can be continued."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

Counts = dict[str, np.ndarray]  # stream -> (G, G + 1) int64 of one image; the last column is outside the space


class CountStore:
    """Counts of finished images in a folder, one line each; every process appends to a file of its own.

    Args:
        folder: is made if it is not there.
        name: of the evaluation; another one has other files.
        rank: number of this process.
    """

    def __init__(self, folder: Path, name: str, rank: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, name
        self.path = folder / f"{name}.{rank}.jsonl"
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):  # cut short: the line is lost
            with self.path.open("a") as file:
                file.write("\n")

    def read(self) -> dict[int, Counts]:
        """What all processes have stored, by index; a line that a kill cut short is left out."""
        found: dict[int, Counts] = {}
        for path in sorted(self.folder.glob(f"{self.name}.*.jsonl")):
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue
                found[record["image"]] = {s: np.array(c, np.int64) for s, c in record["counts"].items()}
        return found

    def append(self, index: int, counts: Counts) -> None:
        """Store one image."""
        with self.path.open("a") as file:
            record = {"image": index, "counts": {s: c.tolist() for s, c in counts.items()}}
            file.write(json.dumps(record) + "\n")
