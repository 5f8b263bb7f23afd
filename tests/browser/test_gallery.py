"""A page without a server of ours: every local thing works from `python -m http.server`."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from mfuser.config import ASSETS
from tests.browser.seen import CANVAS, SHOWN, at, bubble, bundle, hover, labels_of, pixels, pressed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """The address of a gallery of two examples."""
    out = tmp_path_factory.mktemp("gallery")
    pictures = [str(ASSETS / "examples" / f"street-0{i}.jpg") for i in (1, 2)]
    options = ["--out", str(out), "--title", "Two streets", "--queries", "car, tree"]
    subprocess.run([sys.executable, "-m", "mfuser", "gallery", *pictures, *options], cwd=ROOT, check=True, timeout=240)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "-d", str(out)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield address
    server.terminate()
    server.wait(10)


def test_everything_local_works(visit, gallery):
    page = visit(address=gallery)
    assert page.locator("h1").inner_text() == "Two streets" and page.locator(".drop").is_hidden()
    assert page.locator(".download").is_hidden()
    header, parts = bundle(page, "picture-1.mfb")
    x, y = 0.3, 0.62
    hover(page, x, y)
    expected = header["classes"][parts["mask.fused"][int(y * header["size"][0]), int(x * header["size"][1])]]
    assert bubble(page)["MFuser"][0] == expected
    page.locator(CANVAS).click(position=at(page, 0.75, 0.55))
    assert pressed(page, "layers") == "similarity"
    before = pixels(page)
    page.locator('.modes [data-choice="triple"]').click()
    pixels(page)
    assert labels_of(page) == ["VFM only", "VLM only", "MFuser"]
    page.locator('.modes [data-choice="swipe"]').click()
    page.get_by_role("button", name="Remove the point").click()
    page.get_by_role("button", name="car", exact=True).click()
    page.wait_for_function("document.querySelector('#stage-query').value === 'car'")
    assert not (pixels(page) == before).all()
    page.locator(".strip-entry").nth(1).click()
    page.wait_for_function("document.querySelector('.stage').dataset.shown === '2'")
    assert page.locator("button.rail-row").count() > 5


def test_a_text_that_is_not_in_the_list_says_which_are(visit, gallery):
    page = visit(address=gallery)
    page.get_by_label("Look for").fill("giraffe")
    page.get_by_label("Look for").press("Enter")
    page.wait_for_function("document.querySelector('.query-note').textContent")
    said = page.locator(".query-note").inner_text()
    assert "car" in said and "tree" in said and "person" not in said


def test_a_link_to_a_gallery_restores_its_view(visit, gallery):
    page = visit("example=picture-2&mode=single&model=vlm&query=tree", address=gallery)
    page.wait_for_selector(SHOWN)
    page.locator('.layers [data-choice="similarity"][aria-pressed="true"]').wait_for()
    assert page.locator('.strip-entry[aria-pressed="true"]').get_attribute("data-id") == "picture-2"
    assert page.get_by_label("Look for").input_value() == "tree" and labels_of(page) == ["VLM only"]
