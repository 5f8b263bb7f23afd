"""Pictures of features, similarities and masks: pure functions, arrays in, arrays out. No model code, no page code.

Pictures are (H, W, 3) uint8 RGB. Charts take `dark` so that they sit on a light or a dark page, and are drawn with
matplotlib's Figure objects only: no pyplot state, so handlers may call them from several threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.decomposition import PCA

from mfuser.cityscapes import CLASSES, IGNORE, PALETTE, colorize, group_table

STREAM_TITLES = {"vfm": "VFM only", "vlm": "VLM only", "fused": "MFuser"}
# Okabe and Ito's colour-blind safe hues; the lighter members on dark pages, where the deep ones lose contrast.
STREAM_COLOURS = {
    False: {"vfm": "#0072B2", "vlm": "#D55E00", "fused": "#009E73"},
    True: {"vfm": "#56B4E9", "vlm": "#E69F00", "fused": "#2BC79A"},
}
STREAM_MARKERS = {"vfm": "s", "vlm": "^", "fused": "o"}
COLOUR_MAPS = ("inferno", "viridis", "magma", "plasma", "cividis")  # the perceptually uniform ones
GREY = 128
_DPI = 160
_THEMES = {False: ("#ffffff", "#1f2937", "#d8dce2"), True: ("#18181b", "#f1f1f3", "#3f3f46")}  # page, ink, grid


# ------------------------------------------------------------------------------------------------ pictures


def pca_rgb(tokens: np.ndarray, size: tuple[int, int], foreground: np.ndarray | None = None) -> np.ndarray:
    """First three principal components of a token grid as red, green and blue (as DINOv2, Oquab et al. 2023, Fig. 1).

    Each component is stretched between its 1st and 99th percentile. Signs are fixed by the rule that the loading of
    largest magnitude is positive. A component without variance (constant tokens, C < 3) is mid-grey.
    tokens: (h, w, C) float; size: (H, W) in pixels; foreground: (h, w) bool, the tokens to fit and show, the rest grey.
    Returns: (H, W, 3) uint8. Raises ValueError for a wrong shape or tokens that are not finite.
    """
    tokens = np.asarray(tokens, dtype=np.float32)
    if tokens.ndim != 3 or tokens.size == 0:
        raise ValueError(f"pca_rgb needs tokens of shape (h, w, C), got {tokens.shape}; reshape to the patch grid.")
    if not np.isfinite(tokens).all():
        raise ValueError("pca_rgb cannot show tokens that are NaN or infinite; run the encoder in a wider precision.")
    h, w, channels = tokens.shape
    chosen = np.ones((h, w), bool) if foreground is None else np.asarray(foreground, bool)
    if chosen.shape != (h, w):
        raise ValueError(f"The foreground is {chosen.shape} but the token grid is {(h, w)}; give one flag per token.")
    rows = tokens[chosen].astype(np.float64)  # (N, C)
    grid = np.full((h, w, 3), float(GREY), np.float32)
    magnitude = np.abs(rows).max(initial=0.0)
    if len(rows) >= 2 and np.ptp(rows, axis=0).max() > 1e-6 * magnitude:
        pca = PCA(n_components=min(3, len(rows), channels), random_state=0)
        scores = pca.fit_transform(rows)  # (N, n)
        loadings = pca.components_  # (n, C)
        largest = np.abs(loadings).argmax(axis=1)
        scores *= np.sign(loadings[np.arange(len(loadings)), largest])
        low, high = np.percentile(scores, (1, 99), axis=0)
        # Round-off dresses up as a component where the tokens have fewer than three dimensions.
        real = np.sqrt(pca.explained_variance_) > 1e-5 * np.sqrt(pca.explained_variance_[0])
        flat = high - low <= 1e-9 * np.ptp(scores, axis=0)  # a few outliers on a constant: stretch over the full range
        low, high = np.where(flat, scores.min(axis=0), low), np.where(flat, scores.max(axis=0), high)
        stretched = 255 * (scores - low) / np.where(high > low, high - low, 1)
        grid[chosen, : scores.shape[1]] = np.where(real, stretched.clip(0, 255), GREY)
    return np.rint(_resize(grid, size).clip(0, 255)).astype(np.uint8)


def heat(values: np.ndarray, low: float, high: float, cmap: str = "inferno") -> np.ndarray:
    """Colour a map. values: (H, W) float, clipped to [low, high]; NaN is drawn as low. Returns: (H, W, 3) uint8."""
    values = np.nan_to_num(np.asarray(values, np.float32), nan=low, posinf=high, neginf=low)
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return _colour_map(cmap)(scaled.clip(0, 1), bytes=True)[..., :3].copy()


def overlay(image: np.ndarray, colour: np.ndarray, opacity: float) -> np.ndarray:
    """Blend two (H, W, 3) uint8 pictures; opacity 0 shows image, 1 shows colour. Raises ValueError if sizes differ."""
    _same_size(image, colour)
    opacity = float(np.clip(opacity, 0, 1))
    return cv2.addWeighted(np.ascontiguousarray(image), 1 - opacity, np.ascontiguousarray(colour), opacity, 0)


def boundaries(mask: np.ndarray, width: int = 1) -> np.ndarray:
    """Borders between classes. mask: (H, W) integers; width in pixels. Returns: (H, W) bool."""
    mask = np.asarray(mask)
    edges = np.zeros(mask.shape, bool)
    edges[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edges[:-1] |= mask[:-1] != mask[1:]
    if width > 1:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        edges = cv2.dilate(edges.astype(np.uint8), kernel).astype(bool)
    return edges


def mask_overlay(image: np.ndarray, mask: np.ndarray, opacity: float = 0.55, edges: bool = True) -> np.ndarray:
    """A mask in the Cityscapes colours over a picture; unlabelled pixels (255) show the picture.

    image: (H, W, 3) uint8; mask: (H, W) uint8 train ids; edges: draw thin borders in a darker tone of the class.
    Returns: (H, W, 3) uint8. Raises ValueError if sizes differ.
    """
    colour = colorize(mask)
    blended = overlay(image, colour, opacity)
    if edges and opacity > 0:
        border = boundaries(mask, width=max(1, round(min(mask.shape) / 400)))
        blended[border] = colour[border] // 5 * 2
    unlabelled = mask == IGNORE
    blended[unlabelled] = image[unlabelled]
    return blended


def similarity_scale(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """One colour scale for all columns: the lowest 1st and the highest 99.9th percentile of the maps.

    maps: (H, W) float each, NaN left out. Returns: low < high always. Raises ValueError for an empty list.
    """
    if not len(maps):
        raise ValueError("A shared scale needs at least one similarity map.")
    finite = [values for values in (np.asarray(m, np.float64)[np.isfinite(m)] for m in maps) if values.size]
    if not finite:
        return 0.0, 1.0
    low = min(float(np.percentile(values, 1)) for values in finite)
    high = max(float(np.percentile(values, 99.9)) for values in finite)
    return (low, high) if high - low > 1e-3 else (low - 1e-3, low + 1e-3)


def disagreement(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Number of distinct answers minus one, at each pixel; 255 is no answer. Returns: (H, W) uint8."""
    stack = np.sort(np.stack(list(masks.values())), axis=0)  # (streams, H, W)
    return ((stack[1:] != stack[:-1]) & (stack[1:] != IGNORE)).sum(axis=0).astype(np.uint8)


