"""Memory that is left for a run: of the machine, of its control group (a container, a job), of a GPU."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from mfuser.ops.group_limits import group_limits
from mfuser.ops.peak_memory import forget_peak, peak_memory

try:
    import psutil
except ImportError as error:
    raise ValueError("The check of free memory needs psutil: pip install -r train/requirements.txt") from error


@dataclass(frozen=True)
class Memory:
    """What this process may come to hold in all, in bytes, and what sets that bound, as a noun."""

    bytes: int
    bound: str

    def require(self, needed: int, what: str, way_out: str) -> None:
        """Check that something fits.

        Args:
            needed: bytes.
            what: what needs them, as the subject of a sentence.
            way_out: what to do about it, as its end.

        Raises:
            ValueError: there is less.
        """
        if needed > self.bytes:
            raise ValueError(
                f"{what} needs {needed / 1e9:.2f} GB of memory, and {self.bytes / 1e9:.2f} GB are available "
                f"({self.bound}): {way_out}."
            )


def memory_of(device: torch.device) -> Memory:
    """Memory of a GPU, or of the machine."""
    if device.type != "cuda":
        return host_memory()
    free, _ = torch.cuda.mem_get_info(device)
    return Memory(free + torch.cuda.memory_reserved(device), f"free on {torch.cuda.get_device_name(device)}")


def host_memory() -> Memory:
    """What other programs leave free, or the limit of a control group of this process where that is lower.

    The processes of a launcher on one machine share it evenly.
    """
    share = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    free = psutil.Process().memory_info().rss + psutil.virtual_memory().available // share
    limits = [Memory(limit // share, "limit of the control group") for limit in group_limits()]
    return min([Memory(free, "free RAM"), *limits], key=lambda bound: bound.bytes)


def forget_peak_of(device: torch.device) -> None:
    """Count the peak anew from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        forget_peak()


def peak_of(device: torch.device) -> int:
    """Most bytes in use since the peak was forgotten: of the GPU, or of this process."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()
