"""The scale of similarity: read from beside the weights, put into the header, applied to texts; words nobody knows."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mfuser
from mfuser.config import ASSETS
from mfuser.encoders.vocabulary import WordPieceTokenizer, unknown_words
from mfuser.stage import scales
from mfuser.stage.bundle import decode, encode
from mfuser.stage.texts import query

CONTENT = {
    "text": {"vlm": {"score": "cosine", "range": [0.2, 0.5]}, "fused": {"score": "above mean", "range": [0.1, 0.4]}},
    "point": {"vfm": {"range": [0.5, 0.9]}},
}


def encode_text(texts, stream):
    """Unit vectors that depend on the letters alone."""
    rows = np.array([[len(t), t.count("a") + 1, ord(t[0]) % 7] for t in texts], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write(folder, content) -> None:
    (folder / scales.FILE).write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_scale_is_read_and_put_into_the_header(tmp_path):
    write(tmp_path, CONTENT)
    assert scales.header(scales.read(tmp_path)) == {
        "measured": True,
        "text": {"vlm": (0.2, 0.5), "fused": (0.1, 0.4)},
        "point": {"vfm": (0.5, 0.9)},
    }


def test_without_a_file_nothing_was_measured(tmp_path):
    assert scales.read(tmp_path) is None and scales.read(None) is None
    assert scales.header(None) == {"measured": False}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        {"text": {}},
        {**CONTENT, "point": {"vfm": {"range": [0.9, 0.5]}}},
        {**CONTENT, "point": {"vfm": {"range": [float("nan"), 0.5]}}},
        {**CONTENT, "text": {"vlm": {"score": "luck", "range": [0, 1]}}},
    ],
)
def test_a_damaged_file_is_no_scale_and_the_log_says_so(content, tmp_path, caplog):
    write(tmp_path, content)
    assert scales.read(tmp_path) is None
    assert scales.FILE in caplog.text and "similarity-scale" in caplog.text


def test_background_words_are_sent_where_they_are_subtracted(tmp_path):
    write(tmp_path, CONTENT)
    bases = {"vlm": np.eye(3, 2, dtype=np.float32), "fused": np.eye(3, dtype=np.float32)}
    found = query("car", encode_text, ["car"], bases, scales.read(tmp_path))
    assert set(found["vectors"]) == {"vlm", "fused"} and set(found["background"]) == {"fused"}
    mean = encode_text(scales.BACKGROUND, "fused").mean(0)
    assert found["background"]["fused"] == [pytest.approx(mean.tolist(), abs=1e-5)]
    every = scales.background_vectors(np.eye(3), "above highest")
    assert every.shape == (3, 3) and len(scales.background_vectors(np.eye(3), "cosine")) == 0


@pytest.mark.parametrize("text", ["🦒", "жираф", "キリン 長頸鹿", "قطة", "!!!"])
def test_a_text_without_a_known_word_has_a_note_and_no_vectors(text):
    found = query(text, encode_text, [text], {"vlm": np.eye(3)})
    assert found["vectors"] == {} and all(word in found["note"] for word in text.split())


def test_known_words_are_looked_for_and_the_others_named():
    bases = {"vlm": np.eye(3)}
    found = query("🦒, car 🚗", encode_text, ["🦒", "car 🚗"], bases)
    assert len(found["vectors"]["vlm"]) == 1 and "🦒" in found["note"] and "🚗" in found["note"]
    for text in ("car", "Café", "U-Bahn 7"):
        assert query(text, encode_text, [text], bases)["note"] == ""


def test_unknown_words_have_no_piece_of_the_vocabulary_but_single_letters():
    tokenizer = WordPieceTokenizer(ASSETS / "nano" / "vocabulary.txt", 32)
    pieces = (ASSETS / "nano" / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    for word in ("🦒", "жираф", "キリン", "car", "blorptang", "7"):
        found = [pieces[i].removeprefix("##") for i in tokenizer.pieces(word)[1:-1]]
        known = any(piece != "[UNK]" and piece.isascii() for piece in found)
        assert known != bool(unknown_words(word)), found


def test_the_built_in_weights_have_a_scale_and_an_example_obeys_it(nano_analysis):
    segmenter = mfuser.load("nano", precision="float32")
    measured = scales.read(segmenter.folder)
    header, parts = decode(encode(nano_analysis, extra={"scales": scales.header(measured)}).data)
    assert header["scales"]["measured"] and set(header["scales"]["point"]) == {"vfm", "vlm", "fused"}
    for stream, (low, _) in header["scales"]["text"].items():
        peaks = {t: nano_analysis.similarity(t, stream).max() for t in ("car", "road", "giraffe", "grand piano")}
        assert min(peaks["car"], peaks["road"]) > low > max(peaks["giraffe"], peaks["grand piano"]), (stream, peaks)


def test_the_stored_figures_meet_the_marks_they_claim():
    content = json.loads((ASSETS / "nano" / scales.FILE).read_text())
    chosen = [r for r in content["shown"] if r["set"] == "camvid:train" and r["phrases"] == "all"]
    assert {r["stream"] for r in chosen} == {"vlm", "fused"}
    assert all(r["absent shown %"] <= 5 and r["present shown %"] >= 80 for r in chosen)
