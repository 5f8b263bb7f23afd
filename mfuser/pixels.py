"""Colour modes and number formats of decoded pictures, all made 8-bit RGB."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

BACKGROUND = 128  # transparent pixels lie on mid grey: white would read as sky or snow, black as shadow

_LAYOUTS = "(H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"


class ImageError(ValueError):
    """An image that cannot be used; its message is a sentence for the person who gave it."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Bring a PIL image of any mode to 8 bits.

    Args:
        image: of any mode. CMYK and LAB go through their ICC profile when they have one.

    Returns:
        An image of mode L, RGB or RGBA.
    """
    if image.mode in ("CMYK", "LAB"):
        profile = image.info.get("icc_profile")
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else None
            if source is None and image.mode == "LAB":
                source = ImageCms.createProfile("LAB")
            if source is not None:
                return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):  # a damaged or foreign profile: the plain conversion is close
            pass
        return image.convert("RGB")
    if image.mode == "La":
        return image.convert("LA").convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def check_layout(array: np.ndarray) -> None:
    """Check that an array has the shape of an image.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Raises:
        ImageError: another shape.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        hint = ": move the channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise ImageError(f"An image array must be {_LAYOUTS}, got shape {array.shape}{hint}.")


def from_array(array: np.ndarray) -> np.ndarray:
    """Bring an image array to 8-bit RGB.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, bool or float in 0..1.

    Returns:
        A new (H, W, 3) uint8 array. Alpha is composited on mid grey.

    Raises:
        ImageError: another dtype, or floats outside 0..1.
    """
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 257 x 255, rounded
    elif array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError("A float image must hold values from 0 to 1: divide by the largest value, or pass uint8.")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"An image array must be uint8, uint16, bool or float in 0..1, got {array.dtype}: convert it.")
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[2] == 4:
        alpha = array[..., 3:].astype(np.uint16)
        array = ((array[..., :3] * alpha + BACKGROUND * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.array(np.broadcast_to(array, (*array.shape[:2], 3)), dtype=np.uint8, order="C")
