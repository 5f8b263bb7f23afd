"""Queries, pictures, examples, compute, wording: the pieces that the page is made of."""

from __future__ import annotations

import base64
import importlib
import io
import json
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from mfuser import images, presets
from mfuser.cityscapes import colorize
from mfuser.demo import compare, compute, controls, examples, models, pictures, queries, wording
from mfuser.demo.session import Settings


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_texts_are_split_cleaned_and_limited():
    assert queries.from_text(" red  car, bus ,,red car").texts == ("red car", "bus")
    many = queries.from_text(",".join(f"thing {i}" for i in range(12)))
    assert len(many.texts) == 8 and "12 texts" in many.note
    cut = queries.from_text("a long story", is_cut=lambda text: True)
    assert "its end is ignored" in cut.note
    for empty in ("", "  ", ",", None):
        with pytest.raises(ValueError, match="empty"):
            queries.from_text(empty)


def test_a_point_lies_inside_the_picture():
    assert queries.from_point(0.5, 1).point == (0.5, 1.0)
    for x, y in ((1.2, 0), (0, -0.1), (float("nan"), 0)):
        with pytest.raises(ValueError, match="outside"):
            queries.from_point(x, y)


def test_mask_layer_holds_train_ids_in_cityscapes_colours():
    mask = np.random.default_rng(0).integers(0, 19, (40, 60)).astype(np.uint8)
    mask[:5] = 255
    picture = opened(pictures.mask_uri(mask))
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), mask)
    shown = np.asarray(picture.convert("RGBA"))
    np.testing.assert_array_equal(shown[5:, :, :3], colorize(mask[5:]))
    assert not shown[:5, :, 3].any() and (shown[5:, :, 3] == 255).all()


def test_pictures_are_reduced_never_enlarged():
    assert opened(pictures.photo_uri(np.zeros((500, 2000, 3), np.uint8))).size == (960, 240)
    assert opened(pictures.photo_uri(np.zeros((20, 30, 3), np.uint8))).size == (30, 20)


def test_similarities_are_those_of_the_analysis(session, street_file):
    result = session.result(street_file, Settings("tiny"))
    by_point = compare.similarities(result, queries.from_point(0.2, 0.2))
    by_text = compare.similarities(result, queries.from_text("car"))
    assert set(by_point) == {"vfm", "vlm", "fused"} and set(by_text) == {"vlm", "fused"}, "a VFM has no text"
    for stream, values in by_point.items():
        np.testing.assert_array_equal(values, result.analysis.similarity((0.2 * 128, 0.2 * 96), stream))
        assert values[int(0.2 * 96), int(0.2 * 128)] > values.mean() + 0.2, "the patch at the point is like itself"


def test_examples_are_read_with_their_labels(tmp_path):
    assert examples.find(tmp_path) == []
    images.save(tmp_path / "a.png", np.zeros((32, 48, 3), np.uint8))
    images.save(tmp_path / "b.png", np.full((32, 48), 7, np.uint8))
    (tmp_path / "examples.json").write_text(json.dumps([{"file": "a.png", "label": "b.png", "title": "A", "alt": "x"}]))
    (example,) = examples.find(tmp_path)
    assert example.title == "A" and (example.labels == 7).all()
    assert examples.fitted(example.labels, (16, 24)).shape == (16, 24) and example.weather == {}
    images.save(tmp_path / "c.jpg", np.zeros((32, 48, 3), np.uint8))
    listing = json.loads((tmp_path / "examples.json").read_text())
    listing[0]["weather"] = {"snow": {"file": "c.jpg", "text": "white"}}
    (tmp_path / "examples.json").write_text(json.dumps(listing))
    (example,) = examples.find(tmp_path)
    assert example.weather["snow"].path == tmp_path / "c.jpg" and example.weather["snow"].text == "white"


def test_bundled_examples_open():
    found = examples.find()
    if not found:
        pytest.skip("no bundled examples in this checkout")
    for example in found:
        assert images.load(example.path).shape[:2] == example.labels.shape
        assert example.alt and len(np.unique(example.labels)) > 5
        for rendered in example.weather.values():
            assert images.load(rendered.path).shape[:2] == example.labels.shape and rendered.text


def test_the_model_card_is_shown_without_its_front_matter(monkeypatch, tmp_path):
    from dataclasses import replace

    from mfuser.demo import about

    preset = replace(presets.NANO, name="carded", weights=tmp_path / "weights")
    monkeypatch.setitem(presets.PRESETS, "carded", preset)
    assert about._card("carded") == ""
    (tmp_path / "model_card.md").write_text("---\nlicense: other\n---\n# A card\n\n---\nmore")
    assert about._card("carded") == "### A card\n\n---\nmore", "its headings stand below the page's own"


def test_numbers_read_well():
    assert wording.duration(604.6) == "605 ms" and wording.duration(26_000) == "26.0 s"
    assert wording.percent(0.0004) == "< 0.1 %" and wording.percent(0) == "0.0 %"
    assert "hidden" in wording.notice("") and "&lt;b&gt;" in wording.notice("<b>")


def test_resolutions_on_offer_are_all_accepted():
    from mfuser.inference.windows import working_size

    for preset in presets.PRESETS.values():
        low, high = controls.limits(preset)
        assert low < preset.resolution < high
        for resolution in range(low, high + 1, preset.divisor):
            height, width = working_size((512, 1024), preset, resolution)
            assert height % preset.divisor == width % preset.divisor == 0


def test_a_preset_that_cannot_run_says_why_and_how(monkeypatch):
    status = {"name": "nano", "title": "nano", "runnable": False, "why": "no weights", "command": "do this"}
    monkeypatch.setattr(presets, "available", lambda: [status])
    with pytest.raises(ValueError, match="no weights.*do this"):
        models.loader("other")("nano")


def test_lent_gpus_get_the_compute_and_give_back_a_picklable_analysis(monkeypatch, session, street):
    """A stand-in for `spaces`: the function's result crosses a process border, as it does there."""
    spaces, durations = ModuleType("spaces"), []

    def lend(duration):
        def wrap(function):
            def elsewhere(*args):
                durations.append(duration(*args))
                return pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps(args)))))

            return elsewhere

        return wrap

    spaces.GPU = lend
    spaces.__spec__ = importlib.machinery.ModuleSpec("spaces", None)
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    segmenter = session.segmenter("tiny")
    try:
        lent = importlib.reload(compute)
        assert lent.LENT
        lent.SEGMENTERS["tiny"] = segmenter
        analysis = lent.analyse("tiny", street, "sliding")
        assert durations == [lent.GPU_SECONDS["sliding"]]
        assert analysis.similarity("car", stream="vlm").shape == street.shape[:2]
    finally:
        monkeypatch.undo()
        importlib.reload(compute)
