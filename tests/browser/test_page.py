"""The real app in a real browser: started once as a subprocess, driven in headless Chromium."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mfuser import images
from mfuser.cityscapes import CLASSES, colorize

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")
gradio_client = pytest.importorskip("gradio_client", reason="needs gradio_client")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    assert not os.environ.get("CI"), "the page must be tested in CI: install chromium"
    pytest.skip("needs a chromium executable", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
CAMVID = ROOT.parent / "shared" / "data" / "camvid" / "val" / "images"
MILLISECONDS = 60_000  # the most to wait for one answer, on a busy machine


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """The address of a running app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port)]
    folder = tmp_path_factory.mktemp("app")
    # One thread: on a machine that is busy with other tests, threads that wait for each other take minutes.
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder / "uploads"), "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        app = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while not _answers(address):
            text = (folder / "log.txt").read_text()
            assert app.poll() is None and time.monotonic() < deadline, f"the app did not start:\n{text}"
            time.sleep(0.2)
        yield address
    finally:
        app.terminate()
        app.wait(30)
    left = [path.name for path in (folder / "uploads").rglob("*") if path.is_file()]
    assert not any("street" not in name for name in left), left  # the page promises that uploads are deleted
    text = (folder / "log.txt").read_text()
    assert "Traceback" not in text, text


@pytest.fixture(scope="module")
def china(tmp_path_factory) -> Path:
    datasets = pytest.importorskip("sklearn.datasets")
    return images.save(tmp_path_factory.mktemp("photo") / "china.png", datasets.load_sample_image("china.jpg"))


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, url) -> Iterator:
    """A new visitor. Afterwards: no request to another host, no error in the console."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    visit, foreign, complaints = context.new_page(), [], []
    visit.set_default_timeout(MILLISECONDS)
    visit.on("request", lambda r: foreign.append(r.url) if not r.url.startswith((url, "data:", "blob:")) else None)
    visit.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    visit.on("pageerror", lambda error: complaints.append(str(error)))
    visit.goto(url)
    visit.wait_for_selector("#matrix .tile.mask img.layer")
    yield visit
    context.close()
    assert foreign == []
    assert complaints == []


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
    answer = client(url).predict(gradio_client.handle_file(china), api_name="/segment")
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


def test_weather_shows_both_and_follows_its_controls(page):
    page.get_by_role("tab", name="Adverse weather").click()
    page.locator("#weather-grid h3", has_text="Fog, severity 3").wait_for()
    photos = page.locator("#weather-grid .tile.photo img")
    assert photos.count() == 2 and page.locator("#weather-grid .tile.mask").count() == 6
    clear, fog = picture_of(photos.nth(0)), picture_of(photos.nth(1))
    assert different(clear, fog)
    assert np.asarray(fog).std() < np.asarray(clear).std()  # fog takes contrast
    page.get_by_label("Night").check()
    page.locator("#weather-grid h3", has_text="Fog + night, severity 3").wait_for()
    assert np.asarray(picture_of(photos.nth(1))).mean() < 0.7 * np.asarray(fog).mean()
    scores = page.locator("#weather-grid .foot .score").all_inner_texts()
    assert len(scores) == 6 and all(re.search(r"\d+\.\d %", s) for s in scores)


def test_an_example_is_shown_in_weather_rendered_in_its_scene(page):
    page.get_by_role("tab", name="Adverse weather").click()
    page.locator("#weather-grid h3", has_text="Fog, severity 3").wait_for()
    simulated = picture_of(page.locator("#weather-grid .tile.photo img").nth(1))
    page.get_by_label("rendered in the scene").check()
    page.locator("#weather-grid h3", has_text="Fog, rendered in the scene").wait_for()
    assert different(simulated, picture_of(page.locator("#weather-grid .tile.photo img").nth(1)))
    assert "real mIoU" in page.locator("#weather-grid .foot .score").all_inner_texts()[1]
    page.get_by_label("Night").check()
    page.locator("#weather-notice .notice", has_text="one condition at a time").wait_for()


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


def test_documented_endpoints_answer(url, china):
    api = client(url)
    endpoints = api.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/analyse", "/similarity", "/segment", "/weather"}
    assert all(len(endpoint["description"]) > 80 for endpoint in endpoints.values())
    photo = gradio_client.handle_file(china)
    summary, *features = api.predict(photo, api_name="/analyse")
    assert summary["size"] == [427, 640] and set(summary["shares"]) == {"vfm", "vlm", "fused"}
    assert [Image.open(path).size for path in features] == [(640, 427)] * 3
    answer, nothing, *heat = api.predict(photo, "car", api_name="/similarity")
    grid = np.array(answer["maps"]["fused"])
    assert nothing is None and len(heat) == 2 and np.abs(grid).max() <= 1
    *_, scores = api.predict(photo, "rain+night", 2, 1, api_name="/weather")
    assert 0 <= scores["consistency"]["fused"] <= 1 and scores["miou"] is None and "rain" in scores["parameters"]
    with pytest.raises(Exception, match="Unknown weather 'hail'"):
        api.predict(photo, "hail", api_name="/weather")


def test_a_real_drive_is_analysed(page):
    if not CAMVID.is_dir():
        pytest.skip("no CamVid photographs beside this checkout")
    upload(page, sorted(CAMVID.glob("*.jpg"))[0])
    assert "480 × 360" in page.locator("#ran").inner_text()
    assert "mIoU" not in page.locator("#matrix .foot").first.inner_text()


def _answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=2).status == 200
    except OSError:
        return False


def client(url: str):
    return gradio_client.Client(url, verbose=False)


def choose(page, path: Path) -> None:
    """Take the present picture away, then choose a file as a visitor does."""
    page.locator("#photo").get_by_label("Remove Image").click()
    page.locator("#photo input[type=file]").set_input_files(str(path))


def upload(page, path: Path) -> None:
    """Choose a file and wait until the matrix is about it."""
    before = page.locator("#matrix img.below").first.get_attribute("src")
    choose(page, path)
    page.wait_for_function(
        "before => { const i = document.querySelector('#matrix img.below'); return i && i.src !== before; }", arg=before
    )


def loaded_photo(page):
    """The picture in the photo input, once the browser has decoded it."""
    page.wait_for_function("(i => i && i.complete && i.naturalWidth > 0)(document.querySelector('#photo img'))")
    return page.locator("#photo img").first


def picture_of(image) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(image.get_attribute("src").split(",", 1)[1])))


def layers(page, kind: str) -> list[Image.Image]:
    shown = page.locator(f"#matrix .tile.{kind} img.layer")
    return [picture_of(shown.nth(i)) for i in range(shown.count())]


def different(a: Image.Image, b: Image.Image) -> bool:
    return a.size != b.size or np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).mean() > 0.5


def marker(page) -> tuple[float, float]:
    """Left and top in percent."""
    style = page.locator("#matrix .marker").first.get_attribute("style")
    return tuple(float(n) for n in re.findall(r"([\d.]+)%", style))
