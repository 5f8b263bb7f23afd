"""What the server answers to words, without a browser."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import mfuser
from mfuser.demo.session import Result
from mfuser.demo.stage_view import StageView
from mfuser.stage.bundle import decode


@pytest.fixture
def view(nano_analysis):
    segmenter = mfuser.load("nano", precision="float32")
    view = StageView(SimpleNamespace(segmenter=lambda preset: segmenter), None)
    result = Result(nano_analysis, nano_analysis.size)
    return SimpleNamespace(token=view.token(result), result=result, segmenter=segmenter, of=view)


def test_an_emoji_has_a_note_and_paints_nothing(view):
    answer = view.of.look_for(view.token, "🦒")
    assert "error" not in answer and answer["vectors"] == {} and "🦒" in answer["note"]


def test_a_known_word_has_vectors_and_no_note(view):
    answer = view.of.look_for(view.token, "car")
    assert set(answer["vectors"]) == {"vlm", "fused"} and answer["note"] == ""


@pytest.mark.parametrize("measured", [True, False])
def test_the_bundle_says_whether_a_scale_was_measured(view, measured, tmp_path):
    if not measured:
        view.segmenter.folder = tmp_path
    assert decode(view.of.bundle(view.result)[0])[0]["scales"]["measured"] is measured
