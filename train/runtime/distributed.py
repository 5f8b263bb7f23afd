"""The processes of a run: a single one, or those that `torchrun` or `accelerate launch` started.

Accelerate sets up the group (backend, device of each rank, wrapping of the model); a single process needs none of it,
and runs without the package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Processes:
    """A single process; the interface of `Group` as well.

    rank: of this process, 0 .. count - 1. count: how many. device: of this process, None for whatever was asked for.
    Files are written, and lines printed, by `writer` alone.
    """

    rank, count = 0, 1
    device: torch.device | None = None

    @property
    def writer(self) -> bool:
        """True in the one process that writes."""
        return self.rank == 0

    def share(self, size: int) -> range:
        """Indices out of `size` that fall to this process: every count-th one."""
        return range(self.rank, size, self.count)

    def total(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        return values

    def total_array(self, values: np.ndarray) -> np.ndarray:
        """Sum of integer counts over all processes."""
        return values

    def gather(self, item: Any) -> list[Any]:
        """What every process passes, in the order of ranks."""
        return [item]

    def any(self, flag: bool) -> bool:
        """True in all processes when it is in one."""
        return flag

    def wait(self) -> None:
        """Until all processes are here."""

    @contextmanager
    def writer_first(self) -> Iterator[None]:
        """Work that the writer does before all others, who then find what it left."""
        if not self.writer:
            self.wait()
        try:
            yield
        finally:
            if self.writer:
                self.wait()

    def wrap(self, module: nn.Module) -> nn.Module:
        """A module whose backward pass averages gradients over the processes."""
        return module

    def no_sync(self, module: nn.Module) -> Any:
        """Context of backward passes whose gradients are only accumulated."""
        return nullcontext()

    def close(self) -> None:
        """End the group."""


class Group(Processes):
    """Several processes, by Hugging Face Accelerate."""

    def __init__(self, cpu: bool):
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs
        except ImportError as error:
            raise ValueError("Several processes want accelerate: pip install -r train/requirements.txt") from error
        # Not every fusion uses every parameter in each step (an image without labels draws no mask, say).
        options = DistributedDataParallelKwargs(find_unused_parameters=True)
        self._accelerator = Accelerator(cpu=cpu, kwargs_handlers=[options])
        self.rank, self.count = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device

    def total(self, values: Tensor) -> Tensor:
        return self._accelerator.reduce(values, reduction="sum")

    def total_array(self, values: np.ndarray) -> np.ndarray:
        on_device = torch.from_numpy(values.astype(np.int64)).to(self.device)
        return self.total(on_device).cpu().numpy()

    def gather(self, item: Any) -> list[Any]:
        from accelerate.utils import gather_object

        return gather_object([item])

    def any(self, flag: bool) -> bool:
        return bool(self.total(torch.tensor(int(bool(flag)), device=self.device)).item())

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()

    def wrap(self, module: nn.Module) -> nn.Module:
        if self.device.type == "cuda":  # as released; there is no such layer on CPUs
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return self._accelerator.prepare_model(module, device_placement=False)

    def no_sync(self, module: nn.Module) -> Any:
        return self._accelerator.no_sync(module)

    def close(self) -> None:
        self._accelerator.end_training()


def launched() -> int:
    """How many processes a launcher started, by the variable that all of them set."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def open_processes(device: str = "auto") -> Iterator[Processes]:
    """The processes of this run. device: as asked for; "cpu" keeps GPUs out.

    Raises ValueError when several processes were started and Accelerate is not installed.
    """
    if launched() == 1:
        yield Processes()
        return
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"Several processes choose their devices by rank: pass --device auto or cpu, not {device!r}.")
    group = Group(cpu=device == "cpu" or not torch.cuda.is_available())
    try:
        yield group
    finally:
        group.close()
