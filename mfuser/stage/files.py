"""The stage's own files: its page fragment, style sheet and scripts, and the colour map."""

from __future__ import annotations

from html import escape
from pathlib import Path

import matplotlib
import numpy as np

STATIC = Path(__file__).parent / "static"
HEAT = "inferno"  # perceptually uniform


def fragment(title: str = "MFuser", sentence: str = "Two frozen vision models, one small bridge.") -> str:
    """The HTML of the stage, without a page around it.

    Args:
        title: heading of the page, as plain text.
        sentence: beside the title, as plain text.
    """
    html = (STATIC / "stage.html").read_text(encoding="utf-8")
    return html.replace("{title}", escape(title)).replace("{sentence}", escape(sentence))


def heat() -> str:
    """The colour map of similarity as 256 colours of 6 hex digits."""
    colours = np.round(255 * matplotlib.colormaps[HEAT](np.linspace(0, 1, 256))[:, :3]).astype(int)
    return "".join(f"{r:02x}{g:02x}{b:02x}" for r, g, b in colours)


def static_files() -> dict[str, Path]:
    """Name -> file of everything that a browser fetches."""
    return {path.name: path for path in sorted(STATIC.iterdir()) if path.suffix in (".js", ".css")}
