"""`segment`: files, exit codes, and one sentence for every mistake."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

import mfuser
from mfuser import cityscapes
from mfuser.config import STREAMS
from tests.cli.commands import read, refusal, run


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
