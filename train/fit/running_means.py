"""What a line of the training log says: loss terms, speed and waiting since the last one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from train.data.batches import Batch, items_of
from train.runtime.distributed import Processes


class RunningMeans:
    """Loss terms and speed since the last line of the log. Terms stay on the device until a line is written.

    Args:
        batch: images of a step, over all processes.
    """

    def __init__(self, batch: int):
        self.batch = batch
        self._reset()

    def _reset(self) -> None:
        self.names: list[str] = []
        self.total: Tensor | None = None  # (terms,) sum over the steps
        self.steps, self.seconds, self.waited = 0, 0.0, 0.0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave out the time since the last step: evaluations, pictures and checkpoints are no training."""
        self.mark = time.perf_counter()

    def timed(self, loader: DataLoader) -> Iterator[Batch]:
        """The batches of a loader, counting how long each was waited for."""
        batches = items_of(loader)
        while True:
            started = time.perf_counter()
            if (batch := next(batches, None)) is None:
                return
            self.waited += time.perf_counter() - started
            yield batch

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Take in the loss terms of one step, scalars on the device."""
        values = torch.stack(list(terms.values()))
        self.total = values if self.total is None else self.total + values
        self.names, self.steps = list(terms), self.steps + 1
        now = time.perf_counter()
        self.seconds, self.mark = self.seconds + now - self.mark, now

    def close(self, processes: Processes) -> dict[str, Any]:
        """Means since the last call, and a new start. Waits for the device and for all processes.

        Args:
            processes: all processes of the run; they must call this together.

        Returns:
            "loss", the sum of the terms; "images_per_s"; "waiting", the share of the time in which no batch was
            ready; "terms" by name.
        """
        means = (processes.total(self.total) / (self.steps * processes.count)).tolist()
        seconds = self.seconds + time.perf_counter() - self.mark  # what the device still had to do is training as well
        record = {
            "loss": sum(means),
            "images_per_s": round(self.steps * self.batch / seconds, 2),
            "waiting": round(self.waited / seconds, 4),
            "terms": {name: round(value, 5) for name, value in zip(self.names, means, strict=True)},
        }
        self._reset()
        return record


def by_kind(terms: Mapping[str, float]) -> dict[str, float]:
    """Loss terms summed over the decoder's predictions: {"cls": ..., "mask": ..., "dice": ..., "seg": ...}."""
    kinds: dict[str, float] = {}
    for name, value in terms.items():
        kind = name.rpartition("loss_")[2]
        kinds[kind] = kinds.get(kind, 0.0) + value
    return kinds
