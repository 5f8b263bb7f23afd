"""Legends, charts and contact sheets: pure functions from numbers or pictures to (H, W, 3) uint8 RGB.

`dark` draws them for a dark page instead of a light one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mfuser import images
from mfuser.cityscapes import CLASSES, palette
from mfuser.pictures.figures import THEMES, make_axes, make_figure, render
from mfuser.pictures.visualize import STREAM_TITLES, colour_map

# Okabe and Ito's colour-blind safe hues; the lighter members on dark pages, where the deep ones lose contrast.
STREAM_COLOURS = {
    False: {"vfm": "#0072B2", "vlm": "#D55E00", "fused": "#009E73"},
    True: {"vfm": "#56B4E9", "vlm": "#E69F00", "fused": "#2BC79A"},
}
STREAM_MARKERS = {"vfm": "s", "vlm": "^", "fused": "o"}


def colour_bar(
    low: float, high: float, label: str, cmap: str = "inferno", width: int = 640, height: int = 84, dark: bool = False
) -> np.ndarray:
    """A colour bar, upright where height > width.

    Args:
        low: value at its lower end.
        high: value at its upper end.
        label: its text.
        cmap: one of `visualize.COLOUR_MAPS`.
        width: in pixels.
        height: in pixels.
        dark: for a dark page.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    figure = make_figure(width, height, dark)
    axes = figure.add_subplot()
    upright = height > width
    norm = Normalize(low, high if high > low else low + 0.1)
    bar = figure.colorbar(
        ScalarMappable(norm, colour_map(cmap)), cax=axes, orientation="vertical" if upright else "horizontal"
    )
    bar.outline.set_visible(False)
    bar.set_label(label, parse_math=False, size=8, color=THEMES[dark][1])
    bar.ax.tick_params(labelsize=7.5, length=2.5, colors=THEMES[dark][1])
    return render(figure)


def legend(shares: Mapping[str, float], classes: Sequence[str] = CLASSES) -> list[tuple[str, str, float]]:
    """Rows of a legend.

    Args:
        shares: {class name: fraction of pixels}.
        classes: the class list that has these names, which decides their colours.

    Returns:
        (class name, "#rrggbb", fraction), the largest first. Classes without a pixel are left out.

    Raises:
        ValueError: a name is not in the list.
    """
    unknown = sorted(set(shares) - set(classes))
    if unknown:
        raise ValueError(f"No colour is known for {', '.join(unknown)}; pass the class list that has it.")
    colours = dict(zip(classes, map(to_hex, palette(classes) / 255), strict=True))
    rows = [(name, colours[name], float(share)) for name, share in shares.items()]
    return sorted((row for row in rows if row[2] > 0), key=lambda row: (-row[2], row[0]))


