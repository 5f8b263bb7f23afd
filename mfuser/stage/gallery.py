"""A page without a server: the stage, and the bundles of a few pictures, as files for any web server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from mfuser import images
from mfuser.inference.analysis import Analysis
from mfuser.stage import files, scales
from mfuser.stage.bundle import add_to_header, encode
from mfuser.stage.texts import query
from mfuser.writing import write_bytes

QUERIES = ("car", "person", "tree", "traffic light", "something red", "road", "building", "sky", "bicycle", "truck")
THUMBNAIL = 208  # pixels wide

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<meta name="description" content="What a vision foundation model, a vision-language model and their fusion see.">
<link rel="icon" href="data:,">
<meta property="og:title" content="{title}">
<link rel="stylesheet" href="stage.css">
<link rel="stylesheet" href="drawers.css">
<style>body {{ margin: 0 auto; max-width: 1500px; padding: 12px clamp(8px, 2vw, 24px); background: #f5f7f9;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}
  @media (prefers-color-scheme: dark) {{ body {{ background: #0e1116; color: #eef2f6; }} }}</style>
<script>if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.classList.add("dark");</script>
{stage}
<script type="module" src="gallery.js"></script>
</html>
"""


def write_gallery(
    out: Path,
    pictures: Sequence[tuple[str, Analysis]],
    title: str = "MFuser",
    queries: Sequence[str] = QUERIES,
    measured: scales.Scales | None = None,
) -> list[Path]:
    """Write a folder that opens from any web server.

    Args:
        out: the folder; it exists. Files of an earlier gallery in it are replaced one by one.
        pictures: name and analysis of each picture.
        title: of the page.
        queries: texts that can be looked for.
        measured: the model's scale of similarity, None where nobody measured one.

    Returns:
        The files written.
    """
    entries: list[dict[str, Any]] = []
    written = []
    for number, (name, analysis) in enumerate(pictures, 1):
        bundle = encode(analysis, extra={"scales": scales.header(measured)})
        asked = [query(text, analysis.encode_text, [text], bundle.text_bases, measured) for text in queries]
        written.append(_write(out / f"picture-{number}.mfb", add_to_header(bundle.data, {"queries": asked})))
        height, width = analysis.size
        small = images.resize(analysis.image, max(1, round(THUMBNAIL * height / width)), THUMBNAIL)
        written.append(_write(out / f"picture-{number}.jpg", images.encode(small, ".jpg", 80)))
        thumbnail = f"picture-{number}.jpg"
        entries.append(
            {"id": f"picture-{number}", "title": name, "thumbnail": thumbnail, "bundle": f"picture-{number}.mfb"}
        )
    for name, source in files.static_files().items():
        written.append(_write(out / name, source.read_bytes()))
    about = {"pictures": entries, "heat": files.heat()}
    written.append(_write(out / "gallery.json", json.dumps(about).encode()))
    page = _PAGE.format(title=escape(title), stage=files.fragment(title))
    return [*written, _write(out / "index.html", page.encode())]


def _write(path: Path, data: bytes) -> Path:
    write_bytes(path, data)
    return path
