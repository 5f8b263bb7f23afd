"""Runs of `fit` in processes: their command lines, and which of them are finished."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from train.ablate import launch
from train.ablate.launch import finished, to_arguments, train_all
from train.fit.command import fit, parse_arguments
from train.fit.config import FitConfig, defaults
from train.runtime.interrupt import Interrupt

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "tiny_command.py"))


@pytest.fixture
def run(streets, tiny_run, tmp_path) -> FitConfig:
    small = {"iterations": 2, "batch": 2, "crop": 64, "points": 64, "warmup": 0, "device": "cpu", "workers": 0}
    own = {"data": (f"camvid:{streets}",), "streams": ("vlm",), "encoders": tiny_run, "out": tmp_path / "vlm"}
    return replace(defaults("tiny"), **small, **own, resume=True)


def test_a_command_line_makes_the_same_run():
    own = {"data": ("camvid:a", "camvid:b"), "streams": ("vfm",), "lr": 1e-3, "half": False, "scale": (0.6, 1.5)}
    run = replace(defaults("nano"), **own, points=9)
    assert parse_arguments(list(to_arguments(run))) == run


@pytest.mark.parametrize("holdout, name", [(0, "camvid:streets/val"), (3, "camvid:streets/train, held out")])
def test_a_finished_run_has_the_settings_and_the_scores_asked_for(run, streets, holdout, name):
    run = replace(run, holdout=holdout)
    assert not finished(run)
    assert fit(run, Interrupt())
    images = 2 if holdout else 3
    assert finished(run) and finished(replace(run, eval_limit=images)), "the same ones"
    with pytest.raises(ValueError, match="trained with lr"):
        finished(replace(run, lr=0.5))
    with pytest.raises(ValueError, match=f"evaluated on {images} images of {name}, not on 1 images of {name}: use the"):
        finished(replace(run, eval_limit=1))
    if not holdout:
        with pytest.raises(ValueError, match=f"evaluated on 3 images of {name}, not on 3 images of folder:val"):
            finished(replace(run, val=(f"{streets}/val",)))


def test_what_is_finished_is_not_trained_again(run, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(launch, "train_one", lambda run, *_: trained.append(run.out.name))
    monkeypatch.setattr(launch, "finished", lambda run: run.out.name == "a")
    runs = [replace(run, out=tmp_path / name) for name in "abc"]
    train_all(runs, parallel=1)
    assert trained == ["b", "c"]
    train_all([replace(run, resume=False, overwrite=True) for run in runs], parallel=1)
    assert trained == ["b", "c", "a", "b", "c"]


def test_a_run_that_fails_is_named_and_its_output_kept(run, monkeypatch):
    monkeypatch.setattr(launch, "LAUNCH", (*COMMAND[:1], "-c", "print('no memory'); raise SystemExit(2)"))
    with pytest.raises(ValueError, match="row 'vlm' ended with code 2: no memory"):
        train_all([run], parallel=2)
    assert (run.out / "run.txt").read_text() == "no memory\n"
