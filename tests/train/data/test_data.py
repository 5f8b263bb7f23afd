"""Datasets: pairing, label maps, groups, and the sentence that each fault earns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train.data import CITYSCAPES, LabelGroups, open_dataset
from train.data.groups import COMMON_SPACE, IDD_SPACE, SPACES
from train.data.registry import parse


def write(root: Path, label: np.ndarray, stem: str = "a", labels: str = "labels", mode: str | None = None) -> None:
    for folder in ("images", labels):
        (root / folder).mkdir(parents=True, exist_ok=True)
    height, width = label.shape[:2]
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(root / "images" / f"{stem}.jpg")
    image = Image.fromarray(label)
    (image.convert(mode) if mode else image).save(root / labels / f"{stem}.png")


@pytest.fixture
def label() -> np.ndarray:
    label = np.zeros((24, 32), np.uint8)
    label[:8], label[8:12], label[12:14], label[14:16] = 10, 13, 17, 255
    return label


def test_labels_arrive_as_group_indices(tmp_path, label):
    write(tmp_path / "val", label)
    camvid = open_dataset(f"camvid:{tmp_path}", "val")
    image, mapped = camvid[0]
    assert image.shape == (24, 32, 3) and image.dtype == np.uint8
    names = [camvid.groups.names[i] if i != 255 else "-" for i in mapped[[0, 9, 13, 15, 20], 0]]
    assert names == ["sky", "vehicle", "two-wheeler", "-", "road"]
    assert camvid.counts.sum() == label.size - 2 * 32 and camvid.counts[0, 0] == 8 * 32
    assert open_dataset(f"{tmp_path}/val")[0][1].tolist() == label.tolist()  # 19 singletons keep their ids


def test_reading_from_disk_equals_the_cache(tmp_path, label):
    write(tmp_path, label)
    kept, read = open_dataset(str(tmp_path)), open_dataset(str(tmp_path), cache_bytes=0)
    assert all((a == b).all() for a, b in zip(kept[0], read[0], strict=True))
    assert kept.image(0) is kept.image(0) and read.image(0) is not read.image(0)


def test_unlabelled_photographs(tmp_path, label):
    write(tmp_path, label, labels="elsewhere")
    photographs = open_dataset(str(tmp_path), labelled=False)
    assert len(photographs) == 1 and photographs.image(0).shape == (24, 32, 3)
    with pytest.raises(ValueError, match="no labels"):
        photographs.label(0)


def test_limit_spreads_over_the_set(tmp_path, label):
    for stem in "abcdef":
        write(tmp_path, label, stem)
    chosen = open_dataset(str(tmp_path), limit=3)
    assert [pair.image.stem for pair in chosen.pairs] == ["a", "c", "e"]
    assert len(open_dataset(str(tmp_path), limit=99)) == 6


def test_faults_are_named(tmp_path, label):
    with pytest.raises(ValueError, match="Unknown dataset 'nope'.*camvid.*folder"):
        open_dataset("nope:somewhere")
    with pytest.raises(ValueError, match="There is no folder"):
        open_dataset(f"camvid:{tmp_path / 'none'}")
    with pytest.raises(ValueError, match="No photographs in"):
        open_dataset(str(tmp_path))
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="holds no photographs"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda a: a[:, :-2], r"is 30x24 pixels, its image 32x24"),
        (lambda a: np.where(a == 13, 26, a).astype(np.uint8), r"does not have \(26\)"),
        (lambda a: np.stack([a] * 3, -1), r"holds colours \(mode RGB\)"),
        (lambda a: a.astype(np.uint16) * 300, r"ids above 255"),
    ],
)
def test_faulty_labels_are_named(tmp_path, label, fault, message):
    write(tmp_path, label)
    Image.fromarray(np.ascontiguousarray(fault(label))).save(tmp_path / "labels" / "a.png")
    with pytest.raises(ValueError, match=r"a\.png.*" + message):
        open_dataset(str(tmp_path))


def test_damaged_files_are_named(tmp_path, label):
    write(tmp_path, label)
    (tmp_path / "labels" / "a.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        open_dataset(str(tmp_path))
    (tmp_path / "images" / "a.jpg").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read"):
        open_dataset(str(tmp_path))


def test_names_in_specifications():
    assert parse("camvid:/data/x")[0].name == "camvid" and parse("/data/x")[0].name == "folder"
    assert parse(r"C:\data")[1] == Path(r"C:\data")  # a drive letter is no name


def test_every_group_holds_its_representative():
    for space in SPACES.values():
        matrix = space.matrix()
        assert matrix.shape == (len(space), 19) and matrix.sum(0).max() == 1
        assert all(matrix[i, c] for i, c in enumerate(space.representatives))
    with pytest.raises(ValueError, match="disjoint"):
        LabelGroups(("a", "b"), ((0, 1), (1,)), (0, 1))
    with pytest.raises(ValueError, match="not one of its members"):
        LabelGroups(("a",), ((0, 1),), (2,))


def test_spaces_translate_only_to_coarser_ones():
    table = CITYSCAPES.into(COMMON_SPACE)
    assert [table[c] for c in (0, 3, 7, 17, 16, 255)] == [0, 2, 5, 9, 10, 255]
    assert (COMMON_SPACE.into(COMMON_SPACE)[:11] == np.arange(11)).all()
    with pytest.raises(ValueError, match="'non-drivable' spans"):
        IDD_SPACE.into(COMMON_SPACE)
