"""One sheet of what the features of a street look like: their first three principal components as colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mfuser import config, images
from mfuser.inference.windows import working_size
from mfuser.pictures.figures import THEMES, make_figure, render
from mfuser.pictures.visualize import pca_rgb
from train.measure.probe.features import TITLES, Encoders, ImageNetTrunk, Seen, row_of
from train.measure.probe.measure import Source, View

STREET = config.ASSETS / "examples" / "street-03.jpg"
LARGEST = 300_000  # bytes of a sheet
QUALITIES = (92, 85, 75, 60, 45)
WIDTH, GAP, CAPTION = 400, 8, 42  # pixels: of a picture, between pictures, of the line beneath each

Cell = tuple[str, np.ndarray] | None  # caption and picture, or an empty place


def rows(sources: Mapping[str, Source], street: np.ndarray, view: View) -> list[list[Cell]]:
    """Of each folder: the street, then the principal components of its trunk, its encoders' last blocks, and fused.

    sources: by the names of a table; an ImageNet trunk among them stands for every folder's own. street: (H, W, 3)
    uint8.
    """
    resized = images.resize(street, *working_size(street.shape[:2], view.preset))
    pixels = torch.from_numpy(resized).permute(2, 0, 1)[None].float().to(view.hardware.device)
    several = sum(isinstance(source, Encoders) for source in sources.values()) > 1
    found: list[list[Cell]] = []
    trunk: Cell = None
    for name, source in sources.items():
        seen = source.look(pixels)

        def cell(row: str, seen: Seen = seen) -> Cell:
            return (TITLES.get(row, f"ImageNet trunk, {row}"), components(seen, row, street.shape[:2]))

        if isinstance(source, ImageNetTrunk):
            trunk = cell(source.rows[0])
            continue
        own = [cell(row) if row in source.rows else None for row in ("vfm", "vlm", "fused")]
        found.append([(name if several else "picture", street), trunk or cell(source.rows[0]), *own])
    used = [any(column) for column in zip(*found, strict=True)]
    return [[cell for cell, some in zip(row, used, strict=True) if some] for row in found]


def components(seen: Seen, row: str, size: tuple[int, int]) -> np.ndarray:
    """The principal components of a row's features, (H, W, 3) uint8."""
    return pca_rgb(row_of(seen, row)[0].cpu().numpy(), size)


def sheet(rows: Sequence[Sequence[Cell]]) -> np.ndarray:
    """Pictures of one size in rows, each with its caption beneath. Returns: (h, w, 3) uint8."""
    tall, wide = rows[0][0][1].shape[:2]
    tall, wide = max(1, round(WIDTH * tall / wide)), WIDTH
    line, width, height = tall + CAPTION, len(rows[0]) * (wide + GAP) + GAP, len(rows) * (tall + CAPTION) + GAP
    figure = make_figure(width, height, dark=False, layout=None)
    corners = [(GAP + c * (wide + GAP), GAP + r * line) for r, c in np.ndindex(len(rows), len(rows[0]))]
    cells = [cell for row in rows for cell in row]
    placed = [(*corner, *cell) for corner, cell in zip(corners, cells, strict=True) if cell]
    for x, y, caption, _ in placed:
        place = ((x + wide / 2) / width, 1 - (y + tall + (CAPTION - GAP) / 2) / height)
        figure.text(*place, caption, ha="center", va="center", size=10, color=THEMES[False][1], parse_math=False)
    drawn = render(figure)
    for x, y, _, picture in placed:
        drawn[y : y + tall, x : x + wide] = images.resize(picture, tall, wide)
    return drawn


def encode(drawn: np.ndarray) -> bytes:
    """A sheet as JPEG of at most `LARGEST` bytes. Raises ValueError when it cannot be made so small."""
    for quality in QUALITIES:
        data = images.encode(drawn, ".jpg", quality)
        if len(data) <= LARGEST:
            return data
    raise ValueError(f"The sheet does not fit into {LARGEST / 1000:g} KB: probe fewer folders at once.")
