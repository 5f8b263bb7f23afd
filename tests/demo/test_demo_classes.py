"""Class lists of a visitor's own, and columns without a trained decoder, on the page and in its endpoints."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape

import pytest

from mfuser import presets
from mfuser.cityscapes import CLASSES, palette
from mfuser.demo import wording
from mfuser.demo.endpoints import Endpoints
from mfuser.demo.handlers import Handlers
from mfuser.inference.segmenter import Segmenter

NAMES = ("road", "lorry", "<b>zebra</b>")
OWN = ", ".join(NAMES)


@pytest.fixture
def handlers(session) -> Handlers:
    return Handlers(session)


@pytest.fixture
def paper(session, build_model, tiny_preset, monkeypatch) -> str:
    """Name of a preset with a fused decoder alone."""
    preset = replace(tiny_preset, name="paper", streams=("fused",))
    monkeypatch.setitem(presets.PRESETS, "paper", preset)
    monkeypatch.setattr(session, "_load", lambda name: Segmenter(build_model(preset), precision="float32"))
    return "paper"


def weather(handlers, path, classes="", preset="tiny"):
    return handlers.weather(path, preset, "single", 64, classes, ["fog"], 3, 0, "simulated", lambda *_, **__: None)


def skipped(value) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update"


# -- a class list -----------------------------------------------------------------------------------------------------


def test_masks_names_and_colours_are_of_the_list(stage, street_file):
    header, parts = stage.bundle(street_file, classes=OWN)
    assert header["classes"] == list(NAMES) and header["colours"] == palette(NAMES).tolist()
    assert all(parts[f"mask.{stream}"].max() < len(NAMES) for stream in header["streams"])
    assert "3 classes of your own (experimental)" in header["ran_line"]


def test_another_list_runs_the_decoders_only_and_each_list_once(stage, session, passes, street_file, monkeypatch):
    trained = stage.bundle(street_file)[0]
    looks, look = [], Segmenter._encode_pixels
    monkeypatch.setattr(Segmenter, "_encode_pixels", lambda *a: looks.append(1) or look(*a))
    assert "the encoders ran earlier" in stage.bundle(street_file, classes=OWN)[0]["ran_line"]
    stage.bundle(street_file, classes="Road,lorry , <b>zebra</b>")
    assert len(passes) == 2 and not looks
    back, _ = stage.bundle(street_file, classes=", ".join(CLASSES))
    assert len(passes) == 2 and back["token"] == trained["token"] and "of your own" not in back["ran_line"]


def test_labels_are_not_compared_with_other_classes(stage, handlers, session):
    header, parts = stage.bundle(example=0, classes=OWN)
    assert "truth" not in parts and "iou" not in header
    shown, notice = weather(handlers, str(session.examples[0].path), OWN)
    assert notice == wording.NOTHING and "real mIoU" not in shown and shown.count("consistency") == 3
    names = json.loads(unescape(re.search(r'data-names="([^"]+)"', shown)[1]))
    assert names == {",".join(map(str, c)): n for c, n in zip(palette(NAMES).tolist(), NAMES, strict=True)}
    assert "<b>zebra" not in shown


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("car", "needs two names at least"),
        ("car, bus, CAR", "in the list twice"),
        (", ".join(f"thing {i}" for i in range(41)), "has 41 names: 40 are the most"),
        ("car, " + "x" * 61, "61 characters"),
        ("car, a b c d e f g h i j k l m n", "longer than the text tower reads"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_sentence_and_the_one_before_stays(handlers, text: str, sentence: str):
    kept, notice = handlers.choose_classes(text, "tiny")
    assert skipped(kept) and sentence in notice and 'role="alert"' in notice


def test_a_list_is_chosen_and_taken_back(handlers):
    chosen = handlers.choose_classes(" road ,lorry,, zebra crossing", "tiny")
    assert chosen == ("road, lorry, zebra crossing", wording.NOTHING)
    assert handlers.choose_classes("", "tiny") == handlers.choose_classes(None, "tiny") == ("", wording.NOTHING)


def test_endpoints_take_a_list(session, street_file):
    endpoints = Endpoints(session)
    summary, *_ = endpoints.analyse(street_file, "tiny", classes=OWN)
    assert summary["classes"] == list(NAMES) and set(summary["made"].values()) == {"decoder"}
    *masks, shares = endpoints.segment(street_file, "tiny", classes=OWN)
    assert all(m.max() < 3 for m in masks) and set(shares["fused"]) <= set(NAMES)
    *_, scores = endpoints.weather(str(session.examples[0].path), preset="tiny", classes=OWN)
    assert scores["miou"] is None and 0 <= scores["consistency"]["fused"] <= 1
    with pytest.raises(ValueError, match="needs two names"):
        endpoints.segment(street_file, "tiny", classes="car")


# -- columns without a decoder ----------------------------------------------------------------------------------------


def test_columns_without_a_decoder_are_filled_and_called_what_they_are(stage, paper, street_file):
    header, parts = stage.bundle(street_file, preset=paper)
    assert header["made"] == {"vfm": "clusters", "vlm": "zero-shot", "fused": "decoder"}
    assert header["titles"] == {"vfm": "VFM only (clusters)", "vlm": "VLM only (zero-shot)", "fused": "MFuser"}
    assert all(parts[f"mask.{stream}"].shape == (96, 128) for stream in ("vfm", "vlm", "fused"))


def test_columns_of_trained_decoders_are_called_that(stage, street_file):
    header, _ = stage.bundle(street_file)
    assert set(header["made"].values()) == {"decoder"}
    assert header["titles"] == {"vfm": "VFM only", "vlm": "VLM only", "fused": "MFuser"}


def test_weather_says_of_what_the_consistency_is(handlers, paper, street_file):
    shown, notice = weather(handlers, street_file, preset=paper)
    assert notice == wording.NOTHING and "consistency leans on" in shown
    rows = re.findall(r"<span>(consistency[^<]*)</span><b>([\d.]+) %", shown)
    assert [row[0] for row in rows] == ["consistency (clusters)", "consistency (zero-shot)", "consistency"]
    told = dict(re.findall(r'<div class="made (\w+)">(.*?)</div>', shown))
    assert told["fused"] == "" and "Clusters" in told["vfm"] and "Zero-shot" in told["vlm"]
    for stream in ("vfm", "vlm"):
        assert f"python -m train fit --streams {stream} --preset paper" in told[stream]


def test_nothing_of_it_stands_beside_trained_decoders(handlers, street_file):
    shown, _ = weather(handlers, street_file)
    assert 'class="made' not in shown and "zero-shot" not in shown and "clusters" not in shown
