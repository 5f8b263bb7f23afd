"""The page in a real browser: pictures, queries, clicks, masks, and what goes wrong."""

from __future__ import annotations

import re
from pathlib import Path

import gradio_client
import numpy as np
import pytest
from PIL import Image

from mfuser.cityscapes import CLASSES, colorize
from tests.browser.seen import choose, different, layers, loaded_photo, marker, upload

CAMVID = Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid" / "val" / "images"


def test_opens_on_an_example_that_is_already_analysed(page):
    assert page.locator("#matrix .tile.features").count() == 3
    assert page.locator("#matrix .tile.mask").count() == 3
    assert "no text" in page.locator("#matrix .tile.words").inner_text()
    assert page.locator(".head b").all_inner_texts()[:3] == ["VFM only", "VLM only", "MFuser"]
    assert re.search(r"cpu|cuda", page.locator("#ran").inner_text())
    assert page.evaluate("[...document.images].every(i => !i.src.startsWith('data:') || i.naturalWidth > 0)")
    assert all(page.locator("#matrix img.layer").nth(i).get_attribute("alt") for i in range(8))


def test_upload_queries_and_clicks_change_what_they_should(page, url, china):
    upload(page, china)
    masks, car = layers(page, "mask"), layers(page, "similarity")
    answer = gradio_client.Client(url, verbose=False).predict(gradio_client.handle_file(china), api_name="/segment")
    for shown, path in zip(masks, answer[:3], strict=True):
        labels = np.asarray(Image.open(path))
        assert labels.shape == (427, 640)
        np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), colorize(labels))

    page.get_by_label("Look for").fill("sky, tree")
    page.get_by_label("Look for").press("Enter")
    page.locator("h3", has_text="Similarity to “sky” or “tree”").wait_for()
    sky = layers(page, "similarity")
    assert len(car) == len(sky) == 2
    assert all(different(a, b) for a, b in zip(car, sky, strict=True))
    assert not any(different(a, b) for a, b in zip(masks, layers(page, "mask"), strict=True))

    tile = page.locator("#matrix .tile.features").first
    box = tile.bounding_box()
    tile.click(position={"x": box["width"] * 0.75, "y": box["height"] * 0.25})
    page.locator("h3", has_text="the patch that you clicked").wait_for()
    assert marker(page) == pytest.approx((75, 25), abs=1)
    for picture in layers(page, "similarity"):
        brightness = np.asarray(picture.convert("L")).astype(float)
        row, column = int(0.25 * brightness.shape[0]), int(0.75 * brightness.shape[1])
        around = brightness[row - 16 : row + 16, column - 16 : column + 16]
        assert around.max() > np.percentile(brightness, 98)  # nothing is more like the patch than itself


def test_of_quick_clicks_the_last_one_is_answered(page):
    tile = page.locator("#matrix .tile.features").nth(1)
    box = tile.bounding_box()
    for x in (0.1, 0.5, 0.9):
        tile.click(position={"x": box["width"] * x, "y": box["height"] * 0.5})
    page.wait_for_function(
        "Math.abs(parseFloat(document.querySelector('#matrix .marker')?.style.left ?? '0') - 90) < 1"
    )


def test_a_click_on_the_input_picture_is_a_query_too(page):
    picture = loaded_photo(page)
    box = picture.bounding_box()
    natural = page.evaluate("e => [e.naturalWidth, e.naturalHeight]", picture.element_handle())
    scale = min(box["width"] / natural[0], box["height"] / natural[1], 1)
    left, top = (box["width"] - natural[0] * scale) / 2, (box["height"] - natural[1] * scale) / 2
    position = {"x": left + 0.3 * natural[0] * scale, "y": top + 0.8 * natural[1] * scale}
    picture.click(position=position)
    page.locator("h3", has_text="the patch that you clicked").wait_for()
    assert marker(page) == pytest.approx((30, 80), abs=1.5)


def test_a_rotated_photograph_is_clicked_where_it_is_seen(page, tmp_path):
    upright = np.full((400, 240, 3), 90, np.uint8)
    upright[300:, :120] = (250, 240, 60)
    exif = Image.Exif()
    exif[274] = 6  # stored lying, to be turned clockwise
    path = tmp_path / "rotated.jpg"
    Image.fromarray(np.rot90(upright)).save(path, exif=exif, quality=95)
    upload(page, path)
    picture = loaded_photo(page)
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.9})
    page.locator("h3", has_text="the patch that you clicked").wait_for()
    left, top = marker(page)
    assert top == pytest.approx(90, abs=4) and left == pytest.approx(50, abs=4)
    shown = page.locator("#matrix .tile.mask").first.bounding_box()
    assert shown["height"] / shown["width"] == pytest.approx(400 / 240, rel=0.01)


