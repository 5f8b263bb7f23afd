"""The one decoder of user images: every source, mode and file becomes (H, W, 3) uint8 RGB, or one clear sentence.

Every upload, path and array goes through `load`: `_opened` reads the header of a file, `_check_size` judges its size
before any pixel is decoded, and `_decode` reads the pixels. Colour modes and number formats are in `mfuser.pixels`.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import warnings
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps
from pillow_heif import register_heif_opener

from mfuser.pixels import ImageError, check_layout, from_array, to_rgb

MAX_PIXELS = 50_000_000  # a 48-megapixel phone photograph passes; decoded it takes 150 MB
MIN_SIDE = 16  # below this no encoder has a single patch to look at
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "HEIF", "JPEG2000")
WRITABLE = (".png", ".jpg", ".jpeg")

register_heif_opener()

_WAY_OUT = "please save it as JPEG or PNG and try again"


def load(
    source: str | Path | bytes | Image.Image | np.ndarray, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE
) -> np.ndarray:
    """Decode an image.

    Args:
        source: path, the bytes of a file, PIL image, or array (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA of
            dtype uint8, uint16, bool or float (0..1). Grey is repeated over the channels, alpha is composited on mid
            grey, 16 bits are scaled by 255 / 65535, CMYK goes through its ICC profile when it has one,
            EXIF rotation is applied, an animation gives its first frame.
        max_pixels: most pixels (H x W) accepted; a file is judged by its header, before anything is decoded.
        min_side: least height and width accepted, in pixels.

    Returns:
        A new contiguous (H, W, 3) uint8 RGB array; H, W = size after EXIF rotation.

    Raises:
        ImageError: nothing there, not an image, damaged, too small, too large, or an unsupported array.
    """
    if isinstance(source, np.ndarray):
        check_layout(source)
        _check_size(source.shape[1], source.shape[0], max_pixels, min_side, "The image")
        return from_array(source)
    if isinstance(source, Image.Image):
        return _decode(source, max_pixels, min_side, "The image")
    if isinstance(source, (bytes, bytearray, memoryview)):
        if len(source) == 0:
            raise ImageError("The uploaded file is empty (0 bytes): please choose the picture again.")
        with _opened(io.BytesIO(source), bytes(source[:16]), max_pixels, "The uploaded file") as image:
            return _decode(image, max_pixels, min_side, "The uploaded file")
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        head, name = _read_head(path), f"The file {path.name[-80:]!r}"
        with _opened(path, head, max_pixels, name) as image:
            return _decode(image, max_pixels, min_side, name)
    raise ImageError(
        f"An image can be a path, bytes, a PIL image or a NumPy array, not {type(source).__name__}: convert it first."
    )


def save(path: str | Path, array: np.ndarray) -> Path:
    """Write an image file. It is written beside its place and then renamed.

    Args:
        path: ends in .png, .jpg or .jpeg, which decides the format.
        array: (H, W) grey or (H, W, 3) RGB, uint8.

    Returns:
        The path.

    Raises:
        ValueError: another suffix or another kind of array.
        OSError: the folder is missing or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise ValueError(f"Cannot write '{path.name}': choose a name that ends in .png, .jpg or .jpeg.")
    grey_or_rgb = isinstance(array, np.ndarray) and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3))
    if not grey_or_rgb or array.dtype != np.uint8 or array.size == 0:
        got = f"{array.shape} {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"Only (H, W) or (H, W, 3) uint8 arrays can be written as an image, got {got}.")
    data = encode(array, path.suffix.lower())
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError as error:
        if path.parent.is_dir():
            beside.unlink(missing_ok=True)
        way_out = "choose an existing folder that you may write to"
        raise OSError(f"Cannot write '{path}' ({error.strerror}): {way_out}") from error
    return path


def encode(array: np.ndarray, suffix: str = ".png", quality: int = 92) -> bytes:
    """Encode an image as the bytes of a file. PNGs are packed for speed, not for size.

    Args:
        array: (H, W) grey or (H, W, 3) RGB, uint8.
        suffix: one of `WRITABLE`.
        quality: of JPEG, 1 to 100.

    Raises:
        ValueError: the format cannot hold so many pixels.
    """
    bgr = array if array.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if suffix == ".png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    written, data = cv2.imencode(suffix, bgr, options)
    if not written:
        raise ValueError(f"An image of {array.shape[1]} x {array.shape[0]} pixels does not fit into {suffix}.")
    return data.tobytes()


