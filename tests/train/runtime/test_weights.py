"""Where weights lie: folders, single files, files that are none of ours, and what is missing."""

from __future__ import annotations

import json
import os

import pytest

from mfuser import hub
from mfuser.loading import MFuser
from mfuser.weights import files as weight_files
from train.__main__ import main
from train.metrics import scoring

PAIR = "dinov2-l+eva02-clip-l"


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--preset", PAIR, "--weights", "FILE"],
        ["fit", "--preset", PAIR, "--encoders", "FILE"],
        ["fit", "--encoders", "FILE"],
        ["settle", "--preset", PAIR, "--weights", "FILE"],
        ["calibrate", "--preset", PAIR, "--weights", "FILE"],
        ["card", "--preset", PAIR, "--weights", "FILE", "--out", "OUT"],
        ["words", "--preset", PAIR, "--weights", "FILE", "--out", "OUT"],
        ["teach", "--weights", "FILE", "--out", "OUT"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("name", ["iter_20000.pth", "notes.txt"])
def test_a_file_that_is_no_weights_of_ours_is_one_sentence(streets, tmp_path, capsys, monkeypatch, arguments, name):
    monkeypatch.setattr(MFuser, "__init__", lambda *a, **k: pytest.fail("a model was built"))
    file = tmp_path / name
    file.write_bytes(b"")
    places = {"FILE": str(file), "OUT": str(tmp_path / "out")}
    code = main([*(places.get(a, a) for a in arguments), "--data", f"camvid:{streets}"])
    err, option = capsys.readouterr().err, "--encoders" if arguments[0] == "fit" else "--weights"
    way = f"is a checkpoint of the authors: python -m mfuser import-official {file} --out DIR, then {option} DIR."
    assert code == 2 and "Traceback" not in err
    assert (way if file.suffix == ".pth" else f"is a file, not a folder of weights: pass {option} DIR.") in err


@pytest.mark.parametrize("more", [(), ("--random-encoders",), ("--dry-run",)])
def test_a_missing_folder_of_public_encoders_is_not_replaced_by_the_hub(streets, tmp_path, capsys, monkeypatch, more):
    monkeypatch.setattr(hub, "fetch", lambda *a: pytest.fail("the hub was asked"))
    folder, out = tmp_path / "encoders", tmp_path / "out"
    options = ["--preset", PAIR, "--encoders", str(folder), "--out", str(out), *more]
    assert main(["fit", *options, "--data", f"camvid:{streets}", "--device", "cpu"]) == 2
    said = f"fit: There is no folder {folder}: name another --encoders, or none to use the hub.\n"
    assert capsys.readouterr().err == said and not out.exists()


def test_streams_go_on_with_the_encoders_that_they_know(streets, trained, tmp_path, capsys):
    options = ["--preset", "tiny", "--start", str(trained), "--random-encoders", "--out", str(tmp_path / "out")]
    assert main(["fit", *options, "--data", f"camvid:{streets}", "--device", "cpu"]) == 2
    said = "fit: --start and --random-encoders contradict each other: streams go on with the encoders that they know.\n"
    assert capsys.readouterr().err == said and not (tmp_path / "out").exists()


@pytest.mark.parametrize("preset", ["nano", PAIR])
def test_a_missing_folder_of_weights_is_named(streets, tmp_path, capsys, preset):
    words = ["evaluate", "--preset", preset, "--weights", str(tmp_path / "none"), "--streams", "fused"]
    assert main([*words, "--data", f"camvid:{streets}"]) == 2
    assert f"evaluate: There is no folder {tmp_path / 'none'}: pass --weights DIR" in capsys.readouterr().err


@pytest.mark.parametrize("stream", ["fused", "vfm"])
def test_missing_streams_are_told_before_encoders_are_fetched(streets, tmp_path, capsys, monkeypatch, stream):
    monkeypatch.setattr(MFuser, "__init__", lambda *a, **k: pytest.fail("a model was built"))
    options = ["--preset", PAIR, "--weights", str(tmp_path), "--streams", stream]
    assert main(["evaluate", *options, "--data", f"camvid:{streets}"]) == 2
    err = capsys.readouterr().err
    assert f"No trained weights at {tmp_path / f'stream-{stream}.safetensors'}: run `python -m " in err
    assert ("import-official" in err) == ("https://github.com/" in err) == (stream == "fused")


def test_a_stream_file_stands_for_its_folder(streets, trained):
    target = trained / "scores.json"
    more = ["--data", f"camvid:{streets}", "--limit", "1", "--device", "cpu", "--workers", "0", "--json", str(target)]
    for streams in ((), ("vlm", "fused")):  # by itself it is scored alone
        start = ["evaluate", "--preset", "tiny", "--checkpoint", str(trained / "stream-vlm.safetensors")]
        assert main([*start, *(("--streams", *streams) if streams else ()), *more]) == 0
        assert tuple(json.loads(target.read_text())["streams"]) == (streams or ("vlm",))


def test_scores_of_other_weights_in_a_presets_own_folder_are_not_taken(
    streets, trained, tiny_preset, tmp_path, monkeypatch
):
    """As of the paper's presets, whose folder is the user's."""
    monkeypatch.setattr(weight_files, "folder_of", lambda preset: trained)
    seen, plain = [], scoring.semantic_scores
    monkeypatch.setattr(scoring, "semantic_scores", lambda *a: seen.append(1) or plain(*a))
    start = ["evaluate", "--preset", "tiny", "--streams", "vlm", "--device", "cpu", "--workers", "0", "--batch", "1"]
    start += ["--data", f"camvid:{streets}", "--out", str(tmp_path / "scores")]
    for count in (3, 3, 6):  # the third time the weights are new
        if count == 6:
            os.utime(trained / "stream-vlm.safetensors", ns=(1, 1))
        assert main(start) == 0 and len(seen) == count
