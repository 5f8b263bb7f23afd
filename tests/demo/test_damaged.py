"""Damaged files: at the start each is refused in one line that names it; at work no words but ours reach a visitor."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from mfuser import images
from mfuser.config import ASSETS
from mfuser.demo import examples, wording
from mfuser.demo.refusals import Refusal, refusals
from tests.demo.visitor import sentence

NANO = ASSETS / "nano"


@pytest.fixture
def start(monkeypatch, tmp_path, capsys):
    """Run app.py's main until it refuses; what it said."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    import app

    def refused(*flags: str) -> str:
        monkeypatch.setattr(sys, "argv", ["app.py", *flags])
        monkeypatch.setattr("mfuser.demo.compute.SEGMENTERS", {})
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "temporary"))
        with pytest.raises(SystemExit) as stopped:
            app.main()
        assert stopped.value.code == 2 and list((tmp_path / "temporary").iterdir()) == []
        said = capsys.readouterr().err
        assert said.startswith("app.py: ") and said.count("\n") == 1
        return said

    return refused


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((path.name, "bytes") for path in sorted(NANO.glob("*.safetensors"))),
        ("encoder-vfm.safetensors", "cut"),
        ("stream-fused.safetensors", "cut"),
        ("stream-vlm.safetensors", "empty"),
    ],
)
def test_damaged_weights_are_refused_at_the_start(start, tmp_path, name, damage):
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in NANO.iterdir():
        if path.name != name:
            (folder / path.name).symlink_to(path)
    data = bytearray((NANO / name).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    (folder / name).write_bytes({"bytes": bytes(data), "cut": bytes(data[:-999]), "empty": b""}[damage])
    assert name in start("--weights", str(folder))


def test_a_damaged_vocabulary_is_refused_at_the_start(start, tmp_path, monkeypatch):
    damaged = tmp_path / "vocabulary.txt"
    damaged.write_bytes(b"")
    monkeypatch.setattr("mfuser.encoders.nano.VOCABULARY", damaged)
    assert "vocabulary.txt" in start()


def bundle(folder: Path, **changed: object) -> Path:
    folder.mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    images.save(folder / "a.jpg", picture)
    images.save(folder / "fog.jpg", picture)
    images.save(folder / "label.png", np.zeros((64, 96), np.uint8))
    entry = {"file": "a.jpg", "title": "A", "alt": "x", "label": "label.png", "weather": {"fog": _fog("fog.jpg")}}
    (folder / "examples.json").write_text(json.dumps([{**entry, **changed}]))
    return folder


def _fog(name: str) -> dict[str, str]:
    return {"file": name, "text": "90 m"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("examples.json", b""),
        ("examples.json", b"[{"),
        ("examples.json", b"\xff\xfe"),
        ("examples.json", b"7"),
        ("examples.json", b'[{"title": "A"}]'),
        ("examples.json", b'["a.jpg"]'),
        ("a.jpg", b""),
        ("a.jpg", b"\xff\xd8\xff\xe0 broken"),
        ("fog.jpg", b"no picture"),
        ("fog.jpg", None),
        ("label.png", b"\x89PNG\r\n\x1a\n broken"),
        ("label.png", None),
    ],
)
def test_damaged_examples_name_their_file(tmp_path, name, content):
    folder = bundle(tmp_path / "examples")
    assert len(examples.find(folder)) == 1
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(images.ImageError, match=str(folder / name)):
        examples.find(folder)


def test_damaged_examples_are_refused_at_the_start(start, tmp_path, monkeypatch):
    folder = bundle(tmp_path / "examples")
    (folder / "examples.json").write_text("[")
    monkeypatch.setattr(examples.find, "__defaults__", (folder,))
    assert str(folder / "examples.json") in start("--random-weights")


def test_only_our_own_errors_speak_to_visitors(caplog):
    for own in (Refusal("Choose another."), images.ImageError("It is damaged.")):
        assert wording.sentence(own) == str(own)
    for foreign in (ValueError("invalid literal for int()"), RuntimeError("CUDA"), KeyError("x"), OSError(5000, "odd")):
        assert "Something went wrong" in wording.sentence(foreign)
    with pytest.raises(Refusal, match="too far"), refusals():
        raise ValueError("too far")
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 4


def test_a_value_error_from_inside_the_model_reaches_nobody(served, visitor, street, monkeypatch, caplog):
    path = {"path": visitor.upload(images.encode(street))}
    rest = ["tiny", "single", 96]

    def explode(*_, **__):
        raise ValueError("could not broadcast /srv/weights (3,4) into shape (5,)")

    monkeypatch.setattr("mfuser.inference.segmenter.Segmenter._run", explode)
    for answer in (visitor.call("segment", path, *rest), visitor.stage(path, "tiny", "single", 96, "")):
        assert "broadcast" not in answer and "Something went wrong" in answer
    assert "could not broadcast" in caplog.text


@pytest.mark.parametrize(
    ("name", "data", "word"),
    [
        ("segment", ["tiny", "double", 64, ""], "double"),
        ("segment", ["tiny", "single", 9999, ""], "9999"),
        ("segment", ["mega", "single", 64, ""], "mega"),
        ("segment", ["tiny", "single", 64, "road"], "two names"),
        ("segment", ["tiny", "single", 64, "road, " + "x" * 300], "300"),
        ("weather", ["hail", 1, 0, "tiny", "single", 64, ""], "hail"),
        ("weather", ["fog", 9, 0, "tiny", "single", 64, ""], "9"),
        ("weather", ["fog", 1, -5, "tiny", "single", 64, ""], "-5"),
        ("weather", ["fog", 1.5, 0, "tiny", "single", 64, ""], "1.5"),
        ("similarity", ["", -1, -1, "tiny", "single", 64], "empty"),
        ("similarity", ["car", 3, 0.5, "tiny", "single", 64], "outside"),
    ],
)
def test_what_a_visitor_got_wrong_is_still_said(served, visitor, street, name, data, word):
    said = sentence(visitor.call(name, {"path": visitor.upload(images.encode(street))}, *data))
    assert word in said and "Something went wrong" not in said


def test_a_fault_outside_every_function_is_one_sentence(visitor):
    index = {"data": [], "fn_index": 9999, "session_hash": "x"}
    for path, body in (
        ("/run/none", {"data": []}),
        ("/call/none", {"data": []}),
        ("/call/v2/none", {}),
        ("/run/predict", index),
        ("/queue/join", index),
    ):
        assert "no function" in sentence(visitor.post(path, body)) and visitor.last == 404
    assert "image" in sentence(visitor.post("/call/v2/analyse", {})) and visitor.last == 400
    assert "colour" in sentence(visitor.post("/call/v2/analyse", {"colour": 1})) and visitor.last == 400
