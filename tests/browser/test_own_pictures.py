"""Photographs of a visitor: shown at once, analysed, refused, cancelled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mfuser.cityscapes import CLASSES
from tests.browser.seen import SHOWN, bubble, choose, hover, labels_of, pixels, segmented, upload

CAMVID = Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid" / "val" / "images"


def test_an_upload_is_seen_at_once_and_then_analysed(page, url, china):
    before = page.locator(".stage").get_attribute("data-drawn")
    choose(page, china)
    page.wait_for_function(
        "n => (s => !s.dataset.shown && s.dataset.drawn > Number(n) + 1)(document.querySelector('.stage'))",
        arg=before,
    )
    photo = np.asarray(Image.open(china).convert("RGB"), float)
    painted = pixels(page)
    assert page.locator(".rail-row").count() == 0  # no result of the picture before
    assert np.abs(painted.mean((0, 1)) - 0.5 * photo.mean((0, 1))).mean() < 120 and painted.max() > 100
    page.wait_for_selector(SHOWN)
    masks = segmented(url, china)
    for x, y in ((0.2, 0.3), (0.5, 0.5), (0.8, 0.85)):
        hover(page, x, y, 640 / 427)
        said = bubble(page)
        for title, mask in masks.items():
            around = mask[int(y * 427) - 2 : int(y * 427) + 3, int(x * 640) - 2 : int(x * 640) + 3]
            assert said[title][0] in {CLASSES[k] for k in np.unique(around)}
    assert page.locator(".strip-entry").first.get_attribute("aria-pressed") == "true"


def _gradient(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], -1)


def _files(folder: Path) -> dict[str, tuple[Path, tuple[int, int], np.ndarray]]:
    """name -> (file, size as it is seen, its content)."""
    made = {}
    for name, (height, width) in {"portrait": (640, 360), "panorama": (400, 2000), "deep": (300, 500)}.items():
        content = _gradient(height, width)
        path = folder / f"{name}.png"
        if name == "deep":
            import cv2

            cv2.imwrite(str(path), (content[..., ::-1] * 257).astype(np.uint16))
        else:
            Image.fromarray(content.astype(np.uint8)).save(path)
        made[name] = (path, (height, width), content)
    exif = Image.Exif()
    exif[274] = 6  # stored lying, to be turned clockwise
    upright = _gradient(400, 240)
    path = folder / "rotated.jpg"
    Image.fromarray(np.rot90(upright).astype(np.uint8)).save(path, exif=exif, quality=95)
    made["rotated"] = (path, (400, 240), upright)
    return made


@pytest.mark.parametrize("name", ["portrait", "panorama", "deep", "rotated"])
def test_pictures_of_every_shape_are_seen_upright_and_whole(visit, tmp_path, name):
    page = visit("mode=single&layer=masks&opacity=0")
    path, (height, width), content = _files(tmp_path)[name]
    header, _ = upload(page, path)
    assert header["size"][1] / header["size"][0] == pytest.approx(width / height, rel=0.02)
    painted = pixels(page).astype(float)
    lit = painted.max(-1) > 60
    rows, columns = np.where(lit.any(1))[0], np.where(lit.any(0))[0]
    shown = painted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert shown.shape[1] / shown.shape[0] == pytest.approx(width / height, rel=0.03)
    small = np.asarray(Image.fromarray(shown.astype(np.uint8)).resize((20, 20)), float)
    expected = np.asarray(Image.fromarray(content.astype(np.uint8)).resize((20, 20)), float)
    assert np.abs(small - expected).mean() < 8


def test_several_photographs_wait_in_the_strip(page, china, tmp_path):
    other = tmp_path / "second.png"
    Image.fromarray(_gradient(200, 300).astype(np.uint8)).save(other)
    choose(page, china, other)
    page.wait_for_selector(SHOWN)
    entries = page.locator(".strip-entry")
    names = [entries.nth(i).get_attribute("aria-label") for i in range(2)]
    assert set(names) == {"china.png", "second.png"}
    assert page.locator('.strip-entry[aria-pressed="true"]').get_attribute("aria-label") == "china.png"


def test_a_broken_file_is_one_sentence_in_place_and_no_result(page, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 this is no photograph")
    choose(page, broken)
    notice = page.locator(".stage-notice")
    page.wait_for_function("document.querySelector('.stage-notice').textContent")
    said = notice.inner_text()
    assert ("damaged" in said or "read" in said) and "/" not in said and len(said) < 300
    stage, place = page.locator(".stage").bounding_box(), notice.bounding_box()
    assert stage["y"] <= place["y"] and place["y"] + place["height"] <= stage["y"] + stage["height"]
    assert page.locator(".rail-row").count() == 0 and page.locator(".stage-cancel").is_hidden()
    assert page.get_by_role("button", name="Save picture").is_disabled()
    assert page.locator('.strip-entry[aria-label="broken.jpg"]').count() == 0
    page.locator(".strip-entry").nth(0).click()
    page.wait_for_selector(SHOWN)
    assert notice.inner_text() == "" and page.locator("button.rail-row").count() > 5


def test_cancel_leaves_nothing_half_done(page, tmp_path):
    path = tmp_path / "large.png"
    Image.fromarray(_gradient(1100, 1900).astype(np.uint8)).save(path)
    choose(page, path)
    page.locator(".stage-cancel").click()
    assert "Cancelled" in page.locator(".stage-notice").inner_text()
    page.locator('.strip-entry[data-id^="street"]').nth(0).click()
    page.wait_for_selector(SHOWN)
    assert page.locator(".stage-notice").inner_text() == "" and labels_of(page) == ["VFM only", "MFuser"]
    assert page.locator(".stage-status").inner_text() == ""


def test_a_real_drive_is_analysed(page):
    if not CAMVID.is_dir():
        pytest.skip("no CamVid photographs beside this checkout")
    header, _ = upload(page, sorted(CAMVID.glob("*.jpg"))[0])
    assert header["size"] == [360, 480] and "iou" not in header
    assert page.locator('.layers [data-choice="truth"]').is_disabled()