def fingerprint(array: np.ndarray) -> str:
    """Hash of an array's content.

    Args:
        array: any shape and dtype.

    Returns:
        32 hex digits, equal only for equal shape, dtype and values.
    """
    digest = hashlib.blake2b(f"{array.shape}{array.dtype.str}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.hexdigest()


def resize(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resample an image. Label maps need another tool.

    An axis that shrinks is averaged over the area, so that fine patterns do not alias. An axis that grows is
    interpolated: bicubic for integers, bilinear for floats, which then never leave their range.

    Args:
        array: (h, w) or (h, w, C) of uint8, uint16, float32 or float64.
        height: of the result in pixels.
        width: of the result in pixels.

    Returns:
        A new array (height, width) or (height, width, C) of the same dtype.

    Raises:
        ValueError: an empty size or another dtype.
    """
    if height < 1 or width < 1 or array.size == 0 or array.ndim not in (2, 3):
        raise ValueError(f"Cannot resize an array of shape {array.shape} to {height} x {width}: sides must be > 0.")
    if array.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise ValueError(f"Cannot resize {array.dtype}: convert the array to uint8, uint16, float32 or float64 first.")
    h, w = array.shape[:2]
    out = np.ascontiguousarray(array)
    if height < h or width < w:
        out = cv2.resize(out, (min(width, w), min(height, h)), interpolation=cv2.INTER_AREA)
    if height > h or width > w:
        smooth = cv2.INTER_LINEAR if array.dtype.kind == "f" else cv2.INTER_CUBIC
        out = cv2.resize(out, (width, height), interpolation=smooth)
    out = out.reshape(height, width, *array.shape[2:])  # OpenCV drops a single channel
    return out.copy() if np.shares_memory(out, array) else out


def _read_head(path: Path) -> bytes:
    """First bytes of a regular file; ImageError when there is none to read."""
    name = repr(str(path)[-80:])
    try:
        if path.is_dir():
            raise ImageError(f"{name} is a folder: please give one image file.")
        if path.exists() and not path.is_file():  # a pipe or device would block, or never end
            raise ImageError(f"{name} is not a regular file: please give one image file.")
        with path.open("rb") as stream:
            head = stream.read(16)
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {name}: check the name and the folder.") from error
    except OSError as error:
        raise ImageError(f"The file {name} cannot be read ({error.strerror}): check its name and rights.") from error
    except ValueError as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name} contains characters that no file name can have: check the name.") from error
    if not head:
        raise ImageError(f"The file {name} is empty (0 bytes): please choose or download the picture again.")
    return head


@contextmanager
def _opened(stream, head: bytes, max_pixels: int, name: str):
    """The file's header as a lazy PIL image. Only raster formats are tried: EPS and the like would start programs."""
    Image.init()
    formats = [known for known in FORMATS if known in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is judged in _check_size; damaged EXIF is no one's concern
            image = Image.open(stream, formats=formats)
    except Image.DecompressionBombError as error:
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        raise ImageError(_too_large(name, "far too many pixels", limit)) from error
    except Exception as error:  # damaged headers make decoders raise nearly anything
        raise ImageError(_unreadable(name, head)) from error
    with image:
        yield image


def _unreadable(name: str, head: bytes) -> str:
    if head[4:8] == b"ftyp" and head[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return f"{name} is a HEIC photograph, which cannot be read here: {_WAY_OUT}."
    signatures = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF", b"\0\0\0\x0cjP")
    if head.startswith(signatures):
        return f"{name} is damaged or incomplete: please upload or download it again, or {_WAY_OUT[7:]}."
    return f"{name} is not an image that can be read here (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF): {_WAY_OUT}."


def _too_large(name: str, size: str, limit: int) -> str:
    return f"{name} is too large ({size}; at most {limit / 1e6:g} megapixels): please make it smaller and try again."


def _check_size(width: int, height: int, max_pixels: int, min_side: int, name: str) -> None:
    if width * height > max_pixels:
        raise ImageError(_too_large(name, f"{width} x {height} pixels", max_pixels))
    if min(width, height) < min_side:
        raise ImageError(
            f"{name} is too small ({width} x {height} pixels): both sides need at least {min_side}, "
            "please use a larger picture."
        )


def _decode(image: Image.Image, max_pixels: int, min_side: int, name: str) -> np.ndarray:
    """Where the pixels of a file or upload are decoded: size first, then pixels, EXIF rotation and colour mode."""
    _check_size(*image.size, max_pixels, min_side, name)
    try:
        image.load()
    except Exception as error:  # truncated data: OSError, SyntaxError, EOFError, struct.error, ...
        raise ImageError(f"{name} is damaged or incomplete: please upload or download it again.") from error
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block: the pixels are still good
        upright = image
    if upright.mode.startswith("I") or upright.mode == "F":
        values = np.asarray(upright)
        if upright.mode != "F":  # 16-bit grey; mode I is 32 bits wide, and in practice holds 16-bit files
            if values.min() < 0 or values.max() > 65535:
                raise ImageError(f"{name} has more than 16 bits a pixel: please save it with 8 or 16 bits.")
            values = values.astype(np.uint16)
        return from_array(values)
    try:
        return from_array(np.asarray(to_rgb(upright)))
    except (ValueError, OSError) as error:
        raise ImageError(f"{name} uses the colour mode {upright.mode}, which is not supported: {_WAY_OUT}.") from error