def disagreement_picture(masks: Mapping[str, np.ndarray], image: np.ndarray | None = None) -> np.ndarray:
    """Where the streams differ: the darkened grey picture where they agree, brighter the more answers there are."""
    counts = disagreement(masks)
    base = np.full((*counts.shape, 3), 40, np.uint8)
    if image is not None:
        _same_size(image, base)
        base[:] = (cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) * 0.45)[..., None]
    tones = heat(counts.astype(np.float32) + 1.2, 0, len(masks) + 0.2)  # one differing stream: red; all differ: yellow
    return np.where((counts > 0)[..., None], overlay(base, tones, 0.85), base)


def agreement(mask_a: np.ndarray, mask_b: np.ndarray, groups: dict[str, tuple[int, ...]] | None = None) -> float:
    """Mean IoU of two masks over the classes present in either one, in [0, 1].

    Pixels that are 255 in either mask are left out. With nothing left to compare the answer is 0.0, never NaN.
    mask_a, mask_b: (H, W) uint8 train ids; groups: merge classes first (cityscapes.COMMON). Raises ValueError on sizes.
    """
    _same_size(mask_a, mask_b)
    if groups is not None:
        table = group_table(groups)
        mask_a, mask_b = table[mask_a], table[mask_b]
    valid = (mask_a != IGNORE) & (mask_b != IGNORE)
    pairs = mask_a[valid].astype(np.int64) * 256 + mask_b[valid]
    confusion = np.bincount(pairs, minlength=256 * 256).reshape(256, 256)
    intersection = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - intersection
    present = union > 0
    return float((intersection[present] / union[present]).mean()) if present.any() else 0.0


