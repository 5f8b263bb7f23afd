"""What a visitor does with the page, and what is then seen on it."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image


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
