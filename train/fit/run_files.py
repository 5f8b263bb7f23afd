"""What a run leaves on disk: its log, its resumable state, its weights. Everything is written beside and renamed."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mfuser.weights import files
from mfuser.weights import tensors as tensors_module
from mfuser.writing import write_bytes
from train.fit.config import FORMER


class RunFiles:
    """The files of one stream in a folder."""

    def __init__(self, folder: Path, stream: str):
        self.weights = folder / f"stream-{stream}.safetensors"
        self.state = folder / f"stream-{stream}.state.pt"
        self.log = folder / f"stream-{stream}.jsonl"

    def finished(self, identity: Mapping[str, Any]) -> bool:
        """Whether the weights of this very run are there, with all of its steps.

        Args:
            identity: settings of the run, and what it learns from. Weights of earlier versions do not store it; of
                these the number of steps decides.

        Raises:
            ValueError: the weights are those of another finished run; the message names the setting that differs.
        """
        if not self.weights.is_file():
            return False
        stored = files.load_metadata(self.weights)
        if "recipe" in stored and not self.state.exists():  # else `load_state` compares
            require_same(json.loads(stored["recipe"]), identity, self.weights)
        return stored.get("step") == str(identity["iterations"])

    def check_free(self) -> None:
        """Raise ValueError when a run is here that a new one would replace."""
        for path in (self.weights, self.state):
            if path.exists():
                raise ValueError(
                    f"{path} exists already: pass --resume to continue, --overwrite to replace it, or another --out."
                )

    def clear(self) -> None:
        """Remove what an earlier run left."""
        for path in (self.weights, self.state, self.log):
            path.unlink(missing_ok=True)

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Store everything that the next step depends on."""
        beside = self.state.with_name(self.state.name + ".part")
        with beside.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self.state)

    def load_state(self, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """Read what `save_state` stored.

        Args:
            identity: settings of this run, and what it learns from.

        Returns:
            The state, on the CPU; None when there is none.

        Raises:
            ValueError: the file is damaged, or a setting differs; the message names it.
        """
        if not self.state.exists():
            return None
        try:
            state = torch.load(self.state, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(f"{self.state} is damaged: pass --overwrite to start anew.") from error
        require_same(state["recipe"], identity, self.state)
        return state

    def save_weights(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], half: bool) -> None:
        """Store the weights that evaluation and the page load; half: as float16."""
        tensors_module.save(self.weights, tensors, metadata, half=half)

    def write_log(self, record: Mapping[str, Any]) -> None:
        """Append one line; it must have a "step"."""
        with self.log.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def trim_log(self, step: int) -> None:
        """Drop the lines of steps after `step`, which are about to be repeated."""
        if self.log.exists():
            lines = [json.dumps(record) + "\n" for record in read_log(self.log) if record["step"] <= step]
            write_bytes(self.log, "".join(lines).encode())


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a log; one that a kill cut short is left out, and a missing file has none."""
    records = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def require_same(stored: Mapping[str, Any], own: Mapping[str, Any], path: Path) -> None:
    """Compare a run with the one that wrote a file.

    Args:
        stored: identity of the run that wrote it.
        own: identity of this run.
        path: the file, for the message.

    Raises:
        ValueError: they differ; the message names the setting.
    """
    stored = {name: value for name, value in stored.items() if name not in FORMER or value != FORMER[name]}
    own = json.loads(json.dumps(own))  # tuples become lists, as they were stored
    for name in sorted(own.keys() | stored.keys()):
        if stored.get(name) != own.get(name):
            raise ValueError(
                f"Cannot resume {path.name}: it was trained with {name} = {stored.get(name)}, not {own.get(name)}. "
                "Use the same settings, or --overwrite to start anew."
            )


def checkpoint_bytes(numbers: Sequence[int], average: bool, half: bool) -> int:
    """Most bytes that the checkpoints of streams, trained one after the other, come to.

    A finished stream leaves its weights; the one in training has a state besides, float32 of weights, two moments and
    the average, and each file is written beside the one that it replaces.

    Args:
        numbers: how many numbers each stream trains.
        average: whether a moving average is kept.
        half: whether weights are stored as float16.
    """
    weights = [count * (2 if half else 4) for count in numbers]
    states = [count * 4 * (4 if average else 3) for count in numbers]
    return sum(weights) + max(2 * state + own for state, own in zip(states, weights, strict=True))
