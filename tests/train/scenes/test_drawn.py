"""The command that draws streets: files that a page can use, and a sentence for bad arguments."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from train.scenes import drawn
from train.scenes.picture import draw_street


def test_files_and_card(tmp_path):
    card = drawn.write_examples(tmp_path / "out", count=1, seed=2, size=(192, 96))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["examples.json", "street-1.jpg", "street-1.png"]
    assert json.loads((tmp_path / "out" / "examples.json").read_text()) == card
    assert set(card[0]) == {"file", "label", "title", "alt", "seed", "command"} and str(tmp_path) not in str(card)
    picture = cv2.imread(str(tmp_path / "out" / "street-1.jpg"))[..., ::-1]
    label = cv2.imread(str(tmp_path / "out" / "street-1.png"), cv2.IMREAD_UNCHANGED)
    drawn_picture, drawn_label, _ = draw_street(0, 2, (192, 96))
    assert np.array_equal(label, drawn_label)
    assert np.abs(picture.astype(int) - drawn_picture).mean() < 8  # JPEG


def test_bad_arguments_are_answered_in_a_sentence(tmp_path, capsys):
    for arguments, sentence in ((["--size", "big"], "WIDTHxHEIGHT"), (["--count", "0"], "at least one street")):
        with pytest.raises(SystemExit):
            drawn.main(["--out", str(tmp_path), *arguments])
        assert sentence in capsys.readouterr().err
