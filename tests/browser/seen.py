"""What a visitor does with the stage, and what is then seen on it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import gradio_client
import numpy as np
from PIL import Image

from mfuser.stage.bundle import decode

SHOWN = ".stage[data-shown]"
CANVAS = "#stage-canvas"
SCRIPTS = Path(__file__).parent / "js"


def script(name: str) -> str:
    """A function that is evaluated in the page."""
    return (SCRIPTS / f"{name}.js").read_text(encoding="utf-8")


def bundle(page, path: str = "stage/example/0/bundle") -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and parts of a picture's bundle, by default of the first example."""
    return decode(page.request.get(page.evaluate("location.origin") + "/" + path).body())


def pixels(page) -> np.ndarray:
    """The canvas as it is painted, (H, W, 3) uint8, after the frames that are due."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    data = page.evaluate(f"document.querySelector('{CANVAS}').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",", 1)[1]))).convert("RGB"))


def box(page, aspect: float) -> tuple[float, float, float, float]:
    """Left, top, width and height of the whole picture on the canvas when it is not divided."""
    shown = page.locator(CANVAS).bounding_box()
    width = min(shown["width"], shown["height"] * aspect)
    height = width / aspect
    return (shown["width"] - width) / 2, (shown["height"] - height) / 2, width, height


def at(page, x: float, y: float, aspect: float = 2.0) -> dict[str, float]:
    """A place of the picture (0..1) as a position on the canvas."""
    left, top, width, height = box(page, aspect)
    return {"x": left + x * width, "y": top + y * height}


def hover(page, x: float, y: float, aspect: float = 2.0) -> None:
    # Not `canvas.hover`, which finds the handle of the swipe in its way.
    shown, place = page.locator(CANVAS).bounding_box(), at(page, x, y, aspect)
    page.mouse.move(shown["x"] + place["x"], shown["y"] + place["y"])


def sampled(labels: np.ndarray, page, aspect: float) -> np.ndarray:
    """A mask as it lies under every pixel of an undivided, unzoomed canvas; 255 outside of the picture."""
    left, top, width, height = box(page, aspect)
    size = page.evaluate(f"(c => [c.height, c.width])(document.querySelector('{CANVAS}'))")
    rows = ((np.arange(size[0]) + 0.5 - top) / height * labels.shape[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5 - left) / width * labels.shape[1]).astype(int)
    found = labels[rows.clip(0, labels.shape[0] - 1)][:, columns.clip(0, labels.shape[1] - 1)]
    inside = np.outer((rows >= 0) & (rows < labels.shape[0]), (columns >= 0) & (columns < labels.shape[1]))
    return np.where(inside, found, 255)


def bubble(page) -> dict[str, list[str]]:
    """Model -> [class, confidence, similarity], as the bubble says it; without its head."""
    rows = page.locator(".bubble > div:not(.head)").evaluate_all(
        "rows => rows.map(r => [...r.children].map(c => c.textContent))"
    )
    return {row[0]: row[1:] for row in rows}


def pressed(page, group: str) -> str | None:
    """Which pill of a group is pressed."""
    return page.locator(f'.{group} [aria-pressed="true"]').get_attribute("data-choice")


def labels_of(page) -> list[str]:
    return page.locator(".stage-label").all_inner_texts()


def segmented(url: str, path) -> dict[str, np.ndarray]:
    """Model -> class of each pixel, of the page's documented endpoint."""
    answer = gradio_client.Client(url, verbose=False).predict(gradio_client.handle_file(path), api_name="/segment")
    titles = ("VFM only", "VLM only", "MFuser")
    return {title: np.asarray(Image.open(found)) for title, found in zip(titles, answer[:3], strict=True)}


def choose(page, *paths) -> None:
    """Choose files as a visitor does."""
    page.locator(".strip input[type=file]").set_input_files([str(path) for path in paths])


def upload(page, path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose a file and wait until it is analysed. Returns its bundle."""
    with page.expect_response(lambda answer: "/stage/bundle/" in answer.url) as answer:
        choose(page, path)
    page.wait_for_selector(SHOWN)
    return bundle(page, "stage/bundle/" + answer.value.url.rsplit("/", 1)[1])


def cosines(parts: dict[str, Any], name: str) -> np.ndarray:
    """(N, D) patches of a bundle whose products are cosines."""
    return (parts[name].astype(np.float32) * parts[f"{name}.scale"][:, None]).T
