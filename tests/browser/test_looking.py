"""Looking at the stage: pointer, swipe, keys, zoom, layers. Nothing of it asks the server."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mfuser.config import ASSETS
from tests.browser.seen import CANVAS, at, bubble, bundle, hover, labels_of, pixels, pressed, sampled, script, segmented

PLACES = [(0.1, 0.2), (0.3, 0.62), (0.55, 0.35), (0.72, 0.55), (0.93, 0.9)]


def test_the_bubble_says_what_the_api_says(page, url):
    example = page.locator('.strip-entry[aria-pressed="true"]').get_attribute("data-id")
    masks = segmented(url, ASSETS / "examples" / f"{example}.jpg")
    header, parts = bundle(page)
    height, width = header["size"]
    for x, y in PLACES:
        hover(page, x, y, width / height)
        said = bubble(page)
        for title, mask in masks.items():
            around = mask[int(y * height) - 2 : int(y * height) + 3, int(x * width) - 2 : int(x * width) + 3]
            assert said[title][0] in {header["classes"][k] for k in np.unique(around)}
        sure = parts["confidence.fused"]
        expected = sure[int(y * sure.shape[0]), int(x * sure.shape[1])] / 2.55
        assert int(said["MFuser"][1].removesuffix(" %")) == pytest.approx(expected, abs=12)
        same = len({said[title][0] for title in masks}) == 1
        assert same == ("differ" not in page.locator(".bubble").get_attribute("class").split())


def _colours_agree(painted, labels, palette, where):
    return (np.abs(painted.astype(int) - palette[labels.clip(0, len(palette) - 1)]).max(-1) <= 2)[where].mean()


def test_the_swipe_shows_the_right_model_on_each_side(visit):
    page = visit("mode=swipe&left=vfm&right=fused&opacity=1&split=0.4")
    header, parts = bundle(page)
    palette, aspect = np.array(header["colours"]), header["size"][1] / header["size"][0]

    def sides(split):
        painted = pixels(page)
        edge = int(split * painted.shape[1])
        vfm, fused = (sampled(parts[f"mask.{s}"], page, aspect) for s in ("vfm", "fused"))
        for labels, other, left in ((vfm, fused, True), (fused, vfm, False)):
            where = (labels != other) & (labels < 255)
            where[:60] = False  # labels of the models lie there
            where[:, edge - 3 :] &= not left
            where[:, : edge + 3] &= left
            assert where.sum() > 500 and _colours_agree(painted, labels, palette, where) > 0.85

    sides(0.4)
    handle = page.locator(".swipe-handle")
    grip = handle.bounding_box()
    shown = page.locator(CANVAS).bounding_box()
    page.mouse.move(grip["x"] + 14, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(shown["x"] + 0.7 * shown["width"], shown["y"] + 100, steps=4)
    page.mouse.up()
    assert int(handle.get_attribute("aria-valuenow")) == pytest.approx(70, abs=1)
    sides(0.7)
    handle.press("ArrowLeft")
    pixels(page)
    assert int(handle.get_attribute("aria-valuenow")) == pytest.approx(68, abs=1)
    page.locator(".between-left").select_option("photo")
    photo = np.asarray(Image.open(io.BytesIO(parts["photo"])).resize(pixels(page).shape[1::-1]), float)
    assert np.abs(pixels(page)[:, 200:400] - photo[:, 200:400]).mean() < 6


def test_keys(page):
    canvas = page.locator(CANVAS)
    canvas.focus()
    for key, title, model in (("1", "VFM only", "vfm"), ("2", "VLM only", "vlm"), ("3", "MFuser", "fused")):
        canvas.press(key)
        pixels(page)
        assert labels_of(page) == [title] and pressed(page, "models") == model and pressed(page, "modes") == "single"
    _, parts = bundle(page)
    masked = pixels(page)
    page.keyboard.down(" ")
    bare = pixels(page)
    page.keyboard.up(" ")
    photo = np.asarray(Image.open(io.BytesIO(parts["photo"])).resize(bare.shape[1::-1]), float)
    assert np.abs(bare - photo).mean() < 6 < np.abs(masked - photo).mean()
    np.testing.assert_array_equal(pixels(page), masked)
    for _ in range(3):
        canvas.press("ArrowDown")
    assert page.locator(".bubble").is_visible()
    canvas.press("Enter")
    assert "50 %, 56 %" in page.locator(".point-chip").inner_text() and pressed(page, "layers") == "similarity"
    canvas.press("+")
    assert page.locator(".whole").is_visible()
    canvas.press("-")
    assert page.locator(".whole").is_hidden()
    canvas.press("Escape")
    assert page.locator(".point-chip").count() == 0


def test_the_wheel_zooms_where_the_pointer_is(visit):
    page = visit("mode=single&model=fused&opacity=1")
    header, parts = bundle(page)
    aspect = header["size"][1] / header["size"][0]
    hover(page, 0.7, 0.6, aspect)
    before = bubble(page)
    for _ in range(4):
        page.mouse.wheel(0, -240)
    painted = pixels(page)
    place = at(page, 0.7, 0.6, aspect)
    labels = sampled(parts["mask.fused"], page, aspect)
    expected = np.array(header["colours"])[labels[int(place["y"]), int(place["x"])]]
    assert np.abs(painted[int(place["y"]), int(place["x"])].astype(int) - expected).max() <= 2
    hover(page, 0.701, 0.6, aspect)
    assert bubble(page)["MFuser"][0] == before["MFuser"][0]
    assert page.locator(".whole").is_visible()
    page.locator(".whole").click()
    assert page.locator(".whole").is_hidden() and not np.array_equal(pixels(page), painted)


def test_a_class_row_isolates_its_class(visit):
    page = visit("mode=single&model=fused&opacity=1")
    header, parts = bundle(page)
    row = page.locator("button.rail-row", has_text="car").first
    label = int(row.get_attribute("data-class"))
    assert header["classes"][label] == "car"
    row.click()
    page.mouse.move(0, 0)
    painted = pixels(page).astype(int)
    labels = sampled(parts["mask.fused"], page, header["size"][1] / header["size"][0])
    has_colour = np.abs(painted - np.array(header["colours"][label])).max(-1) <= 2
    assert row.get_attribute("aria-pressed") == "true"
    assert has_colour[labels == label].mean() > 0.95 and has_colour[labels != label].mean() < 0.01
    page.locator('.layers [data-choice="features"]').click()
    assert row.get_attribute("aria-pressed") == "false"


def test_nine_opens_a_cell_on_the_stage(visit):
    page = visit("mode=nine&points=0.6,0.6,1")
    assert len(labels_of(page)) == 9
    page.locator(CANVAS).click(position=at(page, 0.5, 0.15))
    pixels(page)
    assert (
        labels_of(page) == ["VLM only"] and pressed(page, "layers") == "features" and pressed(page, "models") == "vlm"
    )


def test_the_numbers_of_the_rail_are_those_of_the_picture(page):
    header, parts = bundle(page)
    row = page.locator("button.rail-row", has_text="road").first
    bars = [float(text.removesuffix(" %")) for text in row.locator(".rail-bar").all_inner_texts()]
    road = header["classes"].index("road")
    assert bars == pytest.approx([100 * header["iou"][s][road] for s in header["streams"]], abs=0.06)
    assert f"{round(100 * header['disagreement'])} %" in page.locator(".rail-sentence").inner_text()


def test_errors_are_painted_where_the_truth_differs(visit):
    page = visit("mode=single&model=vlm&layer=truth&opacity=1")
    header, parts = bundle(page)
    aspect = header["size"][1] / header["size"][0]
    truth, mask = (sampled(parts[name], page, aspect) for name in ("truth", "mask.vlm"))
    red = np.abs(pixels(page).astype(int) - (230, 30, 60)).max(-1) <= 2
    known = (truth < 255) & (np.indices(truth.shape)[0] > 60)
    assert red[known & (truth != mask)].mean() > 0.85 and red[known & (truth == mask)].mean() < 0.02


def test_a_link_restores_the_view(page, visit):
    page.locator('.layers [data-choice="confidence"]').click()
    page.locator('.modes [data-choice="single"]').click()
    page.locator('.models [data-choice="vlm"]').click()
    page.locator(".opacity input").fill("85")
    page.locator(CANVAS).focus()
    page.locator(CANVAS).press("+")
    page.locator(".share").click()
    link = page.evaluate("location.hash").removeprefix("#")
    again = visit(link)
    assert pressed(again, "layers") == "confidence" and pressed(again, "models") == "vlm"
    assert again.locator(".opacity input").input_value() == "85"
    assert np.abs(pixels(again).astype(int) - pixels(page)).mean() < 1


def test_looking_asks_the_server_nothing(page):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if not request.url.startswith("blob:") else None)
    before = -1
    while len(asked) != before:  # until what belongs to the opening is over
        before = len(asked)
        page.wait_for_timeout(3000)
    asked.clear()
    for x in np.linspace(0.1, 0.9, 12):
        hover(page, x, 0.5)
    for layer in ("similarity", "features", "confidence", "disagreement", "truth", "masks"):
        page.locator(f'.layers [data-choice="{layer}"]').click()
    page.locator(".opacity input").fill("30")
    page.locator("button.rail-row").nth(3).click()
    page.locator(".swipe-handle").press("ArrowRight")
    page.locator(CANVAS).click(position=at(page, 0.8, 0.3))
    page.locator(CANVAS).click(position=at(page, 0.7, 0.8), modifiers=["Shift"])
    page.mouse.wheel(0, -300)
    for mode in ("triple", "nine", "single", "swipe"):
        page.locator(f'.modes [data-choice="{mode}"]').click()
    page.locator(".follow input").check()
    for x in np.linspace(0.1, 0.9, 12):
        hover(page, x, 0.4)
    pixels(page)
    assert asked == []


@pytest.mark.parametrize("mode", ["swipe", "triple"])
def test_similarity_follows_the_pointer_within_a_frame_or_two(visit, mode):
    page = visit(f"mode={mode}")
    page.locator(".follow input").check()
    found = page.evaluate(script("moves"), 1000)
    print(mode, found)
    assert found["drawing"] <= 33  # ms; what the page itself takes of the frame
