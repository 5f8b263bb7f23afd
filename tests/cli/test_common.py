"""What the commands share, and `info`: help, exit codes, files in and out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import mfuser
from mfuser import presets, weather
from mfuser.cli import main
from mfuser.cli.common import find_images, output_names
from tests.cli.commands import refusal, run

ROOT = Path(mfuser.__file__).resolve().parent.parent


def test_info_tells_versions_devices_and_presets(folder, weights, capsys):
    assert run("info") == 0
    text = capsys.readouterr().out
    assert "torch 2" in text and "device cpu" in text and "scan kernel" in text
    assert "preset tiny (tiny (tests)): runs here" in text
    nano = next(row for row in presets.available() if row["name"] == "nano")
    assert ("preset nano (nano (built in)): runs here" in text) == nano["runnable"]
    assert run("info", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    tiny = next(row for row in facts["presets"] if row["name"] == "tiny")
    assert tiny["weights"] == {p.name: p.stat().st_size for p in weights.iterdir()}


def test_info_names_the_scan_that_runs_where_numba_refuses(folder, monkeypatch, capsys):
    from mfuser.fusion.scan_kernels import compiled

    monkeypatch.setattr(compiled, "ready", lambda: False)
    assert run("info", "--json") == 0
    assert json.loads(capsys.readouterr().out)["devices"][0]["scan_kernel"] == "chunked"


def test_info_says_what_would_make_a_preset_run(folder, tiny_preset, monkeypatch, capsys):
    monkeypatch.setitem(presets.PRESETS, "tiny", replace(tiny_preset, weights=folder / "none"))
    assert run("info") == 0
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("preset tiny")]
    assert "does not run" in line and "encoder-vfm.safetensors" in line
    assert "git checkout -- assets/none" in text


def shell(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "mfuser", *arguments], capture_output=True, text=True, cwd=cwd)


def test_runs_as_a_module_with_help_for_every_command():
    done = shell("--help")
    assert done.returncode == 0 and done.stderr == "" and "examples:" in done.stdout
    for command in ("segment", "features", "weather", "info"):
        assert command in done.stdout
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0


def test_mistakes_as_a_module_exit_with_2_and_no_traceback():
    for arguments in ([], ["paint"], ["weather", "absent.png", "--out", "x.png"]):
        done = shell(*arguments)
        assert done.returncode == 2 and done.stdout == "" and len(done.stderr.strip().splitlines()) == 1


def test_interrupting_is_one_sentence(folder, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(weather, "apply", interrupted)
    assert run("weather", "street.png", "--out", "x.png") == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(folder, capsys, monkeypatch):
    (folder / "x.png").write_text("old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left on device" in refusal(capsys, "weather", "street.png", "--out", "x.png")
    assert (folder / "x.png").read_text() == "old"


def test_find_images_keeps_order_and_takes_odd_names(folder, capsys):
    (folder / "a[1].png").write_bytes(b"x")
    (folder / "inside").mkdir()
    for name in ("10.PNG", "2.jpg", "3.jfif", "4.HEIC", "notes.txt", "._2.jpg"):
        (folder / "inside" / name).write_bytes(b"x")
    found = [str(p) for p in find_images(["street.png", "inside", "a[1].png", "street.png", "inside", "inside/*.jpg"])]
    inside = [f"inside/{name}" for name in ("2.jpg", "3.jfif", "4.HEIC", "10.PNG")]
    assert found == ["street.png", *inside, "a[1].png"]
    said = capsys.readouterr().err
    assert "2 files in inside" in said and "._2.jpg" in said and said.count("\n") == 1, "named once"


def test_output_names_are_unique_and_stay_inside():
    paths = [Path(p) for p in ("a/x.png", "b/x.jpg", "c/X.png", "...png", "x-2.png")]
    names = list(output_names(paths).values())
    assert names == ["x", "x-2", "X-3", "image", "x-2-2"]
