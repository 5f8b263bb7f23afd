"""Finding pictures in folders: suffixes, hidden files, links, order, and what is left out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mfuser import images
from mfuser.picture_files import SUFFIXES, find_pictures


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(paths) -> list[str]:
    return [path.name for path in paths]


def test_suffixes_in_any_case_and_natural_order(tmp_path):
    touch(tmp_path, "10.JPG", "2.png", "b.HEIC", "a.jfif", "1.AVIF", "inside/3.png")
    assert names(find_pictures(tmp_path).pictures) == ["1.AVIF", "2.png", "10.JPG", "a.jfif", "b.HEIC"]
    nested = find_pictures(tmp_path, nested=True)
    assert len(nested.pictures) == 6 and nested.left_out == () and nested.note() == ""


def test_what_is_left_out_is_counted_and_named(tmp_path):
    touch(tmp_path, "a.png", "._a.png", ".DS_Store", "notes.txt", ".git/b.png")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = find_pictures(tmp_path, nested=True)
    assert names(found.pictures) == ["a.png"] and names(found.left_out) == ["._a.png", "gone.jpg", "notes.txt"]
    assert "3 files" in found.note() and str(tmp_path) in found.note() and "._a.png" in found.note()


def test_a_name_may_have_to_end_with_more(tmp_path):
    touch(tmp_path, "x_leftImg8bit.PNG", "x_rightImg8bit.png")
    found = find_pictures(tmp_path, stem_end="_leftImg8bit")
    assert names(found.pictures) == ["x_leftImg8bit.PNG"] and names(found.left_out) == ["x_rightImg8bit.png"]


def test_links_are_followed_and_circles_end(tmp_path):
    touch(tmp_path, "set/aachen/1.png", "elsewhere/2.png")
    (tmp_path / "set/bochum").symlink_to("../elsewhere")
    (tmp_path / "set/3.png").symlink_to(tmp_path / "elsewhere/2.png")
    assert names(find_pictures(tmp_path / "set", nested=True).pictures) == ["3.png", "1.png", "2.png"]
    for target in ("..", "again"):
        (tmp_path / "set/aachen/again").symlink_to(target)
        with pytest.raises(ValueError, match="again leads .*: remove it"):
            find_pictures(tmp_path / "set", nested=True)
        (tmp_path / "set/aachen/again").unlink()


def test_every_suffix_is_one_that_the_decoder_reads():
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in images.FORMATS}
    assert {*SUFFIXES} - {".jfif"} <= known | {".mpo"}


def test_heic_is_read_upright(tmp_path):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = tmp_path / "phone.HEIC"
    try:
        Image.fromarray(picture).save(path, format="HEIF", quality=95, exif=exif.tobytes())
    except (KeyError, OSError, RuntimeError):
        pytest.skip("this pillow-heif cannot write")
    read = images.load(path)
    assert read.shape == (96, 64, 3) and read[:40].mean() > 180 and read[56:].mean() < 20
    assert os.fspath(find_pictures(tmp_path).pictures[0]) == os.fspath(path)
