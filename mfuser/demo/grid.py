"""The frame that holds pictures in columns: scrolls sideways on a phone, names classes under the pointer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

import gradio as gr

from mfuser.inference.analysis import Analysis

SCRIPT = (Path(__file__).parent / "grid.js").read_text(encoding="utf-8")


def grid(cells: Iterable[str], columns: int, label: str, analysis: Analysis) -> str:
    """Cells row by row; those of class "band" take a whole row. analysis: whose classes the colours of masks mean."""
    colours = (",".join(map(str, colour)) for colour in analysis.palette.tolist())
    names = escape(json.dumps(dict(zip(colours, analysis.classes, strict=True))), quote=True)
    return (
        f'<div class="grid-frame" data-names="{names}" role="region" aria-label="{escape(label)}" tabindex="-1">'
        f'<div class="pictures columns-{columns}">{"".join(cells)}</div></div>'
    )


def component(value: str, elem_id: str) -> gr.HTML:
    """A gr.HTML for grids."""
    return gr.HTML(value, elem_id=elem_id, js_on_load=SCRIPT, apply_default_css=False)
