"""The command line with a tiny model of random weights: files, exit codes, and one sentence for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import mfuser
from mfuser import cityscapes, images, presets, weather
from mfuser.cli import main
from mfuser.cli.common import find_images, output_names
from mfuser.config import STREAMS
from mfuser.weights import tensors

ROOT = Path(mfuser.__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def weights(build_model, tiny_preset, tmp_path_factory) -> Path:
    folder, model = tmp_path_factory.mktemp("weights"), build_model(tiny_preset)
    for name in ("vfm", "vlm"):
        tensors.save(folder / f"encoder-{name}.safetensors", getattr(model, name).state_dict())
    for stream in STREAMS:
        tensors.save(folder / f"stream-{stream}.safetensors", model.state_for(stream))
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch, weights, tiny_preset) -> Path:
    """Working folder with two photographs, and the tiny preset by its name."""
    monkeypatch.setitem(presets.PRESETS, "tiny", replace(tiny_preset, weights=weights))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, (h, w) in {"street.png": (80, 120), "lane.jpg": (97, 64)}.items():
        images.save(tmp_path / name, images.resize(rng.integers(0, 256, (6, 9, 3)).astype(np.uint8), h, w))
    return tmp_path


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def run(*arguments: str) -> int:
    """Exit code, whether returned or raised by the argument parser."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def refusal(capsys, *arguments: str) -> str:
    """The one sentence on stderr of a command that exits with 2."""
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) == 1, captured.err
    return captured.err


# -- segment ----------------------------------------------------------------------------------------------------------


def test_segment_writes_what_the_library_computes(folder, capsys):
    assert run("segment", "street.png", "--preset", "tiny", "--query", "car, bus", "--npy", "--out", "results") == 0
    out = folder / "results" / "street"
    expected = {"comparison.png", "legend.png", "shares.png", "analysis.json"}
    expected |= {"similarity-vlm.npy", "similarity-fused.npy"}
    expected |= {f"{kind}-{s}.png" for kind in ("mask", "colour", "overlay", "pca") for s in STREAMS}
    expected |= {f"similarity-{s}.png" for s in ("vlm", "fused")}  # a VFM has no text
    assert {p.name for p in out.iterdir()} == expected
    analysis = mfuser.load("tiny").analyse("street.png")
    written = json.loads((out / "analysis.json").read_text())
    for stream in STREAMS:
        mask = read(out / f"mask-{stream}.png")
        assert mask.dtype == np.uint8 and np.array_equal(mask, analysis.masks[stream])
        colour = cv2.cvtColor(read(out / f"colour-{stream}.png"), cv2.COLOR_BGR2RGB)
        assert np.array_equal(colour, cityscapes.colorize(mask))
        assert np.array_equal(read(out / f"pca-{stream}.png")[..., ::-1], analysis.pca(stream))
        assert written["shares"][stream] == pytest.approx(analysis.shares(stream))
        assert written["mean_confidence"][stream] == pytest.approx(float(analysis.confidence[stream].mean()))
    for stream in ("vlm", "fused"):
        field = np.load(out / f"similarity-{stream}.npy")
        np.testing.assert_allclose(field, analysis.similarity(["car", "bus"], stream), atol=1e-5)
        assert written["similarity"]["streams"][stream]["max"] == pytest.approx(float(field.max()))
    assert (written["width"], written["height"], written["query"]) == (120, 80, {"texts": ["car", "bus"]})
    assert written["ran"]["preset"] == "tiny" and written["ran"]["milliseconds"]["total"] > 0
    assert "street.png -> " in capsys.readouterr().out


def test_segment_answers_a_point_in_every_stream(folder):
    arguments = ("--point", "30,40", "--streams", "vfm,fused", "--quiet", "--out", "results")
    assert run("segment", "street.png", "--preset", "tiny", *arguments) == 0
    names = {p.name for p in (folder / "results" / "street").iterdir()}
    assert {"similarity-vfm.png", "similarity-fused.png", "mask-vfm.png"} <= names
    assert not any("vlm" in name for name in names)
    written = json.loads((folder / "results" / "street" / "analysis.json").read_text())
    assert written["query"] == {"point": [30, 40]} and set(written["shares"]) == {"vfm", "fused"}


def test_windows_and_resolution_reach_the_network(folder):
    arguments = ("--windows", "sliding", "--resolution", "96", "--quiet", "--out", "results")
    assert run("segment", "street.png", "--preset", "tiny", *arguments) == 0
    ran = json.loads((folder / "results" / "street" / "analysis.json").read_text())["ran"]
    assert (ran["windows"], ran["input_size"]) == ("sliding", [96, 128])
    layout = {"image_size": [96, 128], "count": 1, "window_size": [96, 128], "stride": 341}
    assert ran["window_layout"] == layout


