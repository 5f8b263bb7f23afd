"""Stages: done, begun, made otherwise, following others; and the processes that they run in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from train import children
from train.children import ending_all, last_words, options, run_child, side_by_side
from train.stages import Ledger, Stage

FIRST = Stage("first", "make", {"iterations": 5, "data": ["a", "b"]}, {"data": ["/x/a", "/x/b"]}, ("made/one",))
SECOND = Stage("second", "use", {}, {}, ("used/one",), ("used/state",), ("first",), ("made", "used"))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def make(ledger: Ledger, stage: Stage, content: str = "content") -> None:
    ledger.begin(stage, "the command")
    for path in stage.makes:
        (ledger.out / path).parent.mkdir(exist_ok=True)
        (ledger.out / path).write_text(content)
    ledger.finish(stage)


def test_a_stage_is_done_when_it_ended_and_its_files_are_there(ledger):
    assert not ledger.done(FIRST) and not ledger.differs(FIRST)
    ledger.begin(FIRST, "the command")
    assert not ledger.done(FIRST)
    with pytest.raises(ValueError, match="stage first ended without made/one: see"):
        ledger.finish(FIRST)
    make(ledger, FIRST)
    assert ledger.done(FIRST) and not ledger.differs(FIRST)
    (ledger.out / "made/one").unlink()
    assert not ledger.done(FIRST) and not ledger.differs(FIRST), "it is made again"


def test_other_settings_are_named(ledger):
    make(ledger, FIRST)
    other = replace(FIRST, settings={**FIRST.settings, "iterations": 7})
    assert ledger.differs(other) == "it has iterations 5, not 7"
    assert "data a, b, not a" in ledger.differs(replace(FIRST, settings={"iterations": 5, "data": ["a"]}))
    assert "lr none, not 0.1" in ledger.differs(replace(FIRST, settings={**FIRST.settings, "lr": 0.1}))
    assert not ledger.differs(replace(FIRST, places={"data": ["/y/a", "/y/b"]})), "data may be moved"
    (ledger.folder / "first.json").unlink()
    assert ledger.differs(FIRST) == "made/one is there, of unknown settings"
    (ledger.folder / "first.json").write_text("{")
    with pytest.raises(ValueError, match="first.json is damaged: remove it"):
        ledger.differs(FIRST)


def test_a_stage_follows_the_very_result_that_it_used(ledger):
    make(ledger, FIRST)
    make(ledger, SECOND)
    assert ledger.done(SECOND) and not ledger.differs(SECOND)
    ledger.begin(FIRST, "again")
    assert not ledger.differs(SECOND) and not ledger.done(FIRST), "nothing else was made yet"
    make(ledger, FIRST)
    assert not ledger.differs(SECOND), "made again, to the same bytes"
    make(ledger, FIRST, "something else")
    assert ledger.differs(SECOND) == "it follows another first"
    ledger.clear(SECOND)
    assert not (ledger.out / "used/one").exists() and not ledger.differs(SECOND)


def test_whole_folders_that_a_stage_leaves_are_removed_with_it(ledger):
    stage = replace(FIRST, leaves=("made/labels", "made/none"))
    make(ledger, stage)
    (ledger.out / "made/labels").mkdir()
    (ledger.out / "made/labels/1.png").write_bytes(b"")
    ledger.clear(stage)
    assert not list((ledger.out / "made").iterdir())


def test_what_is_changed_in_place_is_copied_anew_each_time(ledger):
    make(ledger, FIRST)
    ledger.begin(SECOND, "")
    (ledger.out / "used/one").write_text("half changed")
    ledger.begin(SECOND, "")
    assert (ledger.out / "used/one").read_text() == "content" and list((ledger.out / "used").iterdir()) == [
        ledger.out / "used/one"
    ]


def test_time_adds_up_over_attempts(ledger):
    for _ in range(2):
        ledger.begin(FIRST, "")
        ledger.spent(FIRST, 1.5)
    assert ledger.read("first")["seconds"] == 3.0


def test_settings_become_options():
    stage = replace(FIRST, settings={**FIRST.settings, "mix": [1, 2], "resume": True, "half": False})
    expected = "make --iterations 5 --data /x/a --data /x/b --mix 1 2 --resume --no-half"
    assert " ".join(stage.arguments()) == expected
    assert list(options("eval_every", 3)) == ["--eval-every", "3"]


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
        "import sys; from pathlib import Path; from train.children import ending_all, run_child\n"
        "with ending_all():\n"
        "    run_child('x', [sys.executable, '-c', sys.argv[2], sys.argv[1]], Path(sys.argv[1], 'log'))"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        folder = tmp_path / str(int(number))
        folder.mkdir()
        root = Path(__file__).resolve().parents[2]
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
        while not children._running:
            time.sleep(0.01)
        threading.Timer(0.3, leave.set).start()
        raise OSError("gone")
    assert time.monotonic() - started < 30
    for future, name in ((first, "early"), (second, "late")):
        with pytest.raises(ValueError, match=f"{name} ended with code -15"):
            future.result()
    run_child("later", [sys.executable, "-c", ""], tmp_path / "later.txt")
