"""Files of training: copied whole, told apart by their content, on a disk that has room for them."""

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
    """Hash of a file's content (SHA-256), its first 16 hex digits."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            total.update(block)
    return total.hexdigest()[:16]


def in_words(value: Any) -> str:
    """A setting as it is told."""
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def require_writable(folder: Path, keep: bool = True) -> None:
    """Make a folder and prove that files can be written there.

    keep: False leaves no folder that was not there. Raises OSError saying what to do.
    """
    missing: list[Path] = []
    try:
        tried = folder if keep else folder.resolve()  # else "new/../run" would leave "new"
        missing += [place for place in (tried.absolute(), *tried.absolute().parents) if not place.exists()]
        try:
            tried.mkdir(parents=True, exist_ok=True)
            probe = tried / f".write-test-{os.getpid()}"
            try:
                probe.write_bytes(bytes(65536))  # a full disk takes an empty file
            finally:
                probe.unlink(missing_ok=True)
        finally:
            for place in () if keep else missing:
                if place.exists():
                    place.rmdir()
    except OSError as error:
        raise OSError(f"Cannot write to {folder} ({error.strerror}): choose another --out.") from error


def require_space(folder: Path, bytes_needed: int) -> int:
    """Free bytes on the disk of a folder, which need not exist yet. Raises OSError when they are fewer than needed."""
    there = next(f for f in (folder.absolute(), *folder.absolute().parents) if f.exists())
    free = shutil.disk_usage(there).free
    if free < bytes_needed:
        raise OSError(
            f"The disk of {folder} has {free / 1e9:.2f} GB left, and the checkpoints need {bytes_needed / 1e9:.2f} GB: "
            "make room or choose another --out."
        )
    return free
