"""Events of the page: what they show, what they never compute again, what they say."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mfuser import images
from mfuser.demo import wording
from mfuser.demo.handlers import Handlers
from mfuser.demo.session import Settings

QUIET = {"progress": lambda *_, **__: None}


@pytest.fixture
def handlers(session) -> Handlers:
    return Handlers(session)


def asked(path, text="car", point=None, windows="single", resolution=64, pca="whole"):
    return path, "tiny", windows, resolution, pca, text, point


def skipped(value) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update"


def layers(html: str, kind: str) -> list[str]:
    return re.findall(rf'class="tile {kind}".*?class="layer[^"]*" src="([^"]+)"', html)


def test_matrix_has_three_columns_and_the_vfm_says_that_it_has_no_text(handlers, street_file):
    matrix, ran, *notices = handlers.show(*asked(street_file), **QUIET)
    assert [len(layers(matrix, kind)) for kind in ("features", "similarity", "mask")] == [3, 2, 3]
    assert "A vision foundation model has no text" in matrix
    assert "128 × 96" in ran and "float32" in ran and "random" in ran
    assert notices == [wording.NOTHING] * 2


def test_a_click_compares_all_three_columns_and_draws_markers(handlers, street_file):
    matrix, *_ = handlers.show(*asked(street_file, point=[0.25, 0.5]), **QUIET)
    assert len(layers(matrix, "similarity")) == 3
    assert matrix.count('class="marker" style="left:25.00%;top:50.00%"') == 6
    assert "A vision foundation model has no text" not in matrix


def test_queries_settings_and_opening_again_run_no_network_again(handlers, passes, street_file):
    first, *_ = handlers.show(*asked(street_file), **QUIET)
    other, *_ = handlers.show(*asked(street_file, text="sky, road"), **QUIET)
    handlers.show(*asked(street_file, point=[0.9, 0.9]), **QUIET)
    grey, *_ = handlers.show(*asked(street_file, pca="foreground"), **QUIET)
    assert passes == [("single", None)]
    assert layers(first, "similarity") != layers(other, "similarity")
    assert layers(first, "mask") == layers(other, "mask")
    handlers.show(*asked(street_file, windows="sliding"), **QUIET)
    handlers.show(*asked(street_file, resolution=96), **QUIET)
    assert passes == [("single", None), ("sliding", None), ("single", 96)]


def test_the_same_pixels_under_another_name_are_known(handlers, passes, street_file, tmp_path):
    handlers.show(*asked(street_file), **QUIET)
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(street_file).read_bytes())
    handlers.show(*asked(str(copy)), **QUIET)
    assert len(passes) == 1


def test_weather_waits_for_its_tab_then_computes_each_picture_once(handlers, passes, street_file):
    settings = (street_file, "tiny", "single", 64)
    shown, notice = handlers.weather("compare", *settings, ["fog"], 3, 0, **QUIET)
    assert skipped(shown) and skipped(notice) and passes == []
    shown, notice = handlers.weather("weather", *settings, ["night", "fog"], 3, 0, **QUIET)
    assert notice == wording.NOTHING and "Fog + night, severity 3" in shown and shown.count("consistency") == 3
    assert "real mIoU" not in shown
    assert len(passes) == 2
    handlers.weather("weather", *settings, ["fog", "night"], 3, 0, **QUIET)
    assert len(passes) == 2
    handlers.weather("weather", *settings, ["fog", "night"], 4, 0, **QUIET)
    assert len(passes) == 3


def test_real_miou_stands_beside_consistency_where_labels_exist(handlers, session):
    path = str(session.examples[0].path)
    shown, _ = handlers.weather("weather", path, "tiny", "single", 64, ["rain"], 2, 5, **QUIET)
    assert shown.count("real mIoU") == 3
    matrix, *_ = handlers.show(*asked(path), **QUIET)
    assert len(re.findall(r">mIoU (?:< )?[\d.]+ %<", matrix)) == 3


def test_weather_rendered_in_the_scene_is_offered_for_examples_that_have_it(handlers, session, passes, street_file):
    path = str(session.examples[0].path)
    assert handlers.sources(path)["visible"] and not handlers.sources(street_file)["visible"]
    assert not handlers.sources(None)["visible"] and not handlers.sources("gone.png")["visible"]
    settings = ("tiny", "single", 64)
    shown, notice = handlers.weather("weather", path, *settings, ["fog"], 3, 0, "rendered", **QUIET)
    assert notice == wording.NOTHING and "Fog, rendered in the scene" in shown and "visibility 90 m" in shown
    assert shown.count("real mIoU") == 3 and "severity" not in shown and len(passes) == 2
    seen = session.in_rendered_weather(path, Settings("tiny", "single", 64), "fog").analysis.image
    np.testing.assert_array_equal(seen, images.load(session.examples[0].weather["fog"].path))
    handlers.weather("weather", path, *settings, ["fog"], 5, 9, "rendered", **QUIET)
    assert len(passes) == 2, "severity and seed change nothing of a rendered picture"


@pytest.mark.parametrize("conditions", [["rain"], ["fog", "night"]])
def test_weather_that_was_not_rendered_is_one_sentence(handlers, session, conditions):
    path = str(session.examples[0].path)
    shown, notice = handlers.weather("weather", path, "tiny", "single", 64, conditions, 3, 0, "rendered", **QUIET)
    assert skipped(shown) and "one condition at a time" in notice


def test_a_photograph_always_gets_simulated_weather(handlers, street_file):
    shown, _ = handlers.weather("weather", street_file, "tiny", "single", 64, ["fog"], 3, 0, "rendered", **QUIET)
    assert "Fog, severity 3" in shown


def test_no_condition_and_no_photograph_are_one_sentence(handlers, street_file):
    shown, notice = handlers.weather("weather", street_file, "tiny", "single", 64, [], 3, 0, **QUIET)
    assert skipped(shown) and "Choose at least one condition" in notice
    matrix, ran, notice, _ = handlers.show(*asked(None), **QUIET)
    assert skipped(matrix) and "Choose a photograph" in notice


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken", b"\xff\xd8\xff\xe0 broken"])
def test_a_broken_file_is_one_sentence_and_leaves_the_page_as_it_is(handlers, passes, tmp_path, content):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    matrix, ran, notice, _ = handlers.show(*asked(str(path)), **QUIET)
    assert skipped(matrix) and skipped(ran) and passes == []
    assert 'role="alert"' in notice and "Traceback" not in notice
    assert re.search(r"empty|damaged|not an image", notice)


def test_empty_and_endless_queries_are_explained(handlers, street_file):
    matrix, _, _, notice = handlers.show(*asked(street_file, text="  , "), **QUIET)
    assert skipped(matrix) and "The text query is empty" in notice
    matrix, _, _, notice = handlers.show(*asked(street_file, text="bus " * 750), **QUIET)
    assert layers(matrix, "similarity") and "only its first 400 are used" in notice


def test_markup_in_a_query_stays_text(handlers, street_file):
    matrix, *_ = handlers.show(*asked(street_file, text="<img src=x onerror=alert(1)> ${1+1}"), **QUIET)
    assert "<img src=x" not in matrix and "&lt;img src=x" in matrix


def test_an_unforeseen_error_is_logged_and_the_visitor_sees_no_traceback(handlers, street_file, monkeypatch, caplog):
    def explode(*_):
        raise RuntimeError("CUDA error: device-side assert")

    monkeypatch.setattr(handlers.session, "result", explode)
    _, _, notice, _ = handlers.show(*asked(street_file), **QUIET)
    assert "CUDA" not in notice and "Something went wrong" in notice
    assert "device-side assert" in caplog.text


def test_a_click_on_a_rotated_photograph_hits_the_patch_that_is_seen(handlers, tmp_path):
    """EXIF says "turn by 90 degrees": the browser shows it upright, and so counts its coordinates."""
    upright = np.full((96, 64, 3), 30, np.uint8)
    upright[64:, :32] = 240  # bright at the lower left of the picture as seen
    stored = Image.fromarray(np.rot90(upright))  # orientation 6: turn clockwise to view
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "rotated.png"
    stored.save(path, exif=exif)
    point = handlers.click_photo(str(path), SimpleNamespace(index=(16, 80)))
    assert point == pytest.approx([16.5 / 64, 80.5 / 96])
    handlers.show(*asked(str(path), point=point), **QUIET)
    result = handlers._result(str(path), "tiny", "single", 64)
    np.testing.assert_array_equal(result.analysis.image, upright)
    height, width = result.analysis.size
    x, y = int(point[0] * width), int(point[1] * height)
    assert result.analysis.image[y, x].tolist() == [240, 240, 240]
    similar = result.analysis.similarity((x, y), "vlm")
    row, column = np.unravel_index(similar.argmax(), similar.shape)
    assert abs(row - 80) <= 16 and abs(column - 16) <= 16 and similar.max() > 0.95  # within one patch of 16 pixels


def test_clicks_outside_or_without_a_place_are_no_query(handlers, street_file):
    assert handlers.click_photo(None, SimpleNamespace(index=(1, 1))) is None
    assert handlers.click_grid(SimpleNamespace(x=0.2, y=0.9)) == [0.2, 0.9]
    assert handlers.click_grid(SimpleNamespace(x=-1, y=0.5)) is None
    assert handlers.click_grid(SimpleNamespace()) is None


def test_a_huge_photograph_is_reduced_and_the_page_says_so(handlers, tmp_path):
    path = tmp_path / "wide.png"
    Image.new("L", (3200, 64), 90).save(path)
    _, ran, notice, _ = handlers.show(*asked(str(path)), **QUIET)
    assert "3200 × 64 pixels was reduced to 1600 × 32" in notice


def test_a_tiff_comes_back_as_browsers_can_show_it(handlers, tmp_path, street):
    path = tmp_path / "scan.tif"
    Image.fromarray(street).save(path)
    np.testing.assert_array_equal(handlers.preview(str(path)), street)
    assert skipped(handlers.preview(str(tmp_path / "photo.jpg")))
