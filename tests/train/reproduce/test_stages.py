"""Stages: done, begun, made otherwise, following others, as command lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from train.reproduce.stages import Ledger, Stage
from train.runtime.subprocesses import options

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
