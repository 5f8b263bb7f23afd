"""View 1, Compare: columns are the three models, rows are features, similarity and masks."""

from __future__ import annotations

from html import escape

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from mfuser.config import STREAMS
from mfuser.demo import pictures
from mfuser.demo.grid import grid
from mfuser.demo.queries import Query
from mfuser.demo.session import Result
from mfuser.demo.wording import classes, column_heads, cost, made, percent
from mfuser.pictures import charts, visualize

NO_TEXT = "A vision foundation model has no text. Click on the picture to compare patches instead."


def matrix(result: Result, query: Query, foreground: bool = False) -> str:
    """The 3 x 3 matrix with headings, colour bar, legend and costs, as HTML. foreground: PCA of what is no stuff."""
    maps = similarities(result, query)
    low, high = visualize.similarity_scale(list(maps.values()))
    cells = [
        *headings(result),
        band("Features", "the first three principal components of the last patch tokens as red, green and blue"),
        *(_features(result, stream, foreground, query) for stream in STREAMS),
        band(f"Similarity to {query.title}", "cosine, one scale for all columns", colour_bar(low, high)),
        *(_similarity(result, stream, maps.get(stream), (low, high), query) for stream in STREAMS),
        band("Masks", f"{classes(result.analysis)}; point at a picture to read the class there"),
        *made_heads(result),
        *(mask_cell(result, stream) for stream in STREAMS),
        *(f'<div class="foot">{_score(result, s)}{escape(cost(result.analysis, s))}</div>' for s in STREAMS),
    ]
    return grid(cells, columns=3, label="Three models by three views", analysis=result.analysis) + legend(result)


def similarities(result: Result, query: Query) -> dict[str, np.ndarray]:
    """stream -> (H, W) cosine; a text query leaves the VFM out."""
    streams = STREAMS if query.point is not None else ("vlm", "fused")
    argument = query.argument(result.analysis)
    return {stream: result.analysis.similarity(argument, stream) for stream in streams}


def headings(result: Result) -> list[str]:
    """Model and what it is made of, one for each column."""
    heads = column_heads(result.analysis).items()
    return [
        f'<div class="head {s}"><b>{escape(title)}</b><span>{escape(part)}</span></div>' for s, (title, part) in heads
    ]


def made_heads(result: Result) -> list[str]:
    """Above the masks, one for each column: what those are that no decoder made; nothing when all are decoders'."""
    told = [made(result.analysis, stream) for stream in STREAMS]
    return [f'<div class="made {s}">{text}</div>' for s, text in zip(STREAMS, told, strict=True)] if any(told) else []


def band(title: str, explanation: str, extra: str = "") -> str:
    """Heading across all columns."""
    return f'<div class="band"><h3>{escape(title)}</h3><span>{escape(explanation)}</span>{extra}</div>'


def colour_bar(low: float, high: float) -> str:
    """The scale as text and gradient; crisp at every size and on both page colours."""
    stops = ",".join(to_hex(c) for c in matplotlib.colormaps["inferno"](np.linspace(0, 1, 12)))
    return (
        f'<span class="bar" role="img" aria-label="Colour bar from {low:.2f} to {high:.2f}"><i>{low:.2f}</i>'
        f'<b style="background:linear-gradient(90deg,{stops})"></b><i>{high:.2f}</i></span>'
    )


def photo(result: Result) -> str:
    """The photograph itself, for below the overlays."""
    return result.draw("photo", lambda: pictures.photo_uri(result.analysis.image))


def mask_cell(result: Result, stream: str) -> str:
    """A mask over its photograph."""
    analysis, title = result.analysis, result.analysis.title(stream)
    shares = analysis.shares(stream)
    largest = ", ".join(f"{name} {percent(share)}" for name, share in list(shares.items())[:5])
    layer = result.draw(f"mask {stream}", lambda: pictures.mask_uri(analysis.masks[stream], analysis.palette))
    return pictures.cell(
        f"Mask of {title}: {largest}", analysis.size, photo(result), layer, "mask", stream, label=title
    )


def _features(result: Result, stream: str, foreground: bool, query: Query) -> str:
    analysis, title = result.analysis, visualize.STREAM_TITLES[stream]
    layer = result.draw(
        f"features {stream} {foreground}", lambda: pictures.photo_uri(analysis.pca(stream, foreground=foreground))
    )
    return pictures.cell(
        f"Features of {title}, as colours", analysis.size, "", layer, "features", stream, query.point, title, query=True
    )


def _similarity(
    result: Result, stream: str, values: np.ndarray | None, scale: tuple[float, float], query: Query
) -> str:
    size, title = result.analysis.size, visualize.STREAM_TITLES[stream]
    if values is None:
        return pictures.words(NO_TEXT, size, title)
    heat = pictures.photo_uri(visualize.heat(values, *scale))
    y, x = np.unravel_index(values.argmax(), values.shape)
    where = f"{100 * x / size[1]:.0f} % from the left and {100 * y / size[0]:.0f} % from the top"
    alt = f"Similarity of {title} to {query.title}: highest, {values.max():.2f}, {where}"
    return pictures.cell(alt, size, photo(result), heat, "similarity", stream, query.point, title, query=True)


def _score(result: Result, stream: str) -> str:
    if result.labels is None:
        return ""
    score = visualize.agreement(result.analysis.masks[stream], result.labels)
    return f'<b title="Mean intersection over union with the labels of this example">mIoU {percent(score)}</b> · '


def legend(result: Result) -> str:
    """Chips: colour, class and its share of the pixels in each column."""
    shares = {s: result.analysis.shares(s) for s in STREAMS}
    names = {name for per_class in shares.values() for name in per_class}
    largest = {name: max(s.get(name, 0.0) for s in shares.values()) for name in names}
    rows = charts.legend(largest, result.analysis.classes)
    chips = "".join(
        f'<li><i style="background:{colour}"></i><span>{escape(name)}</span>'
        + "".join(f'<b class="{s}">{percent(shares[s].get(name, 0.0))}</b>' for s in STREAMS)
        + "</li>"
        for name, colour, _ in rows
    )
    titles = ", ".join(result.analysis.title(s) for s in STREAMS)
    head = f"<p>Share of the pixels of each class: {escape(titles)}</p>"
    return f'<section class="legend" aria-label="Legend">{head}<ul>{chips}</ul></section>'
