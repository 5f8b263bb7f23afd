"""Commands in processes of their own: heard, ended with us, never a late one left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from train.runtime import subprocesses
from train.runtime.subprocesses import ending_all, last_words, run_child, side_by_side


def test_a_child_is_heard_on_the_screen_and_in_its_log(tmp_path, capsys):
    code = "import sys; print('one'); print('two\\r 50 %\\rthree', file=sys.stderr)"
    run_child("The stage x", [sys.executable, "-c", code], tmp_path / "log.txt", show=True)
    assert "one" in capsys.readouterr().out and last_words(tmp_path / "log.txt") == "three"
    with pytest.raises(ValueError, match=r"^The stage x ended with code 3: no memory$"):
        code = "import sys; print('no memory\\n'); sys.exit(3)"
        run_child("The stage x", [sys.executable, "-c", code], tmp_path / "log.txt")
    with pytest.raises(ValueError, match="ended with code 1: it said nothing"):
        run_child("The stage x", [sys.executable, "-c", "raise SystemExit(1)"], tmp_path / "log.txt")


def test_a_child_may_save_when_its_parent_is_asked_to_end(tmp_path):
    child = (
        "import signal, sys, time; from pathlib import Path\n"
        "def save(*_):\n    Path(sys.argv[1], 'saved').touch(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save); Path(sys.argv[1], 'running').touch(); time.sleep(60)"
    )
    parent = (
        "import sys; from pathlib import Path; from train.runtime.subprocesses import ending_all, run_child\n"
        "with ending_all():\n"
        "    run_child('x', [sys.executable, '-c', sys.argv[2], sys.argv[1]], Path(sys.argv[1], 'log'))"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        folder = tmp_path / str(int(number))
        folder.mkdir()
        root = Path(__file__).resolve().parents[3]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        process = subprocess.Popen([sys.executable, "-c", parent, str(folder), child], env=environment, stderr=-3)
        until = time.monotonic() + 30
        while not (folder / "running").exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(30) != 0 and (folder / "saved").exists()


def test_signals_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with ending_all():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_child_that_starts_while_all_are_ended_ends_too(tmp_path):
    """And one that starts later does not."""
    waits = [sys.executable, "-c", "import time; time.sleep(60)"]
    leave, started = threading.Event(), time.monotonic()

    def late() -> None:
        leave.wait(10)
        run_child("late", waits, tmp_path / "late.txt")

    with pytest.raises(OSError, match="gone"), side_by_side(2) as pool:
        first, second = pool.submit(run_child, "early", waits, tmp_path / "early.txt"), pool.submit(late)
        while not subprocesses._running:
            time.sleep(0.01)
        threading.Timer(0.3, leave.set).start()
        raise OSError("gone")
    assert time.monotonic() - started < 30
    for future, name in ((first, "early"), (second, "late")):
        with pytest.raises(ValueError, match=f"{name} ended with code -15"):
            future.result()
    run_child("later", [sys.executable, "-c", ""], tmp_path / "later.txt")
