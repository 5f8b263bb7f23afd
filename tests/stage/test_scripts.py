"""The page's scripts, tested by node's own runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "js"


def test_scripts():
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node to run the tests of the page's scripts")
    done = subprocess.run([node, "--test", str(FOLDER)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout and "# pass 0" not in done.stdout
