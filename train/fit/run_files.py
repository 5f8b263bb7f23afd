"""What a run leaves on disk: its log, its resumable state, its weights. Everything is written beside and renamed."""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mfuser.weights import files
from mfuser.weights import tensors as tensors_module


class RunFiles:
    """The files of one stream in a folder."""

    def __init__(self, folder: Path, stream: str):
        self.weights = folder / f"stream-{stream}.safetensors"
        self.state = folder / f"stream-{stream}.state.pt"
        self.log = folder / f"stream-{stream}.jsonl"

    def finished(self, identity: Mapping[str, Any]) -> bool:
        """Weights of this very run are there, whole.

        identity: its settings, and what it learns from. Raises ValueError naming what differs when the weights are
        those of another finished run; weights of before, which do not say what made them, are told by their steps.
        """
        if not self.weights.is_file():
            return False
        stored = files.load_metadata(self.weights)
        if "recipe" in stored and not self.state.exists():  # else the state tells
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

    def load_state(self, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
        """What `save_state` stored, on the CPU; None when there is nothing.

        recipe: settings of this run. Raises ValueError naming a setting that differs, or a damaged file.
        """
        if not self.state.exists():
            return None
        try:
            state = torch.load(self.state, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(f"{self.state} is damaged: pass --overwrite to start anew.") from error
        require_same(state["recipe"], recipe, self.state)
        return state

    def save_weights(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], half: bool) -> None:
        """Store the weights that evaluation and the page load."""
        tensors_module.save(self.weights, tensors, metadata, half=half)

    def trim_log(self, step: int) -> None:
        """Drop log lines of steps that are about to be repeated."""
        if not self.log.exists():
            return
        lines = [line for line in self.log.read_text().splitlines() if _step_of(line) <= step]
        beside = self.log.with_name(self.log.name + ".part")
        beside.write_text("".join(line + "\n" for line in lines))
        os.replace(beside, self.log)

    def write_log(self, record: Mapping[str, Any]) -> None:
        """Append one line; it must have a "step"."""
        with self.log.open("a") as file:
            file.write(json.dumps(record) + "\n")


def require_same(stored: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError naming a setting in which a run differs from the one that wrote a file."""
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as they were stored
    for name in sorted(wanted.keys() | stored.keys()):
        if stored.get(name) != wanted.get(name):
            raise ValueError(
                f"Cannot resume {path.name}: it was trained with {name} = {stored.get(name)}, not {wanted.get(name)}. "
                "Use the same settings, or --overwrite to start anew."
            )


def _step_of(line: str) -> float:
    """Step of a line of the log; infinite for one that a kill cut short."""
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return math.inf


def checkpoint_bytes(numbers: Sequence[int], average: bool, half: bool) -> int:
    """Most bytes that the checkpoints of streams, trained one after the other, come to.

    numbers: how many numbers each stream trains. A finished stream leaves its weights; the one in training has a state
    besides, float32 of weights, two moments and the average, and each file is written beside the one that it replaces.
    """
    weights = [count * (2 if half else 4) for count in numbers]
    states = [count * 4 * (4 if average else 3) for count in numbers]
    return sum(weights) + max(2 * state + own for state, own in zip(states, weights, strict=True))
