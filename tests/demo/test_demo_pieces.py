"""Queries, pictures, examples, compute, wording: the pieces that the page is made of."""

from __future__ import annotations

import base64
import importlib
import io
import json
import pickle
import re
import sys
from types import ModuleType

import cv2
import numpy as np
import pytest
from PIL import Image

from mfuser import images, presets
from mfuser.cityscapes import colorize
from mfuser.demo import compare, compute, examples, inputs, models, pictures, queries, wording
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


def test_titles_name_the_query():
    assert queries.from_text("car").title == "“car”"
    assert queries.from_text("car, bus, tram").title == "“car”, “bus” or “tram”"
    assert queries.from_point(0.5, 1).title == "the patch that you clicked"
    with pytest.raises(ValueError, match="outside"):
        queries.from_point(1.2, 0)


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


def test_similarity_cells_show_the_heat_map_on_the_shared_scale(session, street_file):
    result = session.result(street_file, Settings("tiny"))
    query = queries.from_point(0.2, 0.2)
    maps = compare.similarities(result, query)
    assert set(maps) == {"vfm", "vlm", "fused"}
    html = compare.matrix(result, query)
    sources = re.findall(r'class="tile similarity".*?class="layer over" src="([^"]+)"', html)
    low, high = (float(v) for v in re.search(r"Colour bar from (-?[\d.]+) to (-?[\d.]+)", html).groups())
    for source, values in zip(sources, maps.values(), strict=True):
        brightness = np.asarray(opened(source).convert("L")).astype(float)
        assert np.corrcoef(brightness.ravel(), np.clip(values, low, high).ravel())[0, 1] > 0.95


def test_legend_lists_every_class_with_its_shares(session, street_file):
    result = session.result(street_file, Settings("tiny"))
    html = compare.legend(result)
    present = {name for s in result.analysis.masks for name in result.analysis.shares(s)}
    assert set(re.findall(r"</i><span>([^<]+)</span>", html)) == present


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
    assert about._card("carded") == "# A card\n\n---\nmore"


def test_numbers_read_well():
    assert wording.number(12_463_190) == "12.5 M" and wording.number(950) == "950"
    assert wording.duration(604.6) == "605 ms" and wording.duration(26_000) == "26.0 s"
    assert wording.percent(0.0004) == "< 0.1 %" and wording.percent(0) == "0.0 %"
    assert "hidden" in wording.notice("") and "&lt;b&gt;" in wording.notice("<b>")


def test_resolutions_on_offer_are_all_accepted():
    from mfuser.inference.windows import working_size

    for preset in presets.PRESETS.values():
        low, high = inputs.limits(preset)
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


def test_16_bit_grey_alpha_and_cmyk_uploads_are_shown(session, tmp_path):
    deep = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    Image.new("CMYK", (64, 64), (0, 200, 200, 0)).save(tmp_path / "print.jpg")
    Image.new("RGBA", (64, 64), (255, 0, 0, 100)).save(tmp_path / "glass.png")
    for name in ("deep.png", "print.jpg", "glass.png"):
        assert session.result(tmp_path / name, Settings("tiny")).analysis.masks["fused"].shape == (64, 64)
