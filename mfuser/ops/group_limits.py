"""Memory limits of control groups (a container, a job), which psutil does not see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def group_limits(root: Path = Path("/")) -> Iterator[int]:
    """Limits of the control groups around this process, in bytes.

    Args:
        root: where /proc and /sys lie.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for _, kinds, path in (line.split(":", 2) for line in lines):
        if kinds and "memory" not in kinds.split(","):
            continue
        base = root / "sys/fs/cgroup" / ("memory" if kinds else "")  # version 1 or 2
        own = base / path.lstrip("/")
        for folder in (own, *own.parents):  # in a container the path may be that of the host: its own is the base
            try:
                yield int((folder / ("memory.limit_in_bytes" if kinds else "memory.max")).read_text())
            except (OSError, ValueError):  # "max" is no number
                pass
            if folder == base:
                break