def test_folders_and_globs_make_one_folder_per_image(folder, capsys):
    assert run("segment", str(folder), "--preset", "tiny", "--streams", "fused", "--out", "results") == 0
    assert {p.name for p in (folder / "results").iterdir()} == {"street", "lane"}
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run("segment", "*.jpg", "--preset", "tiny", "--streams", "fused", "--quiet", "--out", "some") == 0
    assert {p.name for p in (folder / "some").iterdir()} == {"lane"}
    assert capsys.readouterr().out == ""


def test_one_bad_image_is_told_and_the_others_are_done(folder, capsys):
    (folder / "bad.png").write_bytes(b"this is not a picture")
    code = run("segment", "street.png", "bad.png", "absent.png", "lane.jpg", "--preset", "tiny", "--out", "results")
    captured = capsys.readouterr()
    assert code == 2 and "Traceback" not in captured.err
    assert "bad.png" in captured.err and "absent.png" in captured.err and "2 of 4 images" in captured.err
    assert {p.name for p in (folder / "results").iterdir()} == {"street", "lane"}


def test_a_point_outside_one_image_does_not_stop_the_others(folder, capsys):
    code = run("segment", "lane.jpg", "street.png", "--preset", "tiny", "--point", "100,10", "--out", "results")
    sentence = capsys.readouterr().err
    assert code == 2 and all(fact in sentence for fact in ("lane.jpg", "(100, 10)", "outside", "64x97")), sentence
    assert (folder / "results" / "street" / "analysis.json").is_file()
    assert not (folder / "results" / "lane" / "mask-fused.png").exists()


def test_files_are_replaced_one_by_one_and_others_are_left(folder):
    out = folder / "results" / "street"
    out.mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    (out / "mask-fused.png").write_text("old")
    assert run("segment", "street.png", "--preset", "tiny", "--quiet", "--out", "results") == 0
    assert (out / "notes.txt").read_text() == "mine" and read(out / "mask-fused.png").shape == (80, 120)
    assert not [p for p in out.iterdir() if p.name.startswith(".") or p.suffix in (".tmp", ".part")]


def test_verbose_names_the_scan_kernel(folder, capsys):
    from mfuser.fusion.selective_scan import fastest_kernel

    fastest_kernel.cache_clear()
    assert run("segment", "street.png", "--preset", "tiny", "--quiet", "-v", "--out", "results") == 0
    assert "selective scan on cpu: compiled kernel" in capsys.readouterr().err


def test_weights_of_another_folder(folder, weights):
    assert run("segment", "street.png", "--preset", "tiny", "--weights", str(weights), "--quiet", "--out", "a") == 0
    written = json.loads((folder / "a" / "street" / "analysis.json").read_text())
    assert written["ran"]["weights"] == weights.name


