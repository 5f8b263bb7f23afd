"""Memory that is left for a run: of the machine, of its control group (a container, a job), of a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from mfuser.ops.peak_memory import forget_peak, peak_memory


@dataclass(frozen=True)
class Memory:
    """What this process may come to hold in all, in bytes, and what sets that bound, as a noun."""

    bytes: int
    bound: str

    def require(self, needed: int, what: str, way_out: str) -> None:
        """Raise ValueError, saying what needs more than there is and the way out, when `needed` bytes do not fit."""
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


def host_memory(root: Path = Path("/")) -> Memory:
    """Memory of the machine as far as others leave it, or what is left in the tightest control group of this process.

    Processes of a launcher on one machine share what is free. root: where /proc and /sys lie.
    """
    own = _resident(root)
    share = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    free = _kilobytes(root / "proc/meminfo", "MemAvailable")
    if free is None:  # not Linux: nothing better is known than what is built in
        return Memory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // share, "RAM")
    bounds = [Memory(own + free // share, "free RAM")]
    for limit, used in _group_limits(root):
        bounds.append(Memory(min(limit, own + max(limit - used, 0) // share), "limit of the control group"))
    return min(bounds, key=lambda bound: bound.bytes)


def forget_peak_of(device: torch.device) -> None:
    """Count the peak anew from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        forget_peak()


def peak_of(device: torch.device) -> int:
    """Most bytes in use since the peak was forgotten: of the GPU, or of this process."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()


def private_bytes(pid: int) -> int:
    """Memory of a forked process that it does not share with others; 0 where the system does not tell."""
    place = Path(f"/proc/{pid}/smaps_rollup")
    return sum(_kilobytes(place, name) or 0 for name in ("Private_Clean", "Private_Dirty"))


def _group_limits(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, used without what the system can drop) of every control group around this process that has a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            base = root / "sys/fs/cgroup/memory"
        else:
            continue
        own = base / path.lstrip("/")
        for folder in (own, *own.parents):  # in a container the path may be that of the host: its own is the base
            try:
                limit, used = (int((folder / name).read_text()) for name in names[:2])  # "max" is no number
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield limit, used - int(stat.get(names[2], 0))
            except (OSError, ValueError):
                pass
            if folder == base:
                break


def _resident(root: Path) -> int:
    return _kilobytes(root / "proc/self/status", "VmRSS") or peak_memory()


def _kilobytes(path: Path, name: str) -> int | None:
    """A line like "VmRSS: 12 kB" in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":")), None)
