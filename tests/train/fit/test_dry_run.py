"""`fit --dry-run`: what a run needs and what is there, said before anything is trained or written."""

from __future__ import annotations

import shutil
import signal
from types import SimpleNamespace

import pytest

from tests.train.fit.tiny import settings
from train.__main__ import main
from train.data import open_dataset
from train.fit import checks, dry_run
from train.fit.command import fit
from train.fit.config import FitConfig
from train.fit.dry_run import duration, evaluations
from train.fit.loop import StreamTrainer
from train.runtime.free_memory import Memory
from train.runtime.interrupt import Interrupt


def command(streets, out, *more: str) -> list[str]:
    words = ["fit", "--preset", "tiny", "--data", f"camvid:{streets}", "--encoders", str(out.parent / "run")]
    words += ["--out", str(out), "--device", "cpu", "--crop", "64", "--points", "64", "--workers", "0"]
    return [*words, "--iterations", "2", "--warmup", "1", "--streams", "vlm", *more]


def test_a_rehearsal_says_what_a_run_needs_and_writes_nothing(streets, tiny_run, tmp_path, capsys):
    out = tmp_path / "below" / "out"
    assert fit(settings(out, streets, encoders=tiny_run, workers=1, dry_run=True), Interrupt())
    said = capsys.readouterr().out
    assert not out.parent.exists()
    for words in (
        f"disk: {out} can be written, ",
        "6 images, every file readable",
        "input (2, 3, 64, 64)",
        "parameters trained",
        " GB available (",
        "3 steps of 1 streams: about ",
        " of it for evaluations",
    ):
        assert words in said
    whole = (streets / "train" / "images" / "2.png").read_bytes()
    (streets / "train" / "images" / "2.png").write_bytes(whole[:-200])
    with pytest.raises(ValueError, match=r"2\.png"):
        fit(settings(out, streets, encoders=tiny_run, dry_run=True, cache=0), Interrupt())


def steps_taken(monkeypatch) -> list[int]:
    """Images of each step from here on."""
    taken, plain = [], StreamTrainer.step
    monkeypatch.setattr(
        StreamTrainer, "step", lambda self, batch, rate: taken.append(len(batch.pixels)) or plain(self, batch, rate)
    )
    return taken


def test_a_step_that_will_not_fit_is_refused_before_it_is_tried(streets, tiny_run, tmp_path, monkeypatch, capsys):
    """Each image takes 1 GB on top of 1 GB, and 6.5 GB are there: 12 images come in parts of 4."""
    taken = steps_taken(monkeypatch)
    monkeypatch.setattr(dry_run, "peak_of", lambda device: (1 + (taken or [0])[-1]) * 10**9)
    monkeypatch.setattr(dry_run, "memory_of", lambda device: Memory(6_500_000_000, "free RAM"))
    assert main(command(streets, tmp_path / "out", "--batch", "12", "--dry-run")) == 2
    err = capsys.readouterr().err
    assert err == (
        "fit: A step of 'vlm' with 12 images at once needs 13.00 GB of memory, and 6.50 GB are available (free RAM): "
        "pass --accumulate 3, or lower --batch or --crop.\n"
    )
    assert taken == [1, 1, 2] and not (tmp_path / "out").exists()
    monkeypatch.setattr(dry_run, "memory_of", lambda device: Memory(10**9, "free RAM"))
    with pytest.raises(ValueError, match=r"\(free RAM\): lower --batch or --crop\."):  # not even one image fits
        fit(settings(tmp_path / "out", streets, batch=12, dry_run=True), Interrupt())


def test_what_was_measured_is_compared_too(streets, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "memory_of", lambda device: Memory(10**6, "limit of the control group"))
    with pytest.raises(ValueError, match=r"The run needs .* and 0\.00 GB are available \(limit of the control group\)"):
        fit(settings(tmp_path / "out", streets, dry_run=True), Interrupt())


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_start_that_must_fail_is_refused_alike_in_earnest_and_in_rehearsal(
    streets, tiny_run, tmp_path, monkeypatch, capsys, dry_run
):
    taken, more = steps_taken(monkeypatch), ("--dry-run",) if dry_run else ()
    (tmp_path / "file").write_text("")
    assert main([*command(streets, tmp_path / "file"), "--encoders", str(tiny_run), *more]) == 2
    err = capsys.readouterr().err
    assert str(tmp_path / "file") in err and "--out" in err
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**5))
        assert main(command(streets, tmp_path / "full", *more)) == 2
    assert "has 0.00 GB left, and the checkpoints need 0.0" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(checks, "host_memory", lambda: Memory(10**5, "free RAM"))
        assert main(command(streets, tmp_path / "small", *more)) == 2
    assert "Preset 'tiny' by itself needs 0.0" in capsys.readouterr().err
    (tmp_path / "run" / "stream-vlm.safetensors").write_bytes(b"another run")
    assert main(command(streets, tmp_path / "run", *more)) == 2
    assert "exists already: pass --resume" in capsys.readouterr().err
    assert main([*command(streets, tmp_path / "out"), "--data", f"camvid:{tmp_path}", *more]) == 2
    assert "No photographs in" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert not taken


def test_ctrl_c_ends_a_rehearsal_at_once(streets, tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(StreamTrainer, "step", lambda *a: signal.raise_signal(signal.SIGINT))
    assert main(command(streets, tmp_path / "out", "--dry-run")) == 130
    assert capsys.readouterr().err == "fit: stopped.\n" and not (tmp_path / "out").exists()


def test_what_is_replaced_counts_as_room(streets, tiny_run, tmp_path, monkeypatch):
    needed, plain = [], checks.require_space
    monkeypatch.setattr(checks, "require_space", lambda folder, n: needed.append(n) or plain(folder, n))
    for number in range(2):
        assert fit(settings(tmp_path / "out", streets, iterations=1, warmup=0, overwrite=bool(number)), Interrupt())
        copied = sum(f.stat().st_size for f in (tmp_path / "run").glob("encoder-*"))
    written = (tmp_path / "out" / "stream-fused.safetensors").stat().st_size
    assert needed[0] - needed[1] == copied + written > 0


def test_the_first_images_of_a_set_are_a_set(streets):
    for cache in (0, 2**30):
        whole = open_dataset(f"camvid:{streets}", "train", cache_bytes=cache)
        part = whole.first(2)
        assert (len(part), len(whole), len(part.counts)) == (2, 6, 2)
        assert all((part[1][k] == whole[1][k]).all() for k in range(2))
        assert len(whole.first(99)) == 6


def test_evaluations_are_counted_and_time_is_said_in_words():
    counts = [evaluations(FitConfig(iterations=10, warmup=0, eval_every=n)) for n in (0, 5, 4, 20)]
    assert counts == [1, 2, 3, 1]
    assert [duration(s) for s in (7, 130, 7300)] == ["7 s", "2 min", "2 h 02 min"]
