"""Every way in which a user's picture can be odd, made by the test itself."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from mfuser import images

H, W = 40, 64


@pytest.fixture
def photo() -> np.ndarray:
    """(H, W, 3) uint8: smooth, every channel and every corner different."""
    y, x = np.mgrid[0:H, 0:W].astype(np.float32)
    return np.stack([x / W * 255, y / H * 255, (x + y) / (H + W) * 200], axis=-1).astype(np.uint8)


def file_bytes(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_header(width: int, height: int, rows: int = 0) -> bytes:
    """A 1-bit PNG of the given size that really holds `rows` rows of pixels."""

    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((1 + (width + 7) // 8) * rows), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def close(a: np.ndarray, b: np.ndarray, tolerance: float = 0) -> bool:
    return a.shape == b.shape and int(np.abs(a.astype(int) - b.astype(int)).max()) <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_files_come_back_exactly(photo, kind, tmp_path):
    data = file_bytes(Image.fromarray(photo), kind, **({"lossless": True} if kind == "WEBP" else {}))
    path = tmp_path / "picture.anything"  # the content decides, not the name
    path.write_bytes(data)
    for source in (path, str(path), data, Image.open(path)):
        got = images.load(source)
        assert got.dtype == np.uint8 and got.flags.c_contiguous and close(got, photo)


def test_jpeg_is_rgb_and_close(photo):
    got = images.load(file_bytes(Image.fromarray(photo), "JPEG", quality=95, subsampling=0))
    assert close(got, photo, 12)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_exif_rotation(photo, orientation, kind):
    upright = {
        1: photo, 2: photo[:, ::-1], 3: photo[::-1, ::-1], 4: photo[::-1], 5: photo.transpose(1, 0, 2),
        6: np.rot90(photo, -1), 7: photo[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(photo),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {})}
    got = images.load(file_bytes(Image.fromarray(photo), kind, **options))
    assert close(got, upright, 6 if kind == "JPEG" else 0)


def test_damaged_exif_keeps_the_pixels(photo):
    data = file_bytes(Image.fromarray(photo), "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    assert images.load(data).shape == photo.shape


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = file_bytes(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert close(images.load(data), np.full((32, 32, 3), (250, 0, 0)), 1)


def refused(source, *words: str) -> None:
    with pytest.raises(images.ImageError) as caught:
        images.load(source)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert text.endswith(".") and "\n" not in text and len(text) < 250, text


def test_bad_files(tmp_path, photo):
    refused(tmp_path / "absent.jpg", "absent.jpg", "check the name")
    refused(tmp_path, "folder")
    refused("a\0b.png", "name")
    refused("x" * 5000, "check")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "empty")
    refused(b"", "empty")
    (tmp_path / "notes.jpg").write_text("dear diary, " * 100)
    refused(tmp_path / "notes.jpg", "notes.jpg", "not an image", "JPEG or PNG")
    refused(b"\0\0\0\x18ftypheic" + bytes(100), "HEIC")
    refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n", "not an image")
    refused(file_bytes(Image.new("RGB", (1, 1)), "PNG"), "too small (1 x 1")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        refused(tmp_path / "pipe.png", "regular file")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("kept", [0.03, 0.5])
def test_truncated_files(kind, kept):
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    try:
        data = file_bytes(Image.fromarray(noise), kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow cannot write {kind}")
    refused(data[: int(len(data) * kept)], "again")


def test_bomb_is_refused_from_its_header(monkeypatch, tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_header(20000, 20000, rows=20000))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("the bomb was decoded"))
    tracemalloc.start()
    began = time.perf_counter()
    refused(tmp_path / "bomb.png", "too large", "50 megapixels", "smaller")
    seconds, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6 and seconds < 2


def test_limits(recwarn):
    refused(png_header(10000, 10000), "10000 x 10000")  # between Pillow's warning and its error
    assert not recwarn.list
    photo = np.zeros((100, 100, 3), np.uint8)
    with pytest.raises(images.ImageError, match="0.005 megapixels"):
        images.load(photo, max_pixels=5000)
    assert images.load(np.zeros((4, 4), np.uint8), min_side=1).shape == (4, 4, 3)


def test_save_round_trip(tmp_path, photo):
    assert close(images.load(images.save(tmp_path / "a.png", photo)), photo)
    assert close(images.load(images.save(str(tmp_path / "b.JPG"), photo)), photo, 40)
    images.save(tmp_path / "a.png", photo[..., 0])  # replaces
    assert close(images.load(tmp_path / "a.png")[..., 1], photo[..., 0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.JPG"]


def test_save_errors(tmp_path, photo):
    with pytest.raises(OSError, match="existing folder"):
        images.save(tmp_path / "absent" / "a.png", photo)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="existing folder"):
        images.save(tmp_path / "file" / "a.png", photo)
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OSError, match="existing folder"):
        images.save(tmp_path / "taken.png", photo)
    assert not list(tmp_path.glob(".*")), "nothing half-written stays behind"
    with pytest.raises(ValueError, match=".png"):
        images.save(tmp_path / "a.gif", photo)
    with pytest.raises(ValueError, match="float64"):
        images.save(tmp_path / "a.png", photo / 255)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into any folder")
def test_save_into_a_read_only_folder(tmp_path, photo):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="may write"):
        images.save(tmp_path / "a.png", photo)


def test_fingerprint(photo):
    same = images.fingerprint(photo)
    assert same == images.fingerprint(np.asfortranarray(photo)) and len(same) == 32
    changed = photo.copy()
    changed[3, 5, 1] ^= 1
    others = [changed, photo.reshape(W, H, 3), photo.view(np.int8), photo[:0]]
    assert len({same, *(images.fingerprint(other) for other in others)}) == 5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_shrinking_averages_the_area(dtype):
    """Stripes of period 8 at a quarter of their size: bilinear sampling reads 2 of 4 pixels, and stays off the mean."""
    levels = np.array([4, 0, 1, 6, 2, 5, 3, 7]) * (0.125 if dtype == np.float32 else 30)
    stripes = np.tile(levels, (96, 12)).astype(dtype)
    means = stripes.astype(np.float64).reshape(96, 24, 4).mean(axis=-1)
    for picture in (stripes, stripes.T):
        expected = means[:24] if picture is stripes else means[:24].T
        found = images.resize(np.ascontiguousarray(picture), 24, 24).astype(np.float64)
        assert np.abs(found - expected).max() <= (1e-6 if dtype == np.float32 else 0.5)


def test_a_zone_plate_fades_where_its_rings_are_finer_than_the_pixels():
    """The rings at the rim are too fine for a third of the size: what is left of them there is aliasing."""
    y, x = np.mgrid[-96:96, -96:96]
    plate = np.rint(127.5 + 127.5 * np.cos((x**2 + y**2) * np.pi / 192)).astype(np.uint8)  # period 2 pixels at the rim
    small = images.resize(plate, 64, 64).astype(float)
    rim = np.hypot(*(np.mgrid[0:64, 0:64] - 31.5)) > 28
    assert small[rim].std() < 0.25 * plate.std(), "single samples keep all of the contrast, as rings that are not there"


def test_resize():
    fine = (np.indices((128, 128)).sum(axis=0) % 2 * 254).astype(np.uint8)  # a one-pixel chequer must become its mean
    assert close(images.resize(fine, 32, 32), np.full((32, 32), 127), 1)
    mixed = images.resize(fine[..., None].repeat(5, axis=2), 32, 256)
    assert mixed.shape == (32, 256, 5) and close(mixed, np.full((32, 256, 5), 127), 1)
    assert images.resize(np.zeros((8, 8, 1), np.float32), 16, 5).shape == (16, 5, 1)
    up = images.resize(np.eye(8, dtype=np.float32), 50, 70)
    assert up.dtype == np.float32 and 0 <= up.min() and up.max() <= 1
    same = images.resize(fine, 128, 128)
    assert close(same, fine) and not np.shares_memory(same, fine)
    with pytest.raises(ValueError, match="0 x 5"):
        images.resize(fine, 0, 5)
    with pytest.raises(ValueError, match="bool"):
        images.resize(fine > 0, 5, 5)
