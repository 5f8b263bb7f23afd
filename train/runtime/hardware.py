"""Where and how arithmetic runs: the device, its precision, the processes that load data."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import torch

MOST_LOADERS = 16  # processes that load data for one run on a GPU: more do not pay


@dataclass(frozen=True)
class Hardware:
    """Where and how arithmetic runs."""

    device: torch.device
    precision: str
    workers: int = field(default=0)

    def autocast(self) -> torch.autocast:
        """Context of forward passes."""
        kind = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=self.precision != "float32")

    def scaler(self) -> torch.amp.GradScaler:
        """Scaling of the loss, which float16 needs and which is the identity otherwise."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")


def choose_hardware(device: str, precision: str, workers: int) -> Hardware:
    """Resolve "auto" and -1. On CUDA float32 products may use TF32 afterwards.

    Args:
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: of forward passes, "float32", "bf16" or "fp16".
        workers: processes that load data; -1 chooses by the cores.

    Raises:
        ValueError: the device is unknown or not here.
    """
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"Unknown device {name!r}: choose auto, cpu, cuda or cuda:N.") from error
    if chosen.type not in ("cpu", "cuda", "mps") or (chosen.type == "mps" and not torch.backends.mps.is_available()):
        raise ValueError(f"There is no device {name!r} here: choose --device cpu.")
    if chosen.type == "cuda":
        if not torch.cuda.is_available() or (chosen.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"There is no device {name!r} here: choose --device cpu.")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    cores = max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))  # of each process of a launcher
    if workers < 0:
        workers = min(cores, MOST_LOADERS) if chosen.type == "cuda" else min(cores - 1, 4)
    return Hardware(chosen, precision, workers)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