@pytest.mark.parametrize(
    ("arguments", "facts"),  # facts: what the sentence must name, whatever its other words are
    [
        (["absent.png"], ["absent.png", "no file"]),
        (["nothing-*.png"], ["nothing-*.png", "match"]),
        (["empty"], ["'empty'", "no images"]),
        (["street.png", "--query", " , "], ["query", "empty", "car"]),
        (["street.png", "--point", "1,2,3"], ["--point", "two numbers", "1,2,3"]),
        (["street.png", "--point", "1,2", "--query", "car"], ["--point", "--query"]),
        (["street.png", "--point", "500,2"], ["(500, 2)", "outside", "120x80"]),
        (["street.png", "--preset", "giant"], ["'giant'", "nano"]),
        (["street.png", "--weights", "nowhere"], ["weights", "nowhere"]),
        (["street.png", "--device", "warp"], ["'warp'", "cpu"]),
        (["street.png", "--precision", "int4"], ["int4", "float32", "bf16"]),
        (["street.png", "--windows", "tiled"], ["tiled", "single", "sliding"]),
        (["street.png", "--resolution", "7"], ["7", "32", "1024"]),
        (["street.png", "--resolution", "many"], ["--resolution", "many"]),
        (["street.png", "--streams", "vfm,both"], ["vfm,both", "vfm, vlm, fused"]),
        (["street.png", "--out", "street.png"], ["'street.png'", "a file", "--out"]),
        (["street.png", "--out", "street.png/deep"], ["'street.png/deep'", "--out"]),
        (["street.png", "--que", "car"], ["--que"]),
        ([], ["IMAGE"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_sentence(folder, capsys, arguments: list[str], facts: list[str]):
    (folder / "empty").mkdir()
    sentence = refusal(capsys, "segment", "--preset", "tiny", "--out", "results", *arguments)
    assert all(fact in sentence for fact in facts), sentence


# -- features ---------------------------------------------------------------------------------------------------------


def test_features_are_the_analysis_tokens(folder):
    assert run("features", "street.png", "--preset", "tiny", "--layers", "0,3", "--before", "--out", "f") == 0
    analysis = mfuser.load("tiny").analyse("street.png", layers=True)
    with np.load(folder / "f" / "street" / "features.npz", allow_pickle=False) as file:
        arrays = dict(file)
    layers = {f"layer-{i:02d}/{e}{b}" for i in (0, 3) for e in ("vfm", "vlm") for b in ("", "-before")}
    assert set(arrays) == {f"last/{s}" for s in STREAMS} | layers
    for stream in STREAMS:
        assert np.array_equal(arrays[f"last/{stream}"], analysis.tokens[stream])
    assert np.array_equal(arrays["layer-03/vlm"], analysis.layer(3, "vlm"))
    assert np.array_equal(arrays["layer-00/vfm-before"], analysis.layer(0, "vfm", before=True))
    pictures = {p.name for p in (folder / "f" / "street").glob("*.png")}
    assert len(pictures) == len(arrays) and {"pca-fused.png", "pca-layer-00-vfm-before.png"} <= pictures
    assert read(folder / "f" / "street" / "pca-layer-03-vlm.png").shape == (80, 120, 3)


@pytest.mark.parametrize(("layers", "count"), [("none", 1), ("all", 1 + 4 * 2)])
def test_features_of_no_or_all_layers(folder, layers: str, count: int):
    arguments = ("--layers", layers, "--streams", "fused", "--quiet", "--out", "f")
    assert run("features", "street.png", "--preset", "tiny", *arguments) == 0
    with np.load(folder / "f" / "street" / "features.npz") as file:
        assert len(file.files) == count


def test_features_mistakes(folder, capsys):
    sentence = refusal(capsys, "features", "street.png", "--preset", "tiny", "--layers", "0,9", "--out", "f")
    assert "9" in sentence and "0 to 3" in sentence, "the layers that there are"
    sentence = refusal(capsys, "features", "street.png", "--layers", "x", "--out", "f")
    assert all(way in sentence for way in ("--layers", "all", "none", "0,5"))


# -- weather ----------------------------------------------------------------------------------------------------------


def test_weather_writes_one_picture(folder):
    arguments = ("--condition", "fog+night", "--severity", "4", "--seed", "7", "--out", "deep/foggy.png")
    assert run("weather", "street.png", *arguments) == 0
    expected = weather.apply("street.png", "fog+night", 4, 7)
    assert np.array_equal(read(folder / "deep" / "foggy.png")[..., ::-1], expected)


def test_weather_sweeps_into_a_folder(folder):
    arguments = ("--condition", "fog,rain", "--severity", "1,5", "--quiet", "--out", "sweep")
    assert run("weather", "street.png", "lane.jpg", *arguments) == 0
    names = {p.name for p in (folder / "sweep").iterdir()}
    assert names == {f"{i}-{c}-{s}.png" for i in ("street", "lane") for c in ("fog", "rain") for s in (1, 5)}
    assert np.array_equal(read(folder / "sweep" / "lane-rain-5.png")[..., ::-1], weather.apply("lane.jpg", "rain", 5))


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["--condition", "hail"], ["'hail'", "fog, rain, snow, night"]),
        (["--condition", ","], ["condition", "fog, rain, snow, night"]),
        (["--severity", "6"], ["--severity", "1 to 5", "'6'"]),
        (["--severity", "x"], ["--severity", "1 to 5", "'x'"]),
        (["--seed", "-1"], ["seed", "-1", "whole number"]),
        (["--condition", "fog,rain", "--out", "one.png"], ["'one.png'", "--out", "folder"]),
        (["--out", "street.png/x"], ["'street.png/x'", "folder"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_weather_mistakes(folder, capsys, arguments: list[str], facts: list[str]):
    sentence = refusal(capsys, "weather", "street.png", "--out", "out", *arguments)
    assert all(fact in sentence for fact in facts), sentence


# -- info, help, files ------------------------------------------------------------------------------------------------


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