def legend_picture(
    shares: Mapping[str, float], width: int = 960, dark: bool = False, classes: Sequence[str] = CLASSES
) -> np.ndarray:
    """The legend as a picture: swatch, name and share, in columns.

    Args:
        shares: {class name: fraction of pixels}.
        width: in pixels.
        dark: for a dark page.
        classes: the class list that has these names.

    Returns:
        (h, width, 3) uint8 RGB. The number of rows decides h.
    """
    rows, columns, line = legend(shares, classes), max(1, width // 235), 30
    height = line * max(1, -(-len(rows) // columns)) + 12
    figure = make_figure(width, height, dark, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for index, (name, colour, share) in enumerate(rows):
        x, y = 12 + (index % columns) * (width - 12) / columns, 6 + line * (index // columns)
        axes.add_patch(Rectangle((x, y + 7), 22, 16, facecolor=colour, edgecolor=THEMES[dark][1], linewidth=0.3))
        text = f"{name if len(name) <= 26 else name[:25] + '…'}  {_percent(share)}"
        axes.text(x + 30, y + 15, text, va="center", color=THEMES[dark][1], size=7.5, parse_math=False)
    return render(figure)


def class_bars(
    shares_by_stream: Mapping[str, Mapping[str, float]],
    label: str = "share of pixels",
    width: int = 960,
    dark: bool = False,
    titles: Mapping[str, str] = STREAM_TITLES,
) -> np.ndarray:
    """Grouped horizontal bars per class, the most frequent class on top; for shares or IoU.

    Args:
        shares_by_stream: {stream: {class name: fraction in [0, 1]}}. NaN and missing classes draw no bar. Classes that
            reach 0.05 % in no stream are left out.
        label: of the axis.
        width: in pixels.
        dark: for a dark page.
        titles: {stream: title}.

    Returns:
        (h, width, 3) uint8 RGB. The number of classes decides h.
    """
    names = {name for shares in shares_by_stream.values() for name in shares}
    best = {n: max((float(np.nan_to_num(s.get(n, 0))) for s in shares_by_stream.values()), default=0) for n in names}
    shown = sorted((name for name in names if best[name] >= 5e-4), key=lambda name: (-best[name], name))
    figure = make_figure(width, 120 + max(1, len(shown)) * (16 * len(shares_by_stream) + 14), dark)
    axes = make_axes(figure, dark, grid="x")
    thickness = 0.8 / max(1, len(shares_by_stream))
    for index, (stream, shares) in enumerate(shares_by_stream.items()):
        places = np.arange(len(shown)) + (index - (len(shares_by_stream) - 1) / 2) * thickness
        values = 100 * np.nan_to_num([shares.get(name, 0.0) for name in shown])
        title = titles.get(stream, stream)
        axes.barh(places, values, thickness * 0.9, color=_stream_colour(stream, index, dark), label=title)
    axes.set_yticks(np.arange(len(shown)), shown, parse_math=False)
    axes.set_ylim(max(1, len(shown)) - 0.4, -0.6)
    axes.set_xlabel(f"{label} (%)", parse_math=False)
    _stream_legend(figure, axes, dark)
    return render(figure)


def retention_chart(
    series: Mapping[str, Mapping[float, float]],
    label: str = "mIoU",
    title: str = "",
    width: int = 960,
    height: int = 520,
    dark: bool = False,
) -> np.ndarray:
    """One line per stream over severity.

    Args:
        series: {stream: {severity: value in [0, 1]}}. Severity 0 is clear weather. NaN leaves a gap.
        label: of the axis.
        title: of the chart.
        width: in pixels.
        height: in pixels.
        dark: for a dark page.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    figure = make_figure(width, height, dark)
    axes = make_axes(figure, dark, grid="y")
    severities = sorted({severity for line in series.values() for severity in line})
    for index, (stream, line) in enumerate(series.items()):
        x = sorted(line)
        style = dict(marker=STREAM_MARKERS.get(stream, "D"), markersize=5, linewidth=2.4 if stream == "fused" else 1.7)
        colour, name = _stream_colour(stream, index, dark), STREAM_TITLES.get(stream, stream)
        axes.plot(x, [100 * line[s] for s in x], color=colour, label=name, clip_on=False, zorder=3, **style)
    axes.set_xticks(severities, ["clear" if severity == 0 else f"{severity:g}" for severity in severities])
    top = max([100 * v for line in series.values() for v in line.values() if np.isfinite(v)], default=100)
    axes.set_ylim(0, max(100, top) if top > 50 else max(5, top * 1.15))  # a share of clear may exceed 1
    axes.set_xlabel("severity")
    axes.set_ylabel(f"{label} (%)", parse_math=False)
    _stream_legend(figure, axes, dark, title)
    return render(figure)


def cosine_matrix(
    matrix: np.ndarray,
    names: Sequence[str],
    title: str = "",
    scale: tuple[float, float] | None = None,
    width: int = 960,
    dark: bool = False,
) -> np.ndarray:
    """Cosines between classes, with the numbers in the cells.

    Args:
        matrix: (K, K) float in [-1, 1].
        names: K class names.
        title: of the chart.
        scale: (low, high) of the colours. Give the same to two matrices that are compared.
        width: in pixels.
        dark: for a dark page.

    Returns:
        (width, width, 3) uint8 RGB.

    Raises:
        ValueError: names and matrix do not match.
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"A cosine matrix of {len(names)} names must be square of that size, got {matrix.shape}.")
    low, high = scale or (float(np.nanmin(matrix)), 1.0)
    figure = make_figure(width, width, dark)
    axes = make_axes(figure, dark)
    picture = axes.imshow(matrix, cmap="viridis", norm=Normalize(low, max(high, low + 1e-3)))
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.spines[:].set_visible(False)
    if len(names) <= 24:
        for row, column in np.ndindex(matrix.shape):
            ink = "#111111" if picture.norm(matrix[row, column]) > 0.6 else "#ffffff"
            text = f"{matrix[row, column]:.2f}".replace("0.", ".", 1) if np.isfinite(matrix[row, column]) else ""
            axes.text(column, row, text, ha="center", va="center", color=ink, size=min(6.5, 100 / len(names)))
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=2, colors=THEMES[dark][1])
    if title:
        axes.set_title(title, color=THEMES[dark][1], size=9.5, weight="bold", pad=10, parse_math=False)
    return render(figure)


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    cell_width: int = 480,
    dark: bool = False,
) -> np.ndarray:
    """Pictures in a labelled grid.

    Cells take the shape of the first picture. Others are fitted inside and centred.

    Args:
        rows: lists of (H, W, 3) uint8 pictures, None for a cell that does not exist.
        row_titles: one per row.
        column_titles: one per column.
        cell_width: in pixels.
        dark: for a dark page.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: titles and pictures do not match, or there is no picture.
    """
    pictures = [picture for row in rows for picture in row if picture is not None]
    if not pictures or len(rows) != len(row_titles) or any(len(row) != len(column_titles) for row in rows):
        raise ValueError("A contact sheet needs pictures, one title per row and one title per column.")
    cell_height = max(1, round(cell_width * pictures[0].shape[0] / pictures[0].shape[1]))
    left, top, gap = 46, 50, 8
    width = left + len(column_titles) * (cell_width + gap)
    height = top + len(rows) * (cell_height + gap)
    figure = make_figure(width, height, dark, layout=None)
    style = dict(ha="center", va="center", color=THEMES[dark][1], weight="bold", parse_math=False)
    grid = np.ndindex(len(rows), len(column_titles))
    corners = [(left + c * (cell_width + gap), top + r * (cell_height + gap)) for r, c in grid]
    for c, title in enumerate(column_titles):
        figure.text((corners[c][0] + cell_width / 2) / width, 1 - top / 2 / height, title, size=10.5, **style)
    for r, title in enumerate(row_titles):
        y = 1 - (top + r * (cell_height + gap) + cell_height / 2) / height
        figure.text(left / 2 / width, y, title, rotation=90, size=9.5, **style)
    for (x, y), picture in zip(corners, (p for row in rows for p in row), strict=True):
        if picture is None:
            centre = ((x + cell_width / 2) / width, 1 - (y + cell_height / 2) / height)
            figure.text(*centre, "not available", ha="center", va="center", color=THEMES[dark][1], alpha=0.6, size=8.5)
    sheet = render(figure)
    for (x, y), picture in zip(corners, (p for row in rows for p in row), strict=True):
        if picture is None:
            continue
        scale = min(cell_width / picture.shape[1], cell_height / picture.shape[0])
        h, w = max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale))
        x, y = x + (cell_width - w) // 2, y + (cell_height - h) // 2
        sheet[y : y + h, x : x + w] = images.resize(picture, h, w)
    return sheet


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 1e-3 else f"{100 * share:.1f} %"


def _stream_colour(stream: str, index: int, dark: bool) -> str:
    colours = STREAM_COLOURS[dark]
    return colours.get(stream) or ("#CC79A7", "#F0E442" if dark else "#8A7A00", "#999999")[index % 3]


def _stream_legend(figure: Figure, axes: matplotlib.axes.Axes, dark: bool, title: str = "") -> None:
    handles, labels = axes.get_legend_handles_labels()
    style = dict(loc="outside upper center", ncols=max(1, len(labels)), frameon=False, fontsize=8)
    box = figure.legend(handles, labels, labelcolor=THEMES[dark][1], title=title or None, **style)
    box.get_title().set(color=THEMES[dark][1], size=9.5, weight="bold", parse_math=False)
