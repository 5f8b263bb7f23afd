"""A matplotlib figure on a light or a dark page, and its pixels.

Figure objects only, no pyplot state, so that handlers may draw from several threads.
"""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

THEMES = {False: ("#ffffff", "#1f2937", "#d8dce2"), True: ("#18181b", "#f1f1f3", "#3f3f46")}  # dark: page, ink, grid
_DPI = 160


def make_figure(width: int, height: int, dark: bool, layout: str | None = "constrained") -> Figure:
    """An empty figure.

    Args:
        width: in pixels.
        height: in pixels.
        dark: for a dark page.
        layout: "constrained", or None to leave every position to the caller.
    """
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=THEMES[dark][0], layout=layout)
    if layout == "constrained":
        pad = min(0.08, 0.05 * min(figure.get_size_inches()))  # inches, so that nothing touches the rim
        figure.get_layout_engine().set(w_pad=pad, h_pad=pad)
    FigureCanvasAgg(figure)
    return figure


def make_axes(
    figure: Figure, dark: bool, grid: str | None = None, place: tuple[int, int, int] = (1, 1, 1)
) -> matplotlib.axes.Axes:
    """Axes in the colours of the page.

    Args:
        figure: to add them to.
        dark: for a dark page.
        grid: "x" or "y", the axis whose values have lines; None for no lines.
        place: rows and columns of axes in the figure, and the number of these axes, from 1.
    """
    page, ink, line = THEMES[dark]
    axes = figure.add_subplot(*place, facecolor=page)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(line)
    axes.tick_params(colors=ink, labelsize=7.5, length=0)
    axes.xaxis.label.set(color=ink, size=8)
    axes.yaxis.label.set(color=ink, size=8)
    if grid:
        axes.grid(axis=grid, color=line, linewidth=0.7)
        axes.set_axisbelow(True)
    return axes


def render(figure: Figure) -> np.ndarray:
    """Draw a figure.

    Args:
        figure: of `make_figure`.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
