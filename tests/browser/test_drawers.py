"""The drawers below the stage in a real browser, against the numbers of the API."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

import gradio_client
import numpy as np
import pytest
from PIL import Image

from mfuser import images
from mfuser.cityscapes import CLASSES, LABEL_IDS
from mfuser.demo import examples

MILLISECONDS = 60_000


@pytest.fixture(scope="module")
def example():
    return examples.find()[0]


@pytest.fixture
def stage(browser, url) -> Iterator:
    """A visitor who sees the first example on the stage. Afterwards: no other host, no error in the console."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    visit, foreign, complaints = context.new_page(), [], []
    visit.set_default_timeout(MILLISECONDS)
    visit.on("request", lambda r: foreign.append(r.url) if not r.url.startswith((url, "data:", "blob:")) else None)
    visit.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    visit.on("pageerror", lambda error: complaints.append(str(error)))
    visit.goto(url)
    visit.wait_for_selector(".rail-row")
    yield visit
    context.close()
    assert foreign == [] and [text for text in complaints if "400" not in text] == []


def pixels(visit, encoder: str, what: str) -> np.ndarray:
    """(h, w) brightness of a picture of the drawer, as it is drawn."""
    found = visit.evaluate(
        """([encoder, what]) => {
          const canvas = document.querySelector(`.inside-grid canvas[data-encoder="${encoder}"][data-what="${what}"]`);
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [canvas.height, canvas.width, Array.from(data)];
        }""",
        [encoder, what],
    )
    return np.array(found[2], float).reshape(found[0], found[1], 4)[..., :3] @ [0.299, 0.587, 0.114]


def same_order(drawn: np.ndarray, exact: np.ndarray) -> bool:
    """Is brightness a growing function of the values, but for rounding? Values above the scale share a colour."""
    order = np.argsort(exact.ravel())[: int(0.95 * exact.size)]
    return bool(np.corrcoef(drawn.ravel()[order], exact.ravel()[order])[0, 1] > 0.97)


def test_inside_is_fetched_once_and_then_drawn_here(stage, url, example):
    requests: list[str] = []
    stage.on("request", lambda r: requests.append(r.url))
    stage.locator(".drawer-inside summary").click()
    stage.wait_for_selector(".inside-grid canvas")
    assert len([r for r in requests if "/stage/inside/" in r]) == 1 == len([r for r in requests if "/stage/" in r])
    api, photo = gradio_client.Client(url, verbose=False), gradio_client.handle_file(str(example.path))
    picture = stage.locator('.inside-grid canvas[data-what="moved"]').first
    box = picture.bounding_box()
    picture.click(position={"x": 0.71 * box["width"], "y": 0.62 * box["height"]})
    stage.get_by_label("Block 3 of 6").click()
    answer, *_ = api.predict(photo, block=3, x=0.71, y=0.62, api_name="/inside")
    for encoder in ("vfm", "vlm"):
        exact = np.array(answer["maps"][encoder])
        assert same_order(pixels(stage, encoder, "moved"), exact)
        row, column = int(0.62 * exact.shape[0]), int(0.71 * exact.shape[1])
        similar = pixels(stage, encoder, "similarity after")
        assert similar[row, column] >= 0.97 * similar.max(), "nothing is more like the patch than itself"
    told = stage.locator(".inside-chart svg").get_attribute("aria-label")
    expected = [f"{block['vfm']['patch']:.1f}" for block in answer["blocks"]]
    shown = re.search(r"VFM ([\d., ]+)", told)[1].split(", ")
    assert np.allclose([float(v) for v in shown], [float(v) for v in expected], atol=0.11)
    assert f"{answer['blocks'][2]['vlm']['median']:.2f}" in stage.locator(".inside-says").inner_text()
    picture.locator("xpath=..").press("Enter")
    exact = np.array(answer["maps"]["vfm"])
    _, column = np.unravel_index(exact.argmax(), exact.shape)
    stage.locator(".point-chip", has_text=f"{round(100 * (column + 0.5) / exact.shape[1])} %").wait_for()
    stage.get_by_label("Block", exact=True).fill("6")
    assert stage.get_by_label("Block 6 of 6").get_attribute("aria-pressed") == "true"
    before = pixels(stage, "vlm", "moved")
    stage.get_by_role("button", name="Play").click()
    stage.wait_for_function("document.querySelector('.inside-blocks [aria-pressed=true]').textContent !== '6'")
    assert not np.array_equal(before, pixels(stage, "vlm", "moved"))
    stage.get_by_role("button", name="Stop", exact=True).click()
    assert len([r for r in requests if "/stage/" in r]) == 1, "looking is local"


def test_inside_follows_the_picture_on_the_stage(stage):
    stage.locator(".drawer-inside summary").click()
    stage.wait_for_selector(".inside-grid canvas")
    before = pixels(stage, "vfm", "moved")
    with stage.expect_response(lambda r: "/stage/inside/" in r.url):
        stage.locator(".strip-entry").nth(1).click()
    stage.wait_for_selector(".inside-view:not([hidden])")
    assert not np.array_equal(before, pixels(stage, "vfm", "moved"))


def test_ones_own_labels_give_scores_errors_and_a_table(stage, url, example, tmp_path):
    answer = gradio_client.Client(url, verbose=False).predict(
        gradio_client.handle_file(str(example.path)), api_name="/segment"
    )
    fused = np.asarray(Image.open(answer[2]))
    label = images.save(tmp_path / "label.png", np.array(LABEL_IDS, np.uint8)[fused])
    stage.locator(".drawer-truth summary").click()
    stage.locator(".truth-file input").set_input_files(str(label))
    stage.locator(".drawer-truth .drawer-status", has_text="labelIds").wait_for()
    mean = stage.locator(".rail-row", has_text="mean").locator(".rail-bar")
    assert mean.nth(2).inner_text() == "100.0 %" and mean.nth(0).inner_text() != "100.0 %"
    assert stage.get_by_role("button", name="Errors").get_attribute("aria-pressed") == "true"
    with stage.expect_download() as download:
        stage.get_by_role("button", name="Download CSV").click()
    rows = {row["class"]: row for row in csv.DictReader(download.value.path().open())}
    vfm = np.asarray(Image.open(answer[0]))
    road = CLASSES.index("road")
    both, either = ((vfm == road) & (fused == road)).sum(), ((vfm == road) | (fused == road)).sum()
    assert float(rows["road"]["vfm"]) == pytest.approx(both / either, abs=1e-5) and float(rows["mean"]["fused"]) == 1


def test_labels_of_another_size_are_one_sentence_and_change_nothing(stage, tmp_path):
    label = images.save(tmp_path / "label.png", np.zeros((50, 60), np.uint8))
    before = stage.locator(".rail-classes").inner_text()
    stage.locator(".drawer-truth summary").click()
    stage.locator(".truth-file input").set_input_files(str(label))
    stage.locator(".drawer-truth .drawer-status", has_text="60 x 50").wait_for()
    assert stage.locator(".rail-classes").inner_text() == before
