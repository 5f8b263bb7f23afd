"""Pieces of a comparison: headings, masks over their photograph, similarities."""

from __future__ import annotations

from html import escape

import numpy as np

from mfuser.config import STREAMS
from mfuser.demo import pictures
from mfuser.demo.queries import Query
from mfuser.demo.session import Result
from mfuser.demo.wording import column_heads, made, percent


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


def band(title: str, explanation: str) -> str:
    """Heading across all columns."""
    return f'<div class="band"><h3>{escape(title)}</h3><span>{escape(explanation)}</span></div>'


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
