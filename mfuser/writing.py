"""Files out: folders that can be written to, and files that appear whole or not at all."""

from __future__ import annotations

import io
import json
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np


def output_folder(path: str | Path) -> Path:
    """Make a folder for results, with its parents.

    Args:
        path: of the folder. It may exist.

    Raises:
        ValueError: a file is in its place, or it cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{str(path)!r} cannot be a folder: a file is in its place; choose another --out.") from error
    except OSError as error:
        raise ValueError(f"Cannot make the folder {str(path)!r} ({error.strerror}); choose another --out.") from error
    return path


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it, so that it appears whole or not at all.

    Args:
        path: of the file.
        data: its content.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write indented JSON as `write_bytes` does.

    Args:
        path: of the file.
        data: anything that `json.dumps` takes.
    """
    write_bytes(path, (json.dumps(data, indent=2) + "\n").encode())


def write_npy(path: Path, array: np.ndarray) -> None:
    """Write one array as .npy.

    Args:
        path: of the file.
        array: of any shape and a dtype without objects.
    """
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as .npz.

    Args:
        path: of the file.
        arrays: by their names.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with a line break at its end.

    Args:
        path: of the file.
        text: its content.
    """
    write_bytes(path, (text + "\n").encode())