# ------------------------------------------------------------------------------------------------ legends and charts


def colour_bar(
    low: float, high: float, label: str, cmap: str = "inferno", width: int = 640, height: int = 84, dark: bool = False
) -> np.ndarray:
    """A colour bar, upright where height > width. Returns: (height, width, 3) uint8."""
    figure = _figure(width, height, dark)
    axes = figure.add_subplot()
    upright = height > width
    norm = Normalize(low, high if high > low else low + 0.1)
    bar = figure.colorbar(
        ScalarMappable(norm, _colour_map(cmap)), cax=axes, orientation="vertical" if upright else "horizontal"
    )
    bar.outline.set_visible(False)
    bar.set_label(label, parse_math=False, size=8, color=_THEMES[dark][1])
    bar.ax.tick_params(labelsize=7.5, length=2.5, colors=_THEMES[dark][1])
    return _render(figure)


def legend(shares: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Rows of a legend: (class name, "#rrggbb", fraction), largest share first, classes without a pixel left out."""
    unknown = sorted(set(shares) - set(CLASSES))
    if unknown:
        raise ValueError(f"No Cityscapes colour is known for {', '.join(unknown)}; use names of cityscapes.CLASSES.")
    rows = [(name, to_hex(PALETTE[CLASSES.index(name)] / 255), float(share)) for name, share in shares.items()]
    return sorted((row for row in rows if row[2] > 0), key=lambda row: (-row[2], row[0]))


def legend_picture(shares: Mapping[str, float], width: int = 960, dark: bool = False) -> np.ndarray:
    """The legend as a picture: swatch, name and share in columns. Returns: (h, width, 3) uint8, h by the rows."""
    rows, columns, line = legend(shares), max(1, width // 235), 30
    height = line * max(1, -(-len(rows) // columns)) + 12
    figure = _figure(width, height, dark, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for index, (name, colour, share) in enumerate(rows):
        x, y = 12 + (index % columns) * (width - 12) / columns, 6 + line * (index // columns)
        axes.add_patch(Rectangle((x, y + 7), 22, 16, facecolor=colour, edgecolor=_THEMES[dark][1], linewidth=0.3))
        axes.text(x + 30, y + 15, f"{name}  {_percent(share)}", va="center", color=_THEMES[dark][1], size=7.5)
    return _render(figure)


def class_bars(
    shares_by_stream: Mapping[str, Mapping[str, float]],
    label: str = "share of pixels",
    width: int = 960,
    dark: bool = False,
) -> np.ndarray:
    """Grouped horizontal bars per class, most frequent class on top; for shares or IoU.

    shares_by_stream: {stream: {class name: fraction in [0, 1]}}; NaN and missing classes draw no bar; classes that no
    stream reaches with 0.05 % are left out. Returns: (h, width, 3) uint8, h by the number of classes.
    """
    names = {name for shares in shares_by_stream.values() for name in shares}
    best = {n: max((float(np.nan_to_num(s.get(n, 0))) for s in shares_by_stream.values()), default=0) for n in names}
    shown = sorted((name for name in names if best[name] >= 5e-4), key=lambda name: (-best[name], name))
    figure = _figure(width, 120 + max(1, len(shown)) * (16 * len(shares_by_stream) + 14), dark)
    axes = _axes(figure, dark, grid="x")
    thickness = 0.8 / max(1, len(shares_by_stream))
    for index, (stream, shares) in enumerate(shares_by_stream.items()):
        places = np.arange(len(shown)) + (index - (len(shares_by_stream) - 1) / 2) * thickness
        values = 100 * np.nan_to_num([shares.get(name, 0.0) for name in shown])
        title = STREAM_TITLES.get(stream, stream)
        axes.barh(places, values, thickness * 0.9, color=_stream_colour(stream, index, dark), label=title)
    axes.set_yticks(np.arange(len(shown)), shown)
    axes.set_ylim(max(1, len(shown)) - 0.4, -0.6)
    axes.set_xlabel(f"{label} (%)", parse_math=False)
    _stream_legend(figure, axes, dark)
    return _render(figure)


def retention_chart(
    series: Mapping[str, Mapping[float, float]],
    label: str = "mIoU",
    title: str = "",
    width: int = 960,
    height: int = 520,
    dark: bool = False,
) -> np.ndarray:
    """One line per stream over severity. series: {stream: {severity: value in [0, 1]}}, 0 = clear; NaN leaves a gap.

    Returns: (height, width, 3) uint8.
    """
    figure = _figure(width, height, dark)
    axes = _axes(figure, dark, grid="y")
    severities = sorted({severity for line in series.values() for severity in line})
    for index, (stream, line) in enumerate(series.items()):
        x = sorted(line)
        style = dict(marker=STREAM_MARKERS.get(stream, "D"), markersize=5, linewidth=2.4 if stream == "fused" else 1.7)
        colour, name = _stream_colour(stream, index, dark), STREAM_TITLES.get(stream, stream)
        axes.plot(x, [100 * line[s] for s in x], color=colour, label=name, clip_on=False, zorder=3, **style)
    axes.set_xticks(severities, ["clear" if severity == 0 else f"{severity:g}" for severity in severities])
    top = max([100 * v for line in series.values() for v in line.values() if np.isfinite(v)], default=100)
    axes.set_ylim(0, 100 if top > 50 else max(5, top * 1.15))
    axes.set_xlabel("severity")
    axes.set_ylabel(f"{label} (%)", parse_math=False)
    _stream_legend(figure, axes, dark, title)
    return _render(figure)


def cosine_matrix(
    matrix: np.ndarray,
    names: Sequence[str],
    title: str = "",
    scale: tuple[float, float] | None = None,
    width: int = 960,
    dark: bool = False,
) -> np.ndarray:
    """Class-to-class cosines with the numbers in the cells.

    matrix: (K, K) float in [-1, 1]; names: K; scale: give the same (low, high) to two matrices that are compared.
    Returns: (width, width, 3) uint8. Raises ValueError when names and matrix disagree.
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"A cosine matrix of {len(names)} names must be square of that size, got {matrix.shape}.")
    low, high = scale or (float(np.nanmin(matrix)), 1.0)
    figure = _figure(width, width, dark)
    axes = _axes(figure, dark)
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
    bar.ax.tick_params(labelsize=7, length=2, colors=_THEMES[dark][1])
    if title:
        axes.set_title(title, color=_THEMES[dark][1], size=9.5, weight="bold", pad=10, parse_math=False)
    return _render(figure)


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    cell_width: int = 480,
    dark: bool = False,
) -> np.ndarray:
    """Pictures in a labelled grid. rows: lists of (H, W, 3) uint8 pictures, None for a cell that does not exist.

    Cells take the shape of the first picture; others are fitted inside, centred. Returns: (h, w, 3) uint8.
    Raises ValueError when titles and pictures do not match or there is no picture.
    """
    pictures = [picture for row in rows for picture in row if picture is not None]
    if not pictures or len(rows) != len(row_titles) or any(len(row) != len(column_titles) for row in rows):
        raise ValueError("A contact sheet needs pictures, one title per row and one title per column.")
    cell_height = max(1, round(cell_width * pictures[0].shape[0] / pictures[0].shape[1]))
    left, top, gap = 46, 50, 8
    width = left + len(column_titles) * (cell_width + gap)
    height = top + len(rows) * (cell_height + gap)
    figure = _figure(width, height, dark, layout=None)
    style = dict(ha="center", va="center", color=_THEMES[dark][1], weight="bold", parse_math=False)
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
            figure.text(*centre, "not available", ha="center", va="center", color=_THEMES[dark][1], alpha=0.6, size=8.5)
    sheet = _render(figure)
    for (x, y), picture in zip(corners, (p for row in rows for p in row), strict=True):
        if picture is None:
            continue
        scale = min(cell_width / picture.shape[1], cell_height / picture.shape[0])
        h, w = max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale))
        x, y = x + (cell_width - w) // 2, y + (cell_height - h) // 2
        sheet[y : y + h, x : x + w] = _resize(np.ascontiguousarray(picture), (h, w))
    return sheet


