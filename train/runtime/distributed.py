"""The processes of a run: a single one, or those that `torchrun` or `accelerate launch` started.

Accelerate sets up the group (backend, device of each rank, wrapping of the model); a single process needs none of it,
and runs without the package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


class Processes:
    """A single process; `Group` has the same methods for several, which must all call them together."""

    rank, count = 0, 1  # number of this process, and how many there are
    device: torch.device | None = None  # of this process; None for the device that was asked for

    @property
    def writer(self) -> bool:
        """True in the one process that writes files and prints lines."""
        return self.rank == 0

    def share(self, size: int) -> range:
        """Indices out of `size` that fall to this process: every count-th one."""
        return range(self.rank, size, self.count)

    def total(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
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
        """Work that the writer does before all others, who then find its files."""
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


class Group(Processes):
    """Several processes, by Hugging Face Accelerate."""

    def __init__(self, cpu: bool):
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs
        except ImportError as error:
            raise ValueError("Several processes need accelerate: pip install -r train/requirements.txt") from error
        # Not every fusion uses every parameter in each step (an image without labels draws no mask, say).
        options = DistributedDataParallelKwargs(find_unused_parameters=True)
        self._accelerator = Accelerator(cpu=cpu, kwargs_handlers=[options])
        self.rank, self.count = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device
        self.wait, self.no_sync = self._accelerator.wait_for_everyone, self._accelerator.no_sync

    def total(self, values: Tensor) -> Tensor:
        return self._accelerator.reduce(values, reduction="sum")

    def gather(self, item: Any) -> list[Any]:
        from accelerate.utils import gather_object

        return gather_object([item])

    def any(self, flag: bool) -> bool:
        return bool(self.total(torch.tensor(int(flag), device=self.device)).item())

    def wrap(self, module: nn.Module) -> nn.Module:
        if self.device.type == "cuda":  # as released; there is no such layer on CPUs
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return self._accelerator.prepare_model(module, device_placement=False)

    def close(self) -> None:
        """End the group."""
        self._accelerator.end_training()


@contextmanager
def open_processes(device: str = "auto") -> Iterator[Processes]:
    """The processes of this run.

    Args:
        device: as asked for; "cpu" keeps GPUs out.

    Raises:
        ValueError: several processes were started, and Accelerate is not installed or `device` names one GPU.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":  # every launcher sets it
        yield Processes()
        return
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"Several processes choose their devices by rank: pass --device auto or cpu, not {device!r}.")
    group = Group(cpu=device == "cpu" or not torch.cuda.is_available())
    try:
        yield group
    finally:
        group.close()
