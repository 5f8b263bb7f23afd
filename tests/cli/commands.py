"""How tests call the command line and read what it writes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mfuser.cli import main


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def run(*arguments: str) -> int:
    """Exit code, whether returned or raised by the argument parser."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def refusal(capsys, *arguments: str) -> str:
    """The one sentence on stderr of a command that exits with 2."""
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) == 1, captured.err
    return captured.err
