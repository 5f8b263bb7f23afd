"""Which files are taken, which are left out and named, and on which pixels labels must lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mfuser import images
from train.data import open_dataset
from train.data.files import upright_size

H, W = 32, 64
LABEL = np.repeat(np.uint8([0, 1, 10, 255]), H * W // 4).reshape(H, W)


def write(path: Path, array: np.ndarray, **how) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)


def photograph(path: Path, **how) -> None:
    write(path, np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8), **how)


def stems(dataset) -> list[str]:
    return [pair.image.stem for pair in dataset.pairs]


@pytest.fixture
def bdd(tmp_path) -> Path:
    """Photographs a, b and c.JPG, of which b has no label; c's label ends in upper case."""
    for name in ("a.jpg", "b.jpg", "c.JPG"):
        photograph(tmp_path / "images/10k/train" / name, format="JPEG")
    for name in ("a.png", "c.PNG"):
        write(tmp_path / "labels/sem_seg/masks/train" / name, LABEL, format="PNG")
    return tmp_path


def test_photographs_without_a_label_are_refused_or_left_out_and_counted(bdd):
    with pytest.raises(ValueError, match=r"No label for .*b\.jpg: expected .*masks/train/b\.png"):
        open_dataset(f"bdd:{bdd}")
    dataset = open_dataset(f"bdd:{bdd}", skip_broken=True)
    assert stems(dataset) == ["a", "c"] and len(dataset.faults) == 1 and "b.jpg" in dataset.faults[0]
    assert len(open_dataset(f"bdd:{bdd}", labelled=False)) == 3


def test_hidden_and_other_files_are_named_once(bdd, capsys):
    for name in ("._a.jpg", "notes.txt"):
        (bdd / "images/10k/train" / name).write_bytes(b"\0\5\x16\7")
    (bdd / "labels/sem_seg/masks/train/._a.png").write_bytes(b"\0")
    for _ in range(2):
        assert stems(open_dataset(f"bdd:{bdd}", skip_broken=True)) == ["a", "c"]
    said = capsys.readouterr().err
    assert said.count("2 files in") == 1 and "._a.jpg" in said


def test_linked_cities_are_taken_in_nested_layouts(tmp_path):
    for city in ("aachen", "bochum"):
        photograph(tmp_path / f"leftImg8bit/train/{city}/{city}_leftImg8bit.png")
        write(tmp_path / f"gtFine/train/{city}/{city}_gtFine_labelTrainIds.png", LABEL)
    for tree in ("leftImg8bit", "gtFine"):
        (tmp_path / tree / "train/bochum").rename(tmp_path / f"{tree}-elsewhere")
        (tmp_path / tree / "train/bochum").symlink_to(tmp_path / f"{tree}-elsewhere")
    assert len(open_dataset(f"cityscapes:{tmp_path}")) == 2
    (tmp_path / "leftImg8bit/train/aachen/back").symlink_to("..")
    with pytest.raises(ValueError, match="aachen/back leads back to a folder around it"):
        open_dataset(f"cityscapes:{tmp_path}")


@pytest.mark.parametrize("kind", ["trainids", "folder"])
def test_65535_is_void_in_sixteen_bits(tmp_path, kind):
    photograph(tmp_path / "images/x.png")
    write(tmp_path / "labels/x.png", np.where(LABEL == 255, 65535, LABEL).astype(np.uint16))
    assert (open_dataset(f"{kind}:{tmp_path}").label(0) == LABEL).all()
    with pytest.raises(ValueError, match="look like Cityscapes trainIds.*trainids:ROOT"):
        open_dataset(f"labelids:{tmp_path}")


def test_65535_is_void_among_label_ids(tmp_path):
    photograph(tmp_path / "images/x.png")
    label_ids = np.select([LABEL == 0, LABEL == 1, LABEL == 10], [7, 8, 23], 65535).astype(np.uint16)
    write(tmp_path / "labels/x.png", label_ids)
    assert (open_dataset(f"labelids:{tmp_path}").label(0) == LABEL).all()


# -- orientation --------------------------------------------------------------------------------------------------


def in_xmp(orientation: int) -> dict:
    text = PngImagePlugin.PngInfo()
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    xmp += f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/></rdf:RDF>'
    text.add_itxt("XML:com.adobe.xmp", f"{xmp}</x:xmpmeta>")
    return {"pnginfo": text}


def in_exif(orientation: int) -> dict:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif.tobytes()}


def behind_the_pixels(path: Path) -> None:
    """Move the eXIf chunk of a PNG to its end."""
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(data[start : start + 4], "big")
    path.write_bytes(data[:start] + data[stop:-12] + data[start:stop] + data[-12:])


@pytest.fixture(params=["xmp", "exif", "exif behind the pixels", "jpeg"])
def turned(tmp_path, request):
    """Writes the photograph of a set with an orientation, in one of the places where it can stand."""

    def make(orientation: int) -> str:
        path = tmp_path / f"images/x.{'jpg' if request.param == 'jpeg' else 'png'}"
        photograph(path, **(in_xmp if request.param == "xmp" else in_exif)(orientation))
        if "behind" in request.param:
            behind_the_pixels(path)
        assert upright_size(path) == (images.load(path).shape[:2], orientation), "one rule for sizes and pixels"
        return str(tmp_path)

    return make


def test_a_label_on_stored_pixels_is_refused_and_one_on_upright_pixels_read(turned, tmp_path):
    root = turned(6)
    write(tmp_path / "labels/x.png", LABEL)
    with pytest.raises(ValueError, match="is 64x32 pixels, its image 32x64 when its orientation turns it upright"):
        open_dataset(root)
    write(tmp_path / "labels/x.png", LABEL.T.copy())
    picture, label = open_dataset(root)[0]
    assert picture.shape[:2] == label.shape == (W, H) and (label == LABEL.T).all()


def test_a_turn_that_keeps_the_size_is_told(turned, tmp_path, capsys):
    root = turned(3)
    write(tmp_path / "labels/x.png", LABEL)
    for _ in range(2):
        assert len(open_dataset(root)) == 1
    said = capsys.readouterr().err
    assert said.count("orientation") == 1 and "1 photograph of" in said and "x." in said
    turned(1)
    open_dataset(root)
    assert not capsys.readouterr().err


def test_a_label_with_the_orientation_of_its_photograph_is_turned_alike(tmp_path):
    photograph(tmp_path / "images/x.png", **in_exif(8))
    write(tmp_path / "labels/x.png", LABEL, **in_exif(8))
    assert (open_dataset(str(tmp_path)).label(0) == np.rot90(LABEL)).all()


def test_texts_of_a_png_are_no_reason_to_decode_it(tmp_path, monkeypatch):
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", "a camera")
    photograph(tmp_path / "x.png", pnginfo=text)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: 1 / 0)
    assert upright_size(tmp_path / "x.png") == ((H, W), 1)
