"""Colour modes, bit depths, transparency and arrays, as `images.load` gives them back."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mfuser import images
from mfuser.pixels import BACKGROUND


def file_bytes(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def close(a: np.ndarray, b: np.ndarray, tolerance: float = 0) -> bool:
    return a.shape == b.shape and int(np.abs(a.astype(int) - b.astype(int)).max()) <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind, tmp_path):
    ramp = np.repeat(np.linspace(0, 65535, 256).astype(np.uint16)[None], 32, axis=0)
    expected = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 32, axis=0).repeat(3, axis=2)
    assert close(images.load(file_bytes(Image.fromarray(ramp), kind)), expected, 1)
    assert close(images.load(ramp), expected, 1)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_colour(suffix, tmp_path):
    cv2 = pytest.importorskip("cv2")
    rgb = np.zeros((32, 256, 3), np.uint16)
    rgb[..., 0], rgb[..., 2] = np.linspace(0, 65535, 256), 30000
    cv2.imwrite(str(tmp_path / f"deep{suffix}"), rgb[..., ::-1])
    got = images.load(tmp_path / f"deep{suffix}")
    assert close(got[..., 0], (rgb[..., 0] // 257).astype(np.uint8), 1) and np.all(got[..., 1] == 0)
    assert close(got[..., 2], np.full((32, 256), 117, np.uint8), 1)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_colours(kind):
    inks = {(0, 0, 0, 0): (255, 255, 255), (255, 0, 0, 0): (0, 255, 255), (0, 255, 255, 0): (255, 0, 0)}
    inks |= {(0, 0, 0, 255): (0, 0, 0), (255, 255, 0, 0): (0, 0, 255), (0, 0, 0, 128): (127, 127, 127)}
    for ink, colour in inks.items():
        got = images.load(file_bytes(Image.new("CMYK", (32, 32), ink), kind))
        assert close(got[16, 16], np.array(colour), 3), (ink, got[16, 16])


def test_lab_goes_through_its_profile():
    got = images.load(file_bytes(Image.new("LAB", (32, 32), (255, 128, 128)), "TIFF"))
    assert got.min() > 245


def test_palette_with_transparency_lies_on_grey():
    image = Image.new("P", (32, 32), 0)
    image.putpalette([200, 10, 20, 0, 255, 0] + [0] * 762)
    image.paste(1, (16, 0, 32, 32))
    got = images.load(file_bytes(image, "PNG", transparency=1))
    assert tuple(got[0, 0]) == (200, 10, 20) and tuple(got[0, 31]) == (BACKGROUND,) * 3
    assert tuple(images.load(file_bytes(image, "PNG"))[0, 31]) == (0, 255, 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_alpha_is_composited_on_grey(mode):
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., :3], pixels[:, 16:, 3] = 255, 255
    image = Image.fromarray(pixels)
    if mode == "PA":  # Pillow's own conversion to PA forgets alpha
        opaque, image = image.convert("RGB").convert("P"), image.getchannel("A")
        opaque.putalpha(image)
        image = opaque
    else:
        image = image.convert("LA").convert(mode) if mode == "La" else image.convert(mode)
    assert image.mode == mode
    got = images.load(image)
    assert np.all(got[:, :16] == BACKGROUND) and np.all(got[:, 16:] == 255)


def test_one_bit_and_grey():
    bits = np.indices((32, 32)).sum(axis=0) % 2 == 0
    expected = np.repeat(bits[..., None] * np.uint8(255), 3, axis=2)
    for source in (bits, file_bytes(Image.fromarray(bits), "PNG"), file_bytes(Image.fromarray(bits), "TIFF")):
        assert close(images.load(source), expected)
    grey = np.arange(1024, dtype=np.uint8).reshape(32, 32)
    assert close(images.load(grey), images.load(file_bytes(Image.fromarray(grey), "PNG")))


@pytest.mark.parametrize("shape", [(32, 48), (32, 48, 1), (32, 48, 3), (32, 48, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool, np.float32, np.float16, np.float64])
def test_arrays(shape, dtype):
    top = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    array = np.full(shape, top, dtype)
    got = images.load(array)
    assert got.shape == (32, 48, 3) and got.dtype == np.uint8 and np.all(got == 255)
    got[:] = 0
    assert np.all(array == top), "the result must not share memory with its source"


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((3, 40, 40), np.uint8), "channels last"),
        (np.zeros((40, 40, 2), np.uint8), "(H, W)"),
        (np.zeros((2, 40, 40, 3), np.uint8), "(2, 40, 40, 3)"),
        (np.zeros((40, 40, 3), np.int64), "int64"),
        (np.full((40, 40, 3), 200.0), "0 to 1"),
        (np.full((40, 40, 3), np.nan), "0 to 1"),
        (np.zeros((0, 40, 3), np.uint8), "shape (0, 40, 3)"),
        (np.zeros((1, 1, 3), np.uint8), "too small (1 x 1"),
        ([[1, 2], [3, 4]], "not list"),
        (None, "not NoneType"),
    ],
)
def test_unsupported_arrays(array, sentence):
    with pytest.raises(images.ImageError, match=".") as caught:
        images.load(array)
    assert sentence in str(caught.value)
