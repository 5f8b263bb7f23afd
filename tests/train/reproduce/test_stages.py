"""Stages of a folder: done, begun, made otherwise, following others."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.reproduce.recipe import Stage
from train.reproduce.stages import Stages

FIRST = Stage("first", "make", {}, (), ("made/one",), ("made/*",))
SECOND = Stage("second", "use", {}, ("made/one",), ("used/one",), ("used/*",), "made")
SETTINGS = {"first": {"iterations": 5, "data": ("a", "b")}, "second": {}}


def opened(out: Path, **first) -> Stages:
    return Stages(out, (FIRST, SECOND), {**SETTINGS, "first": {**SETTINGS["first"], **first}})


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return opened(tmp_path)


def make(stages: Stages, name: str, content: str = "content") -> None:
    stages.begin(name, "the command")
    for path in stages.rows[name].writes:
        (stages.out / path).parent.mkdir(exist_ok=True)
        (stages.out / path).write_text(content)
    stages.finish(name)


def test_a_stage_is_done_when_it_ended_and_its_files_are_there(stages):
    assert not stages.done("first") and not stages.differs("first")
    stages.begin("first", "the command")
    assert not stages.done("first")
    with pytest.raises(ValueError, match=r"first ended without made/one: see .*first\.txt"):
        stages.finish("first")
    make(stages, "first")
    assert stages.done("first") and not stages.differs("first")
    (stages.out / "made/one").unlink()
    assert not stages.done("first") and not stages.differs("first"), "it is made again"


def test_other_settings_are_named(stages, tmp_path):
    make(stages, "first")
    assert not opened(tmp_path).differs("first")
    assert opened(tmp_path, iterations=7).differs("first") == "it has iterations 5, not 7"
    assert "data a, b, not a" in opened(tmp_path, data=("a",)).differs("first")
    assert "lr none, not 0.1" in opened(tmp_path, lr=0.1).differs("first")
    with pytest.raises(ValueError, match="iterations 5, not 7. Pass --overwrite"):
        opened(tmp_path, iterations=7).refuse("first")
    (stages.folder / "first.json").unlink()
    assert "of unknown settings" in stages.differs("first")
    (stages.folder / "first.json").write_text("{")
    with pytest.raises(ValueError, match="first.json is damaged: remove it"):
        stages.differs("first")


def test_a_stage_follows_the_very_result_that_it_used(stages):
    make(stages, "first")
    make(stages, "second")
    assert stages.done("second") and not stages.differs("second")
    stages.begin("first", "again")
    assert not stages.differs("second") and not stages.done("first"), "nothing else was made yet"
    make(stages, "first")
    assert not stages.differs("second"), "made again, to the same bytes"
    make(stages, "first", "something else")
    assert stages.differs("second") == "it follows another first"


def test_what_was_made_otherwise_is_removed_and_what_was_stopped_stays(stages, tmp_path):
    make(stages, "first")
    (tmp_path / "made/labels").mkdir()
    (tmp_path / "made/labels/1.png").write_bytes(b"")
    stages.begin("first", "goes on")
    assert (tmp_path / "made/labels/1.png").exists()
    opened(tmp_path, iterations=7).begin("first", "anew")
    assert not list((tmp_path / "made").iterdir())


def test_what_is_changed_in_place_is_copied_anew_each_time(stages):
    make(stages, "first")
    stages.begin("second", "")
    (stages.out / "used/one").write_text("half changed")
    stages.begin("second", "")
    assert (stages.out / "used/one").read_text() == "content"