# ------------------------------------------------------------------------------------------------ shared pieces


def _resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    smaller = height < picture.shape[0] or width < picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _same_size(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(f"The pictures differ in size, {a.shape[:2]} and {b.shape[:2]}; resize one of them first.")


def _colour_map(name: str) -> matplotlib.colors.Colormap:
    if name not in COLOUR_MAPS:
        raise ValueError(f"{name} is not a perceptually uniform colour map; use one of {', '.join(COLOUR_MAPS)}.")
    return matplotlib.colormaps[name]


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 1e-3 else f"{100 * share:.1f} %"


def _stream_colour(stream: str, index: int, dark: bool) -> str:
    colours = STREAM_COLOURS[dark]
    return colours.get(stream) or ("#CC79A7", "#F0E442" if dark else "#8A7A00", "#999999")[index % 3]


def _figure(width: int, height: int, dark: bool, layout: str | None = "constrained") -> Figure:
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_THEMES[dark][0], layout=layout)
    if layout == "constrained":
        pad = min(0.08, 0.05 * min(figure.get_size_inches()))  # inches, so that nothing touches the rim
        figure.get_layout_engine().set(w_pad=pad, h_pad=pad)
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, dark: bool, grid: str | None = None) -> matplotlib.axes.Axes:
    page, ink, line = _THEMES[dark]
    axes = figure.add_subplot(facecolor=page)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(line)
    axes.tick_params(colors=ink, labelsize=7.5, length=0)
    axes.xaxis.label.set(color=ink, size=8)
    axes.yaxis.label.set(color=ink, size=8)
    if grid:
        axes.grid(axis=grid, color=line, linewidth=0.7)
        axes.set_axisbelow(True)
    return axes


def _stream_legend(figure: Figure, axes: matplotlib.axes.Axes, dark: bool, title: str = "") -> None:
    handles, labels = axes.get_legend_handles_labels()
    style = dict(loc="outside upper center", ncols=max(1, len(labels)), frameon=False, fontsize=8)
    box = figure.legend(handles, labels, labelcolor=_THEMES[dark][1], title=title or None, **style)
    box.get_title().set(color=_THEMES[dark][1], size=9.5, weight="bold", parse_math=False)


def _render(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
