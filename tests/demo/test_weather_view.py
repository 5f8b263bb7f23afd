"""The weather drawer: what it computes, which scores it shows, and what it says."""

from __future__ import annotations

import re
from html import unescape

import numpy as np
import pytest

from mfuser import images
from mfuser.demo import weather_view, wording
from mfuser.demo.handlers import Handlers
from mfuser.demo.session import Settings

SMALL = ("tiny", "single", 64)


@pytest.fixture
def ask(session):
    """(pictures, notice) of the drawer."""
    handlers = Handlers(session)

    def asked(path, conditions=("fog",), severity=3, seed=0, source="simulated", classes="", preset="tiny"):
        settings = (path, preset, "single", 64, classes)
        return handlers.weather(*settings, list(conditions), severity, seed, source, lambda *_, **__: None)

    return asked


def skipped(value) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update"


def scores(html: str) -> list[str]:
    return [unescape(found) for found in re.findall(r"<span>consistency[^<]*</span><b>([^<]+)</b>", html)]


def test_each_picture_is_computed_once(ask, passes, street_file):
    shown, notice = ask(street_file, ["night", "fog"])
    assert notice == wording.NOTHING and "Fog + night, severity 3" in shown and "real mIoU" not in shown
    assert len(passes) == 2
    assert ask(street_file, ["fog", "night"])[0] == shown and len(passes) == 2
    ask(street_file, ["fog", "night"], severity=4)
    assert len(passes) == 3


def test_consistency_and_miou_are_those_of_the_masks(ask, session):
    path = session.examples[0].path
    shown, _ = ask(str(path), ["rain"], severity=2, seed=5)
    settings = Settings(*SMALL)
    clear, adverse = session.result(path, settings), session.adverse(path, settings, "rain", 2, 5)
    expected = [wording.percent(weather_view.consistency(clear, adverse, s)) for s in ("vfm", "vlm", "fused")]
    assert scores(shown) == expected
    miou = [[weather_view.real_miou(r, s) for r in (clear, adverse)] for s in ("vfm", "vlm", "fused")]
    found = re.findall(r"<span>real mIoU</span><b>([^<]+)</b>", shown)
    assert [unescape(text) for text in found] == [" → ".join(map(wording.percent, pair)) for pair in miou]
    clear.analysis.masks["fused"] = adverse.analysis.masks["fused"].copy()
    assert weather_view.consistency(clear, adverse, "fused") == 1


def test_weather_rendered_in_the_scene_is_offered_for_examples_that_have_it(ask, session, passes, street_file):
    path, handlers = str(session.examples[0].path), Handlers(session)
    assert handlers.sources(path)["visible"]
    for other in (street_file, None, "gone.png"):
        assert not handlers.sources(other)["visible"]
    shown, notice = ask(path, source="rendered")
    assert notice == wording.NOTHING and "Fog, rendered in the scene" in shown and "visibility 90 m" in shown
    assert shown.count("real mIoU") == 3 and "severity" not in shown and len(passes) == 2
    seen = session.in_rendered_weather(path, Settings(*SMALL), "fog").analysis.image
    np.testing.assert_array_equal(seen, images.load(session.examples[0].weather["fog"].path))
    assert ask(path, severity=5, seed=9, source="rendered")[0] == shown and len(passes) == 2


@pytest.mark.parametrize("conditions", [["rain"], ["fog", "night"]])
def test_weather_that_was_not_rendered_is_one_sentence(ask, session, conditions):
    shown, notice = ask(str(session.examples[0].path), conditions, source="rendered")
    assert skipped(shown) and "one condition" in notice


def test_a_photograph_always_gets_simulated_weather(ask, street_file):
    assert "Fog, severity 3" in ask(street_file, source="rendered")[0]


@pytest.mark.parametrize(
    ("path", "options", "word"),
    [
        (None, {}, "Choose a photograph"),
        ("street", {"conditions": []}, "at least one condition"),
        ("street", {"conditions": ["hail"]}, "hail"),
        ("street", {"severity": 9}, "9"),
        ("street", {"seed": -5}, "-5"),
        ("street", {"classes": "car"}, "two names"),
        ("gone", {}, "deleted after its time"),
        ("gone", {"source": "rendered"}, "deleted after its time"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(ask, street_file, tmp_path, path, options, word):
    shown, notice = ask({"street": street_file, "gone": str(tmp_path / "gone.png")}.get(path), **options)
    assert skipped(shown) and word in notice and "Something went wrong" not in notice
    assert str(tmp_path) not in notice


def test_an_unforeseen_error_is_logged_and_the_visitor_sees_no_traceback(ask, street_file, monkeypatch, caplog):
    monkeypatch.setattr("mfuser.weather.apply", lambda *_, **__: 1 / 0)
    shown, notice = ask(street_file)
    assert skipped(shown) and "Something went wrong" in notice and "ZeroDivision" not in notice
    assert "ZeroDivisionError" in caplog.text
