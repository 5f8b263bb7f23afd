"""Arrays as pictures inside a page: data URIs (no file is written, none is fetched) and the cells that show them."""

from __future__ import annotations

import base64
import io
from html import escape

import cv2
import numpy as np
from PIL import Image

from mfuser import images
from mfuser.cityscapes import PALETTE

SHOWN = 960  # pixels of the longer side on the page: three columns of a wide screen at double density


def shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) at which a picture of that size is sent to the page; never enlarged."""
    scale = min(1.0, SHOWN / max(size))
    return tuple(max(1, round(side * scale)) for side in size)


def photo_uri(picture: np.ndarray, quality: int = 88) -> str:
    """(H, W, 3) uint8 RGB -> JPEG data URI."""
    small = images.resize(picture, *shown_size(picture.shape[:2]))
    return _uri("jpeg", images.encode(small, ".jpg", quality))


def mask_uri(mask: np.ndarray, colours: np.ndarray = PALETTE) -> str:
    """(H, W) uint8 trainIds -> palette PNG data URI: its values are the trainIds, its colours those of the classes.

    255 (unlabelled) is transparent. The page lays it over the photograph and reads class names from its colours.
    """
    height, width = shown_size(mask.shape)
    small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    picture = Image.frombytes("P", (width, height), small.tobytes())
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    picture.putpalette(table.tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=255, optimize=True)
    return _uri("png", file.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def cell(
    alt: str,
    size: tuple[int, int],
    photo: str = "",
    layer: str = "",
    kind: str = "mask",
    stream: str = "",
    label: str = "",
) -> str:
    """One picture of a grid.

    Args:
        alt: what it shows.
        size: (H, W) in pixels.
        photo: URI below the layer.
        layer: URI laid over the photo at the page's overlay opacity; opaque without a photo.
        kind: "photo" or "mask", from whose colours the page reads class names.
        stream: whose mask it is.
        label: short name in the corner.

    Returns:
        HTML.
    """
    parts = []
    if photo:
        parts.append(f'<img class="below" src="{photo}" alt="" draggable="false">')
    overlaid = " over" if photo else ""
    if layer:
        parts.append(f'<img class="layer{overlaid}" src="{layer}" alt="{escape(alt)}" draggable="false">')
    parts.append('<i class="cross" aria-hidden="true"></i><span class="tip" role="status"></span>')
    if label:
        parts.append(f'<span class="tag" aria-hidden="true">{escape(label)}</span>')
    ratio = f"aspect-ratio:{size[1]}/{size[0]}"
    return (
        f'<div class="tile {kind}" style="{ratio}" data-kind="{kind}" data-stream="{stream}" tabindex="0" role="group" '
        f'aria-label="{escape(alt)}. Arrow keys move the crosshair.">{"".join(parts)}</div>'
    )
