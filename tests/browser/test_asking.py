"""Asking: clicks, words, several points, and what can be taken away."""

from __future__ import annotations

import io
import zipfile

import cv2
import matplotlib
import numpy as np
import pytest
from PIL import Image

from mfuser.stage import files
from tests.browser.seen import CANVAS, at, bubble, bundle, cosines, hover, pixels, pressed

HEAT = np.round(255 * matplotlib.colormaps[files.HEAT](np.linspace(0, 1, 256))[:, :3])


def _heat(page, grid) -> np.ndarray:
    """Painted similarity at the centre of every patch, 0 to 1; NaN where the photograph is seen through it."""
    painted = pixels(page).astype(float)
    rows = ((np.arange(grid[0]) + 0.5) / grid[0] * painted.shape[0]).astype(int)
    columns = ((np.arange(grid[1]) + 0.5) / grid[1] * painted.shape[1]).astype(int)
    distance = np.abs(painted[rows][:, columns].reshape(-1, 1, 3) - HEAT).max(-1)
    return np.where(distance.min(1) < 8, distance.argmin(1) / 255, np.nan)


def _painted_alone(share: np.ndarray, grid) -> np.ndarray:
    """Patches of which nothing shines through, nor through any beside them: the browser blends neighbours."""
    around = cv2.erode(share.reshape(grid).astype(np.float32), np.ones((3, 3)), borderType=cv2.BORDER_REPLICATE)
    return around.reshape(-1) > 0.3


def _centre(row: int, column: int, grid) -> tuple[float, float]:
    """The middle of a patch as a place in the picture."""
    return (column + 0.5) / grid[1], (row + 0.5) / grid[0]


@pytest.mark.parametrize("stream", ["vfm", "vlm", "fused"])
def test_a_click_paints_the_cosines_that_numpy_finds(visit, stream):
    page = visit(f"mode=single&model={stream}&opacity=1")
    header, parts = bundle(page)
    grid, row, column = header["grid"], 25, 20
    page.locator(CANVAS).click(position=at(page, *_centre(row, column, grid)))
    assert pressed(page, "layers") == "similarity"
    index = row * grid[1] + column
    patches = cosines(parts, f"tokens.{stream}")
    expected = patches @ patches[index]
    low, high = header.get("scales", {}).get("point", {}).get(stream, (0.2, 1))
    share = (expected - low) / (high - low)
    found = _heat(page, grid)
    places = np.indices(grid).reshape(2, -1)
    away = np.abs(places - places[:, [index]]).max(0) > 1  # the ring of the point lies on the others
    seen = away & _painted_alone(share, grid)
    assert seen.sum() > 5 and np.isfinite(found[seen]).mean() > 0.9
    assert np.nanmean(np.abs(found - share.clip(0, 1))[seen]) < 0.03
    brightest = np.nanargmax(np.where(seen, found, np.nan))
    painted = share.clip(0, 1)  # above the top of the scale all patches are painted alike
    assert painted[brightest] > painted[seen].max() - 0.03
    title = {"vfm": "VFM only", "vlm": "VLM only", "fused": "MFuser"}[stream]
    for row, column in ((12, 30), (3, 5)):
        hover(page, *_centre(row, column, grid))
        assert float(bubble(page)[title][2]) == pytest.approx(expected[row * grid[1] + column], abs=0.011)


def test_words_paint_the_cosines_that_numpy_finds(visit):
    page = visit("mode=single&model=fused&opacity=1")
    header, parts = bundle(page)
    with page.expect_response(lambda answer: "/stage/words/" in answer.url) as answer:
        page.get_by_role("button", name="car", exact=True).click()
    vectors = answer.value.json()["vectors"]
    assert set(vectors) == {"vlm", "fused"} and page.get_by_label("Look for").input_value() == "car"
    page.locator('.layers [data-choice="similarity"][aria-pressed="true"]').wait_for()
    expected = (cosines(parts, "dense.fused") @ np.array(vectors["fused"]).T).max(1)
    low, high = header.get("scales", {}).get("text", {}).get("fused", (0, 0.5))
    share, found = (expected - low) / (high - low), _heat(page, header["grid"])
    seen = _painted_alone(share, header["grid"])
    assert seen.sum() > 5 and np.nanmean(np.abs(found - share.clip(0, 1))[seen]) < 0.03
    painted = share.clip(0, 1)
    assert painted[np.nanargmax(np.where(seen, found, np.nan))] > painted[seen].max() - 0.03


def test_typed_words_and_what_is_said_of_them(page):
    query = page.get_by_label("Look for")
    query.fill("sky, tree")
    query.press("Enter")
    page.locator('.layers [data-choice="similarity"][aria-pressed="true"]').wait_for()
    pixels(page)
    assert "VFM only: knows no words" in page.locator(".stage-labels").inner_text()
    hover(page, 0.9, 0.3)
    said = bubble(page)
    assert said["VFM only"][2] == "" and -1 <= float(said["MFuser"][2]) <= 1
    page.locator(CANVAS).click(position=at(page, 0.8, 0.6))
    assert page.locator(".command form").is_hidden() and page.locator(".point-chip").count() == 1
    page.get_by_role("button", name="Remove the point").click()
    assert query.is_visible() and query.input_value() == "sky, tree"
    page.locator(".strip-entry").nth(1).click()
    page.wait_for_function("document.querySelector('.stage').dataset.shown === '2'")
    assert query.input_value() == ""  # nothing of it is shown any more


def test_a_question_without_words_is_invited(page):
    page.locator('.layers [data-choice="similarity"]').click()
    assert "type what to look for" in page.locator(".query-note").inner_text()


def test_several_points_with_plus_and_minus(visit):
    page = visit("mode=single&model=fused")
    header, parts = bundle(page)
    grid, patches = header["grid"], cosines(parts, "tokens.fused")
    chosen = [(18, 46), (20, 19), (29, 32)]
    places = [_centre(row, column, grid) for row, column in chosen]
    canvas = page.locator(CANVAS)
    canvas.click(position=at(page, *places[0]))
    canvas.click(position=at(page, *places[1]), modifiers=["Shift"])
    canvas.click(position=at(page, *places[2]), modifiers=["Alt"])
    signs = page.locator(".point-chip button:first-child")
    assert signs.all_inner_texts() == ["+", "+", "−"]
    a, b, c = (patches @ patches[row * grid[1] + column] for row, column in chosen)

    def check(expected):
        for row, column in ((5, 10), (20, 40), (16, 31)):
            hover(page, *_centre(row, column, grid))
            assert float(bubble(page)["MFuser"][2]) == pytest.approx(expected[row * grid[1] + column], abs=0.011)

    check(np.maximum(a, b) - c.clip(0))
    signs.nth(2).click()
    check(np.maximum(np.maximum(a, b), c))
    page.get_by_role("button", name="Remove the point").nth(0).click()
    check(np.maximum(b, c))


def test_saving_the_picture_and_all_files(page):
    page.locator('.layers [data-choice="features"]').click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save picture").click()
    assert saved.value.suggested_filename.endswith("features.png")
    np.testing.assert_array_equal(np.asarray(Image.open(saved.value.path()).convert("RGB")), pixels(page))
    header, parts = bundle(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download all").click()
    with zipfile.ZipFile(saved.value.path()) as archive:
        assert archive.testzip() is None
        masks = [name for name in archive.namelist() if "mask" in name and name.endswith(".png")]
        read = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in masks]
    assert any(np.array_equal(mask, parts["mask.fused"]) for mask in read)