def test_pointing_at_a_mask_names_its_class(page):
    tile = page.locator("#matrix .tile.mask").nth(2)
    tile.scroll_into_view_if_needed()
    box = tile.bounding_box()
    tile.hover(position={"x": box["width"] * 0.5, "y": box["height"] * 0.9})
    tip = tile.locator(".tip")
    tip.wait_for(state="visible")
    labels = np.asarray(layers(page, "mask")[2])
    expected = CLASSES[labels[int(0.9 * labels.shape[0]), int(0.5 * labels.shape[1])]]
    assert tip.inner_text() == expected
    assert all(t in CLASSES for t in page.locator("#matrix .tile.mask .tip").all_inner_texts())


def test_a_class_list_of_ones_own_names_the_masks(page):
    page.get_by_text("Classes (experimental)").click()
    box = page.get_by_label("Names for the masks")
    box.fill("road, automobile, automobile")
    box.press("Enter")
    page.locator("#class-notice .notice", has_text="in the list twice").wait_for()
    names = ["road", "automobile", "sky", "house", "tree"]
    box.fill(", ".join(names))
    box.press("Enter")
    page.locator("#ran", has_text="5 classes of your own (experimental)").wait_for()
    assert "the encoders ran earlier" in page.locator("#ran").inner_text()
    tile = page.locator("#matrix .tile.mask").nth(2)
    tile.scroll_into_view_if_needed()
    size = tile.bounding_box()
    tile.hover(position={"x": size["width"] * 0.5, "y": size["height"] * 0.9})
    tile.locator(".tip").wait_for(state="visible")
    labels = np.asarray(layers(page, "mask")[2])
    assert tile.locator(".tip").inner_text() == names[labels[int(0.9 * labels.shape[0]), labels.shape[1] // 2]]
    page.get_by_role("button", name="Back to the 19 classes").click()
    page.locator("#matrix h3 + span", has_text="Cityscapes classes; point at a picture").wait_for()
    assert box.input_value() == "" and "experimental" not in page.locator("#ran").inner_text()


def test_opacity_needs_no_server(page):
    page.get_by_text("Settings", exact=True).first.click()
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url) if "/queue/join" in r.url else None)
    page.locator("#opacity input[type=range]").fill("0.2")
    page.wait_for_function("getComputedStyle(document.querySelector('#matrix img.over')).opacity === '0.2'")
    assert requests == []


def test_a_broken_upload_is_one_sentence_and_the_app_goes_on(page, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 this is no photograph")
    before = page.locator("#ran").inner_text()
    choose(page, broken)
    page.locator("#photo-notice .notice.error").wait_for()
    assert "damaged" in page.locator("#photo-notice").inner_text()
    assert page.locator("#ran").inner_text() == before
    page.locator("#examples button").nth(1).click()
    page.wait_for_function("!document.querySelector('#photo-notice .notice')")
    assert page.locator("#matrix .tile.mask").count() == 3


def test_empty_and_very_long_queries_are_explained(page):
    box = page.get_by_label("Look for")
    box.fill("")
    box.press("Enter")
    page.locator("#query-notice .notice", has_text="The text query is empty").wait_for()
    box.fill("a very long story " * 170)
    box.press("Enter")
    page.locator("#query-notice .notice", has_text="only its first 400 are used").wait_for()


def test_fits_a_phone(browser, url):
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    visit = context.new_page()
    visit.goto(url)
    visit.wait_for_selector("#matrix .tile.mask img.layer")
    assert visit.evaluate("document.documentElement.scrollWidth") == 390
    assert visit.locator("#matrix .tile.mask .tag").first.inner_text() == "VFM only"
    frame = visit.locator("#matrix .grid-frame")
    assert frame.evaluate("e => e.scrollWidth > 2 * e.clientWidth")  # the other columns are there, sideways
    context.close()


def test_a_real_drive_is_analysed(page):
    if not CAMVID.is_dir():
        pytest.skip("no CamVid photographs beside this checkout")
    upload(page, sorted(CAMVID.glob("*.jpg"))[0])
    assert "480 × 360" in page.locator("#ran").inner_text()
    assert "mIoU" not in page.locator("#matrix .foot").first.inner_text()
