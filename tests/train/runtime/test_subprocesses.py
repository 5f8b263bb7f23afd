"""Commands in processes of their own: their logs, their order, their GPUs, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from train.runtime.subprocesses import Subprocesses, last_line, options

ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import signal, sys, time
from pathlib import Path
def save(*_):
    Path(sys.argv[1], "asked").touch(); time.sleep(1); Path(sys.argv[1], "saved").touch(); sys.exit(143)
signal.signal(signal.SIGTERM, save)
Path(sys.argv[1], "running").touch()
time.sleep(60)
"""
PARENT = """
import sys
from pathlib import Path
from train.runtime.subprocesses import Subprocesses
with Subprocesses(2) as processes:
    command, log = [sys.executable, "-c", sys.argv[2], sys.argv[1]], Path(sys.argv[1], "log")
    processes.submit(processes.run, "x", command, log).result()
"""


def appears(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.02)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_what_a_command_prints_is_shown_and_kept(tmp_path, capsys):
    log = tmp_path / "log.txt"
    with Subprocesses(1) as processes:
        processes.run("x", python("import sys; print('one'); print('two\\r 50 %\\rthree', file=sys.stderr)"), log)
    assert "one" in capsys.readouterr().out and last_line(log) == "three"
    with Subprocesses(2) as processes:
        processes.run("x", python("print('one')"), log)
        assert not capsys.readouterr().out and log.read_text() == "one\n"
        with pytest.raises(ValueError, match=r"^The stage x ended with code 3: no memory$"):
            processes.run("The stage x", python("import sys; print('no memory\\n'); sys.exit(3)"), log)
        with pytest.raises(ValueError, match="ended with code 1: it printed nothing"):
            processes.run("The stage x", python("raise SystemExit(1)"), log)


@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGINT"], ["SIGINT", "SIGTERM", "SIGHUP"], ["SIGTERM", "SIGTERM"]])
def test_a_process_may_save_when_its_parent_is_asked_to_end(tmp_path, signals):
    """However often it is asked: Ctrl-C in a job that is then ended, say."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*python(PARENT), str(tmp_path), CHILD]
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    appears(tmp_path / "running")
    for name in signals:
        parent.send_signal(getattr(signal, name))
        appears(tmp_path / "asked")
    assert parent.wait(30) != 0 and (tmp_path / "saved").exists()


def test_signals_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with Subprocesses():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_process_that_starts_while_all_are_ended_ends_too(tmp_path):
    leave, started, futures = threading.Event(), time.monotonic(), []
    waits = python("import time; time.sleep(60)")

    def late(processes: Subprocesses) -> None:
        leave.wait(10)
        processes.run("late", waits, tmp_path / "late.txt")

    with pytest.raises(OSError, match="gone"), Subprocesses(2) as processes:
        futures += [processes.submit(processes.run, "early", waits, tmp_path / "early.txt")]
        futures += [processes.submit(late, processes)]
        appears(tmp_path / "early.txt")
        threading.Timer(0.3, leave.set).start()
        raise OSError("gone")
    assert time.monotonic() - started < 30
    for future, name in zip(futures, ("early", "late"), strict=True):
        with pytest.raises(ValueError, match=f"{name} ended with code -15"):
            future.result()


FOLLOWS = {"a": [], "b": [], **{f"fit-{i}": ["a", "b"] for i in range(3)}, "c": ["fit-0", "fit-2", "elsewhere"]}


@pytest.mark.parametrize(("parallel", "most"), [(1, 1), (2, 2), (9, 3)])
def test_work_begins_when_all_that_it_follows_is_done(parallel, most):
    """Three fits of two encoders, then what reads them all; never more at the same time than asked for."""
    done, running, peak, lock = [], set(), [0], threading.Lock()

    def work(name: str) -> None:
        with lock:
            assert set(FOLLOWS[name]) - {"elsewhere"} <= set(done), name
            running.add(name)
            peak[0] = max(peak[0], len(running))
        time.sleep(0.1)
        with lock:
            running.discard(name)
            done.append(name)

    with Subprocesses(parallel) as processes:
        processes.in_order(FOLLOWS, work)
    assert sorted(done) == sorted(FOLLOWS) and peak[0] == most


def test_one_that_fails_ends_those_beside_it(tmp_path):
    began, codes = time.monotonic(), {"long": "import time; time.sleep(60)", "bad": "raise SystemExit('no disk')"}
    started = []
    with pytest.raises(ValueError, match="bad ended with code 1: no disk"), Subprocesses(2) as processes:

        def work(name: str) -> None:
            started.append(name)
            processes.run(name, python(codes[name]), tmp_path / f"{name}.txt")

        processes.in_order({"long": [], "bad": [], "after": ["long"]}, work)
    assert time.monotonic() - began < 30 and sorted(started) == ["bad", "long"]


@pytest.mark.parametrize("named, gpus", [("", ["0", "1", "2"]), ("4,6,7", ["4", "6", "7"])])
def test_commands_are_spread_over_the_gpus(named, gpus, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    script = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1)"  # all six run at once
    logs = [tmp_path / str(i) for i in range(6)]
    with Subprocesses(6, gpus=True) as processes:
        list(processes.map(lambda log: processes.run("x", python(script), log), logs))
    assert sorted(log.read_text().strip() for log in logs) == sorted(2 * gpus)


def test_settings_become_options():
    given = {"data": ("/a", "/b"), "mix": [1, 2], "resume": True, "half": False, "eval_every": 3}
    expected = "--data /a --data /b --mix 1 2 --resume --no-half --eval-every 3"
    assert " ".join(word for option in given.items() for word in options(*option)) == expected
