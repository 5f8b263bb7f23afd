"""What a run leaves on disk, and what is said before when there is no place for it."""

from __future__ import annotations

import hashlib
import os
import shutil
from types import SimpleNamespace

import pytest

from tests.train.fit.tiny import settings
from train.fit import run_files
from train.fit.command import fit
from train.fit.config import FORMER
from train.fit.run_files import RunFiles, checkpoint_bytes, require_same
from train.runtime.files import digest, require_space, require_writable
from train.runtime.interrupt import Interrupt


def test_a_log_line_cut_short_does_not_prevent_resuming(tmp_path):
    files = RunFiles(tmp_path, "fused")
    files.write_log({"step": 2})
    with files.log.open("a") as file:
        file.write('{"step": 4, "lo')
    files.trim_log(2)
    assert files.log.read_text() == '{"step": 2}\n'


def test_a_run_of_before_is_the_same_where_its_options_that_went_had_the_value_that_is_left(tmp_path):
    require_same({"lr": 1e-4, **FORMER}, {"lr": 1e-4}, tmp_path)
    with pytest.raises(ValueError, match="flip = 0.0"):
        require_same({"lr": 1e-4, **FORMER, "flip": 0.0}, {"lr": 1e-4}, tmp_path)


def test_the_digest_is_that_of_the_whole_file(tmp_path):
    content = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()[:16]


def test_full_and_unwritable_places_are_said_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9))
    with pytest.raises(OSError, match="has 1.00 GB left, and the checkpoints need 2.00 GB"):
        require_space(tmp_path / "not" / "yet", 2 * 10**9)
    assert require_space(tmp_path, 10**9) == 10**9
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="choose another --out"):
        require_writable(tmp_path / "file" / "run")


def test_a_place_can_be_tried_without_leaving_anything(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    for place in (tmp_path / "a" / "b", tmp_path / "there"):
        require_writable(place, keep=False)
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
    for place in (tmp_path / "new" / ".." / "q", tmp_path / "new" / ".." / "there"):
        require_writable(place, keep=False)
        assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "write_bytes", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(OSError, match="Cannot write to .*No space left.*choose another --out"):
            require_writable(tmp_path / "a" / "b", keep=False)
    assert not (tmp_path / "a").exists()
    require_writable(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(("ema", "half"), [(0.9, False), (0.0, True)])
def test_checkpoints_never_take_more_than_was_asked_for(streets, tiny_run, tmp_path, monkeypatch, ema, half):
    """Measured at the moments when a file lies beside the one that it replaces; and they take most of it."""
    out, largest, numbers, replace = tmp_path / "out", [0], {}, os.replace

    def measured(beside, path):
        checkpoints = [*out.glob("stream-*.safetensors*"), *out.glob("stream-*.state.pt*")]
        largest[0] = max(largest[0], sum(file.stat().st_size for file in checkpoints))
        replace(beside, path)

    plain = run_files.checkpoint_bytes
    monkeypatch.setattr(os, "replace", measured)
    monkeypatch.setattr("train.fit.checks.checkpoint_bytes", lambda n, *more: numbers.update(n=n) or plain(n, *more))
    changes = {"streams": ("vlm", "fused"), "save_every": 1, "eval_limit": 1, "ema": ema, "half": half}
    config = settings(out, streets, val=(f"camvid:{streets}",), **changes)
    assert fit(config, Interrupt())
    asked = checkpoint_bytes(numbers["n"], ema > 0, half)
    names_and_headers = 200_000  # of some hundred tensors; the tiny model's numbers are no larger than that
    assert 0.6 * asked < largest[0] < asked + names_and_headers, (largest, asked)
