"""The page without a server: everything that its files ask for is among them."""

from __future__ import annotations

import json
import re

from mfuser.stage import bundle
from mfuser.stage.gallery import write_gallery


def test_every_file_that_is_asked_for_is_written(nano_analysis, tmp_path):
    written = {path.name for path in write_gallery(tmp_path, [("A street", nano_analysis)], queries=["car"])}
    page = (tmp_path / "index.html").read_text()
    asked = set(re.findall(r'<(?:link|script)[^>]* (?:href|src)="([^"]+)"', page))
    assert {"stage.css", "drawers.css", "gallery.js"} <= asked
    for script in tmp_path.glob("*.js"):
        asked |= set(re.findall(r'from "\./([^"]+)"', script.read_text()))
    (entry,) = json.loads((tmp_path / "gallery.json").read_text())["pictures"]
    asked = {name for name in asked if not name.startswith("data:")}
    assert asked | {entry["bundle"], entry["thumbnail"]} <= written
    header, _ = bundle.decode((tmp_path / entry["bundle"]).read_bytes())
    assert header["queries"][0]["text"] == "car"
