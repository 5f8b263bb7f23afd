"""Files of training: copied whole, compared by their content, in folders that can be written to and have room."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path
from typing import Any


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file beside its place and rename it; several processes may do so at the same time."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        shutil.copyfile(source, beside)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """SHA-256 of a file's content, its first 16 hex digits."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            total.update(block)
    return total.hexdigest()[:16]


def in_words(value: Any) -> str:
    """A setting as messages write it: "none", "a, b" for a list."""
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def require_writable(folder: Path, keep: bool = True) -> None:
    """Prove that files can be written to a folder.

    Args:
        folder: need not exist yet.
        keep: whether the folder is made; else the nearest folder around it that exists is tried.

    Raises:
        OSError: they cannot; the message says what to do.
    """
    try:
        if keep:
            folder.mkdir(parents=True, exist_ok=True)
        probe = _existing(folder) / f".write-test-{os.getpid()}"
        try:
            probe.write_bytes(bytes(65536))  # a full disk takes an empty file
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f"Cannot write to {folder} ({error.strerror}): choose another --out.") from error


def require_space(folder: Path, bytes_needed: int) -> int:
    """Compare the free space of a disk with what checkpoints need.

    Args:
        folder: on that disk; need not exist yet.
        bytes_needed: by the checkpoints.

    Returns:
        Free bytes.

    Raises:
        OSError: they are fewer than needed.
    """
    free = shutil.disk_usage(_existing(folder)).free
    if free < bytes_needed:
        raise OSError(
            f"The disk of {folder} has {free / 1e9:.2f} GB left, and the checkpoints need {bytes_needed / 1e9:.2f} GB: "
            "make room or choose another --out."
        )
    return free


def _existing(folder: Path) -> Path:
    """The nearest place that exists, of a folder and those around it; "new/../run" does not need "new"."""
    folder = folder.resolve()
    return next(place for place in (folder, *folder.parents) if place.exists())
