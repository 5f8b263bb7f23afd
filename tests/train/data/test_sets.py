"""Every set in its official layout and encodings, written synthetically, and what is said about wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mfuser.cityscapes import COMMON, PALETTE
from train.data import census, has_split, open_dataset, tables
from train.data.encodings import read_segments

H, W = 40, 48
ROAD, SKY, CAR, VOID = 0, 10, 13, 255


@pytest.fixture
def truth() -> np.ndarray:
    """Train ids: sky above, road below, a car, a void corner."""
    ids = np.full((H, W), SKY, np.uint8)
    ids[20:], ids[15:25, 10:20], ids[:4, :4] = ROAD, CAR, VOID
    return ids


def photograph(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((H, W, 3), 90, np.uint8)).save(path)


def label(path: Path, array: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image = image.convert("P")
        image.putpalette([7, 9, 11] * 256)
    image.save(path)


def to_ids(truth: np.ndarray, ids: dict[int, int], void: int) -> np.ndarray:
    """Train ids -> the values of a set, by the first value of each class."""
    back = {train_id: value for value, train_id in reversed(list(ids.items())) if train_id != VOID} | {VOID: void}
    return np.vectorize(back.get)(truth).astype(np.uint8)


def label_ids(truth: np.ndarray) -> np.ndarray:
    return to_ids(truth, tables.CITYSCAPES_LABEL_IDS, 0)


def colours(truth: np.ndarray) -> np.ndarray:
    out = np.zeros((*truth.shape, 3), np.uint8)
    for train_id in np.unique(truth[truth != VOID]):
        out[truth == train_id] = PALETTE[train_id]
    return out


def panoptic(truth: np.ndarray) -> np.ndarray:
    """Road and sky by their labelId, the car as an instance, R + 256 G + 65536 B."""
    ids = label_ids(truth).astype(np.int64)
    ids[truth == CAR] = 26 * 1000 + 3
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)


def polygons(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)

    def box(name: str, x0: int, y0: int, x1: int, y1: int) -> dict:
        return {"label": name, "polygon": [[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]]}

    objects = [box("sky", 0, 0, W, 20), box("road", 0, 20, W, H), box("car", 10, 15, 20, 25)]
    objects.append(box("ego vehicle", 0, 0, 4, 4))
    path.write_text(json.dumps({"imgHeight": H, "imgWidth": W, "objects": objects}))


def same(spec: str, truth: np.ndarray, split: str = "train") -> None:
    dataset = open_dataset(spec, split)
    found = dataset[0][1]
    expected = dataset.groups.table()[truth]
    assert (found == expected).all(), f"{spec}: {np.unique(found)} instead of {np.unique(expected)}"


# -- layouts ------------------------------------------------------------------------------------------------------


def test_gta_with_palette_files_and_its_split(tmp_path, truth):
    for number in (1, 2, 3):
        photograph(tmp_path / "images" / f"{number:05d}.png")
        label(tmp_path / "labels" / f"{number:05d}.png", to_ids(truth, tables.GTA_LABEL_IDS, 34), palette=True)
    same(f"gta:{tmp_path}", truth)
    assert len(open_dataset(f"gta:{tmp_path}")) == 3 and not has_split(f"gta:{tmp_path}", "val")
    savemat(tmp_path / "split.mat", {"trainIds": [[1], [3]], "valIds": [[2]], "testIds": [[]]})
    assert [p.image.stem for p in open_dataset(f"gta:{tmp_path}").pairs] == ["00001", "00003"]
    assert [p.image.stem for p in open_dataset(f"gta:{tmp_path}", "val").pairs] == ["00002"]
    savemat(tmp_path / "split.mat", {"valIds": [[7]]})
    for split, message in (("train", r"split\.mat has no trainIds"), ("val", r"split\.mat lists no photograph")):
        with pytest.raises(ValueError, match=message):
            open_dataset(f"gta:{tmp_path}", split)
    for broken in (b"", b"cut", b"MATLAB 5.0 MAT-file" + bytes(107) + b"\x00\x01IM" + b"\x0f\x00\x00\x00" * 9):
        (tmp_path / "split.mat").write_bytes(broken)
        with pytest.raises(ValueError, match=r"split\.mat cannot be read"):
            open_dataset(f"gta:{tmp_path}")


def test_synthia_in_sixteen_bits(tmp_path, truth):
    photograph(tmp_path / "RGB" / "0000000.png")
    classes = to_ids(truth, tables.SYNTHIA_IDS, 0).astype(np.uint16)
    instances = np.full_like(classes, 777)
    (tmp_path / "GT" / "LABELS").mkdir(parents=True)
    bgr = np.stack([np.zeros_like(classes), instances, classes], -1)
    assert cv2.imwrite(str(tmp_path / "GT" / "LABELS" / "0000000.png"), bgr)
    same(f"synthia:{tmp_path}", truth)
    with pytest.raises(ValueError, match="No split 'val'"):
        open_dataset(f"synthia:{tmp_path}", "val")
    label(tmp_path / "GT" / "LABELS" / "0000000.png", np.stack([classes] * 3, -1).astype(np.uint8))
    with pytest.raises(ValueError, match="holds three channels of 8 bits; SYNTHIA's ids .* come in 16"):
        open_dataset(f"synthia:{tmp_path}")


@pytest.mark.parametrize(
    ("ending", "encode"),
    [
        ("labelIds.png", label_ids),
        ("labelTrainIds.png", lambda t: t),
        ("color.png", colours),
        ("instanceIds.png", lambda t: np.where(t == CAR, 26005, label_ids(t).astype(np.uint16))),
        ("panoptic.png", panoptic),
        ("polygons.json", None),
    ],
)
def test_cityscapes_in_every_encoding(tmp_path, truth, ending, encode):
    stem = "aachen_000000_000019"
    photograph(tmp_path / "leftImg8bit" / "train" / "aachen" / f"{stem}_leftImg8bit.png")
    path = tmp_path / "gtFine" / "train" / "aachen" / f"{stem}_gtFine_{ending}"
    polygons(path) if encode is None else label(path, encode(truth))
    same(f"cityscapes:{tmp_path}", truth)
    same(f"cityscapes:{tmp_path}/train", truth, "val")  # the split may be named with the root


@pytest.mark.parametrize("old", [False, True])
def test_bdd(tmp_path, truth, old):
    images, labels, end = (
        ("images/10k", "labels/sem_seg/masks", "") if not old else ("seg/images", "seg/labels", "_train_id")
    )
    photograph(tmp_path / images / "val" / "7d06fefd-f7be05a6.jpg")
    label(tmp_path / labels / "val" / f"7d06fefd-f7be05a6{end}.png", truth)
    same(f"bdd:{tmp_path}", truth, "val")
    assert has_split(f"bdd:{tmp_path}", "val") and not has_split(f"bdd:{tmp_path}", "train")


@pytest.mark.parametrize(
    ("name", "version", "ids"),
    [("mapillary", "v1.2", tables.VISTAS_V12_IDS), ("mapillary-v2", "v2.0", tables.VISTAS_V2_IDS)],
)
def test_mapillary_labels_instances_and_panoptic(tmp_path, truth, name, version, ids):
    values = to_ids(truth, ids, max(ids))
    for place in range(3):
        root = tmp_path / str(place)
        photograph(root / "validation" / "images" / "a.jpg")
    label(tmp_path / "0" / "validation" / version / "labels" / "a.png", values, palette=True)
    label(tmp_path / "1" / "validation" / version / "labels" / "a.png", values.astype(np.uint16) * 256 + 2)
    same(f"{name}:{tmp_path}/0", truth, "val")
    same(f"{name}:{tmp_path}/1", truth, "val")
    names = tables.VISTAS_V12_NAMES if version == "v1.2" else tables.VISTAS_V2_NAMES
    segments = {v: 1000 * i + 70000 for i, v in enumerate(np.unique(values).tolist())}
    packed = np.vectorize(segments.get)(values)
    place = tmp_path / "2" / "validation" / version / "panoptic"
    label(place / "a.png", np.stack([packed & 255, packed >> 8 & 255, packed >> 16], -1).astype(np.uint8))
    listing = {
        "categories": [{"id": i + 1, "name": n} for i, n in enumerate(names)],
        "annotations": [
            {"file_name": "a.png", "segments_info": [{"id": s, "category_id": v + 1} for v, s in segments.items()]}
        ],
    }
    (place / "panoptic_2020.json").write_text(json.dumps(listing))
    same(f"{name}:{tmp_path}/2", truth, "val")
    for content in ("{}", "[", '{"categories": [], "annotations": [{}]}'):
        (place / "panoptic_2020.json").write_text(content)
        read_segments.cache_clear()
        with pytest.raises(ValueError, match=r"panoptic_2020\.json is no panoptic listing"):
            open_dataset(f"{name}:{tmp_path}/2", "val")
    for values, like in ((label_ids(truth), "another encoding"), (np.where(truth == VOID, 0, truth), "trainIds")):
        label(tmp_path / "0" / "validation" / version / "labels" / "a.png", values.astype(np.uint8))
        with pytest.raises(ValueError, match=f"No label of .* above {values.max()}.*{like}, not Mapillary"):
            open_dataset(f"{name}:{tmp_path}/0", "val")


def test_acdc_by_condition(tmp_path, truth):
    for condition in ("fog", "night"):
        stem = f"GOPR0475_{condition}_frame_000041"
        photograph(tmp_path / "rgb_anon" / condition / "val" / "GOPR0475" / f"{stem}_rgb_anon.png")
        ending = "labelIds" if condition == "fog" else "labelTrainIds"
        values = label_ids(truth) if condition == "fog" else truth
        label(tmp_path / "gt" / condition / "val" / "GOPR0475" / f"{stem}_gt_{ending}.png", values)
    everything = open_dataset(f"acdc:{tmp_path}", "val")
    assert everything.conditions == ("fog", "night")
    assert all((everything[i][1] == truth).all() for i in range(2))
    assert open_dataset(f"acdc-night:{tmp_path}", "val").conditions == ("night",)
    with pytest.raises(ValueError, match="No split 'val'"):
        open_dataset(f"acdc-snow:{tmp_path}", "val")


def test_camvid_in_three_editions(tmp_path, truth):
    groups = list(COMMON)
    ids = {value: groups.index(name) if name else VOID for value, name in enumerate(tables.CAMVID_TUTORIAL)}
    table = {ROAD: "road", SKY: "sky", CAR: "vehicle", VOID: ""}
    tutorial = np.vectorize(lambda t: tables.CAMVID_TUTORIAL.index(table[t]))(truth).astype(np.uint8)
    photograph(tmp_path / "a" / "val" / "0016E5_07959.png")
    label(tmp_path / "a" / "valannot" / "0016E5_07959.png", tutorial)
    same(f"camvid:{tmp_path}/a", truth, "val")
    assert ids[11] == VOID

    by_name = {ROAD: "LaneMkgsDriv", SKY: "Sky", CAR: "SUVPickupTruck", VOID: "Void"}
    painted = np.zeros((H, W, 3), np.uint8)
    for value, name in by_name.items():
        painted[truth == value] = tables.CAMVID_COLOURS[tables.CAMVID_NAMES.index(name)]
    for stem in ("0016E5_07959", "0001TP_006690", "0001TP_008550", "Seq05VD_f00000", "0006R0_f00930"):
        photograph(tmp_path / "b" / "701_StillsRaw_full" / f"{stem}.png")
        label(tmp_path / "b" / "LabeledApproved_full" / f"{stem}_L.png", painted)
    same(f"camvid:{tmp_path}/b", truth, "val")
    sizes = {split: len(open_dataset(f"camvid:{tmp_path}/b", split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 2, "val": 1, "test": 2}

    photograph(tmp_path / "c" / "val" / "images" / "a.png")
    label(tmp_path / "c" / "val" / "labels" / "a.png", truth)
    same(f"camvid:{tmp_path}/c", truth, "val")


@pytest.mark.parametrize(
    ("ending", "ids"),
    [("labelids.png", tables.IDD_IDS), ("labellevel3Ids.png", tables.IDD_LEVEL3_IDS), ("polygons.json", None)],
)
def test_idd(tmp_path, truth, ending, ids):
    photograph(tmp_path / "leftImg8bit" / "val" / "119" / "903127_leftImg8bit.png")
    path = tmp_path / "gtFine" / "val" / "119" / f"903127_gtFine_{ending}"
    polygons(path) if ids is None else label(path, to_ids(truth, ids, 255 if 255 in ids else 35))
    same(f"idd:{tmp_path}", truth, "val")
    if ids is not None:
        label(path, np.where(truth == VOID, 0, truth).astype(np.uint8))
        with pytest.raises(ValueError, match="No label of .* above 13: they look like Cityscapes trainIds, not IDD's"):
            open_dataset(f"idd:{tmp_path}", "val")


def test_idd_lite_in_its_official_layout(tmp_path, truth):
    photograph(tmp_path / "leftImg8bit" / "train" / "0" / "024541_image.jpg")
    groups = np.vectorize({ROAD: 0, SKY: 6, CAR: 3, VOID: 255}.get)(truth).astype(np.uint8)
    label(tmp_path / "gtFine" / "train" / "0" / "024541_label.png", groups)
    same(f"idd_lite:{tmp_path}", truth)


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("folder", lambda t: t),
        ("trainids", lambda t: t),
        ("labelids", label_ids),
        ("colours", colours),
        ("panoptic", panoptic),
    ],
)
def test_any_folder(tmp_path, truth, name, encode):
    photograph(tmp_path / "images" / "a.png")
    label(tmp_path / "labels" / "a.png", encode(truth))
    same(f"{name}:{tmp_path}", truth)


# -- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "encode", "message"),
    [
        ("folder", label_ids, r"values 0-26 look like Cityscapes labelIds: name the set labelids:ROOT"),
        ("folder", lambda t: to_ids(t, tables.VISTAS_V12_IDS, 65), r"look like ids of Mapillary Vistas v1.2"),
        ("folder", lambda t: to_ids(t, tables.VISTAS_V2_IDS, 123), r"look like ids of Mapillary Vistas v2.0"),
        ("folder", colours, r"holds colours \(mode RGB\), not ids: they look like Cityscapes colours"),
        ("folder", panoptic, r"look like panoptic ids: name the set panoptic:ROOT"),
        ("folder", lambda t: np.full(t.shape, 26005, np.uint16), r"look like Cityscapes instanceIds"),
        ("labelids", lambda t: t, r"values 0-13 and 255 look like Cityscapes trainIds: name the set trainids:ROOT"),
        ("labelids", lambda t: np.where(t == VOID, 0, t).astype(np.uint8), r"No label of .* above 13.*trainids:ROOT"),
        (
            "camvid",
            lambda t: np.select([t == ROAD, t == SKY, t == CAR], [3, 0, 8], 11).astype(np.uint8),
            "hold 3 .*SegNet's edition",
        ),
        ("camvid", lambda t: np.full_like(t, VOID), r"No pixel of camvid:.* is labelled"),
        ("colours", lambda t: colours(t) + 1, r"the colour \(129, 65, 129\), which the palette"),
    ],
)
def test_wrong_encodings_are_named(tmp_path, truth, name, encode, message):
    photograph(tmp_path / "images" / "a.png")
    truth[:4, :4] = SKY if name == "colours" else VOID
    label(tmp_path / "labels" / "a.png", encode(truth))
    with pytest.raises(ValueError, match=message):
        open_dataset(f"{name}:{tmp_path}")


def test_broken_pairs_are_named_before_training_or_left_out(tmp_path, truth):
    for stem in "abcd":
        photograph(tmp_path / "images" / f"{stem}.png")
        label(tmp_path / "labels" / f"{stem}.png", truth)
    (tmp_path / "labels" / "b.png").write_bytes(b"cut")
    noise = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "images" / "c.png")
    whole = (tmp_path / "images" / "c.png").read_bytes()
    (tmp_path / "images" / "c.png").write_bytes(whole[: len(whole) // 2])  # the header is fine
    label(tmp_path / "labels" / "d.png", truth[:, :-1])
    with pytest.raises(ValueError, match=r"b\.png cannot be read .*1 more files are faulty"):
        open_dataset(str(tmp_path))
    left = open_dataset(str(tmp_path), skip_broken=True)
    assert [p.image.stem for p in left.pairs] == ["a"] and len(left.counts) == 1 and len(left.faults) == 3
    assert (left[0][1] == truth).all()
    lazy = open_dataset(str(tmp_path), skip_broken=True, cache_bytes=0)
    with pytest.raises(ValueError, match=r"c\.png"):
        lazy.read_all()


def test_a_census_of_labels_is_remembered(tmp_path, truth, monkeypatch):
    monkeypatch.setattr(census, "SMALLEST", 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for stem in "abc":
        photograph(tmp_path / "set" / "images" / f"{stem}.png")
        label(tmp_path / "set" / "labels" / f"{stem}.png", truth)
    spec = str(tmp_path / "set")
    first = open_dataset(spec, cache_bytes=0)
    with monkeypatch.context() as patch:
        patch.setattr(census, "check_pair", lambda *_: 1 / 0)
        again = open_dataset(spec, cache_bytes=0)
    assert (again.counts == first.counts).all() and (again[2][1] == truth).all()
    label(tmp_path / "set" / "labels" / "b.png", np.zeros_like(truth))
    assert open_dataset(spec, cache_bytes=0).counts[1, ROAD] == truth.size  # a changed file is another census
    (stored,) = [
        p
        for p in (tmp_path / "cache" / "mfuser" / "labels").iterdir()
        if p.stat().st_mtime == max(q.stat().st_mtime for q in (tmp_path / "cache" / "mfuser" / "labels").iterdir())
    ]
    stored.write_bytes(b"cut")
    assert open_dataset(spec, cache_bytes=0).counts[1, ROAD] == truth.size
