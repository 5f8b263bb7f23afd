"""The command from weights and photographs to its table, its numbers and its sheet."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mfuser import images
from mfuser.pictures.figures import render
from mfuser.weights import tensors as tensors_module
from train.__main__ import main
from train.data.groups import IDD_SPACE
from train.measure.probe import command, component_sheet
from train.measure.probe.command import ProbeConfig, name_folders, run
from train.measure.probe.component_sheet import CAPTION, WIDTH, sheet
from train.measure.probe.evaluation import View
from train.measure.probe.features import Encoders, ImageNetTrunk, PatchFeatures
from train.measure.probe.report import markdown
from train.runtime.hardware import choose_hardware

WAYS = ("to text", "to region")


class Coloured(ImageNetTrunk):
    """In place of the ImageNet trunk."""

    rows = ("Lite0, strides 8, 16", "Lite0, strides 16, 32")

    def __init__(self, preset, device):
        pass

    def features(self, pixels, compare=False):
        cells = pixels[..., 8::16, 8::16].permute(0, 2, 3, 1)
        return PatchFeatures(tuple(cells.shape[1:3]), {row: cells for row in self.rows})


@pytest.fixture
def config(streets, trained, tmp_path) -> ProbeConfig:
    return ProbeConfig(
        data=f"camvid:{streets}/train",
        val=f"camvid:{streets}/val",
        weights=(trained,),
        preset="tiny",
        samples=40,
        out=tmp_path / "out",
        device="cpu",
        workers=0,
    )


@pytest.fixture
def india(streets, tmp_path):
    """The streets that score, in IDD's groups."""
    root = tmp_path / "idd"
    shutil.copytree(streets / "val" / "images", root / "val" / "images")
    (root / "val" / "labels_group").mkdir()
    for path in (streets / "val" / "labels").iterdir():  # train ids
        groups = IDD_SPACE.table()[np.array(Image.open(path))]
        Image.fromarray(groups).save(root / "val" / "labels_group" / path.name)
    return root


@pytest.fixture
def vlm_alone(trained, tmp_path):
    folder = tmp_path / "before"
    tensors, _ = tensors_module.load(trained / "encoder-vlm.safetensors")
    tensors_module.save(
        folder / "encoder-vlm.safetensors", {n: t.roll(1, 0) if t.ndim > 1 else t for n, t in tensors.items()}
    )
    return folder


def test_one_folder_gives_a_table_numbers_and_a_sheet(config, trained, streets, capsys):
    own = ["--weights", str(trained), "--preset", "tiny", "--out", str(config.out), "--device", "cpu", "--workers", "0"]
    sets = ["--data", f"camvid:{streets}/train", "--val", f"camvid:{streets}/val", "--samples", "40"]
    assert main(["probe", *own, *sets]) == 0
    text, report = (config.out / "probe.md").read_text(), json.loads((config.out / "probe.json").read_text())
    assert capsys.readouterr().out == text and str(config.out.parent) not in text + json.dumps(report)
    assert sorted(path.name for path in config.out.iterdir()) == ["pca.jpg", "probe.json", "probe.md"]
    assert (
        "    python -m train probe --weights run --data camvid:CAMVID/train --val camvid:CAMVID/val --preset tiny"
        in text
    )
    assert report["images"] == [6, 3] and list(report["weights"]) == ["run"]
    found = report["weights"]["run"]
    assert list(found["rows"]) == ["vfm tokens", "vfm", "vlm tokens", "vlm", "vfm + vlm", "fused"]
    assert [row["width"] for row in found["rows"].values()] == [64, 64, 64, 64, 128, 128]
    for name, row in found["rows"].items():
        assert 0 < row["miou"] <= 1 and 0 <= row["boundary"] <= 1 and ("retrieval" in row) == (name in ("vlm", "fused"))
    scores = found["rows"]["fused"]
    numbers = [scores["miou"], scores["boundary"], scores["zero-shot"], *(scores["retrieval"][way] for way in WAYS)]
    assert "| fused, both halves | 128 | " + " | ".join(f"{100 * n:.1f}" for n in numbers) + " |" in text.splitlines()
    assert found["samples"] == 42 and len(found["cka"]["VFM, VLM"]) == len(report["places"]) == 5
    assert f"| VFM, VLM | {' | '.join(f'{v:.2f}' for v in found['cka']['VFM, VLM'])} |" in text
    assert Image.open(config.out / "pca.jpg").width == 5 * WIDTH


def test_texts_are_the_plain_names_of_the_groups(config, monkeypatch):
    asked, embed = [], Encoders.embed_texts
    monkeypatch.setattr(Encoders, "embed_texts", lambda self, texts: asked.append(texts) or embed(self, texts))
    run(config)
    names = "road sidewalk building fence pole traffic_sign vegetation sky person rider car"
    assert asked == 2 * [[name.replace("_", " ") for name in names.split()]], "of the set that taught, and that scores"


def test_the_same_command_gives_the_same_numbers(config):
    first = run(config)
    found = json.loads((config.out / "probe.json").read_text())["weights"]["run"]
    assert run(config) == first
    run(replace(config, seed=1))
    other = json.loads((config.out / "probe.json").read_text())["weights"]["run"]
    assert other["rows"] == found["rows"] and other["cka"] != found["cka"], "the seed chooses the patches of CKA alone"


def test_another_sets_groups_score_by_the_classes_that_name_them(config, india):
    text = run(replace(config, val=f"idd_lite:{india}/val", soften=0.5))
    found = json.loads((config.out / "probe.json").read_text())
    assert list(map(len, found["groups"])) == [11, 7]
    assert list(found["weights"]["run"]["rows"]["vlm"]["iou by group"])[0] == "drivable"
    assert "of idd_lite:val, shrunk to 0.5 and enlarged again, 11 into 7 groups, in percent" in text
    assert "--val idd_lite:IDD_LITE/val" in text and "--soften 0.5" in text
    sharp = run(replace(config, val=f"idd_lite:{india}/val", out=config.out.with_name("sharp")))
    assert "enlarged again" not in sharp and text.split("\n\n")[1] != sharp.split("\n\n")[1], "the numbers differ"
    common, idd = command.open_sets(replace(config, val=f"idd_lite:{india}/val"))
    named = {n: idd.groups.names[g] for n, g in zip(common.groups.names, command.renaming(common, idd), strict=False)}
    assert named["two-wheeler"] == "living thing" and named["fence"] == named["pole"] == "roadside object"
    with pytest.raises(ValueError, match="other groups, and 'pole' has no counterpart"):
        command.renaming(idd, common)


def test_fewer_photographs_and_another_picture(config, tmp_path):
    images.save(tmp_path / "flat.png", np.full((64, 64, 3), 90, np.uint8))
    text = run(replace(config, limit=4, val_limit=2, picture=tmp_path / "flat.png"))
    assert json.loads((config.out / "probe.json").read_text())["images"] == [4, 2]
    assert "trained on 4 photographs" in text and "--limit 4 --val-limit 2" in text
    assert Image.open(config.out / "pca.jpg").height == WIDTH + CAPTION, "a square picture"


def test_several_folders_are_a_ladder(config, vlm_alone, monkeypatch):
    monkeypatch.setattr(command, "ImageNetTrunk", Coloured)
    text = run(
        replace(config, weights=(vlm_alone, *config.weights), imagenet=True, val="", data=config.data[: -len("/train")])
    )
    report = json.loads((config.out / "probe.json").read_text())["weights"]
    assert [(name, len(found["rows"])) for name, found in report.items()] == [
        ("ImageNet", 2),
        ("before", 2),
        ("run", 6),
    ]
    first = [
        line.split(" | ")[:2] for line in text.splitlines() if line.startswith(("| ImageNet ", "| before ", "| run "))
    ]
    assert first[:4] == [
        ["| ImageNet", "trunk, Lite0, strides 8, 16"],
        ["| ImageNet", "trunk, Lite0, strides 16, 32"],
        ["| before", "VLM, trunk alone"],
        ["| before", "VLM, last block"],
    ]
    assert report["before"]["rows"]["vlm"]["miou"] != report["run"]["rows"]["vlm"]["miou"]
    assert report["before"]["cka"] == {} and "--imagenet" in text and "--weights before --weights run" in text
    assert Image.open(config.out / "pca.jpg").width == 5 * WIDTH


def test_a_sheet_has_a_row_for_each_folder(trained, vlm_alone, tiny_preset, monkeypatch):
    street, view = np.full((64, 96, 3), 90, np.uint8), View(tiny_preset, choose_hardware("cpu", "float32", 0))
    sources = {"run": Encoders(tiny_preset, trained), "before": Encoders(tiny_preset, vlm_alone)}
    figures = []
    monkeypatch.setattr(component_sheet, "render", lambda figure: figures.append(figure) or render(figure))

    def captions(*names: str, **more: Coloured) -> list[list[str]]:
        jpeg = sheet({**more, **{name: sources[name] for name in names}}, street, view)
        assert Image.open(io.BytesIO(jpeg)).width == WIDTH * len({axes.get_position().x0 for axes in figures[-1].axes})
        columns = len(figures[-1].axes) // len(names)
        titles = [axes.get_title() if axes.images else "" for axes in figures[-1].axes]
        assert all(axes.images[0].get_array().shape == street.shape for axes in figures[-1].axes if axes.images)
        return [titles[i : i + columns] for i in range(0, len(titles), columns)]

    last = ["VFM, last block", "VLM, last block", "fused, both halves"]
    assert captions("run") == [["picture", "VFM, trunk alone", *last]]
    assert captions("before") == [["picture", "VLM, trunk alone", "VLM, last block"]]
    first = "ImageNet trunk, Lite0, strides 8, 16"
    assert captions("before", "run", ImageNet=Coloured(tiny_preset, "cpu")) == [
        ["before", first, "", "VLM, last block", ""],
        ["run", first, *last],
    ]


def test_folders_are_named_by_what_tells_them_apart(tmp_path, tiny_preset):
    folders = [tmp_path / "a" / "nano", tmp_path / "b" / "nano", tmp_path / "b" / "ImageNet"]
    for folder in folders:
        folder.mkdir(parents=True)
    assert list(name_folders(folders[:1], tiny_preset)) == ["nano"]
    assert list(name_folders(folders[:2], tiny_preset)) == ["a/nano", "b/nano"]
    assert list(name_folders(folders[2:], tiny_preset)) == ["b/ImageNet"]
    assert name_folders((), tiny_preset) == {"tiny": None}
    with pytest.raises(ValueError, match="names a folder twice"):
        name_folders([folders[0], tmp_path / "a" / "." / "nano"], tiny_preset)


def test_what_is_not_known_is_a_dash():
    row = {"miou": 0.5, "boundary": 0.25, "width": 8, "retrieval": {"to text": None, "to region": None}}
    found = {"rows": {"vlm": row}, "cka": {"VFM, VLM": [0.5, None]}, "samples": 9}
    report = {
        "data": "a",
        "val": "b",
        "images": [1, 2],
        "groups": [["x"], ["x"]],
        "soften": 0,
        "places": ["tokens", "1"],
        "command": "c",
    }
    lines = markdown({**report, "weights": {"run": found}}).splitlines()
    assert "| VLM, last block | 8 | 50.0 | 25.0 | - | - | - |" in lines and "| VFM, VLM | 0.50 | - |" in lines
    assert "| CKA of patch tokens | tokens | pair 1 |" in lines


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--data": None}, "No data to train probes on: pass --data"),
        ({"--val": None}, "No data to score on: pass --val"),
        ({"--val": "folder:DATA/val"}, "are labelled in other groups"),
        ({"--data": "camvid:/nowhere"}, "There is no folder /nowhere"),
        ({"--weights": "GONE"}, "pass --weights DIR, as `python -m train pretrain` wrote it"),
        ({"--weights": "DATA"}, "No encoder of preset 'tiny'"),
        ({"--preset": "nothing"}, "Unknown preset 'nothing'"),
        ({"--limit": "-1"}, "--limit must not be negative, got -1"),
        ({"--soften": "1"}, "--soften is a share, 0 to below 1, got 1"),
        ({"--samples": "3"}, "--samples must be 4 or more, got 3"),
        ({"--batch": "0"}, "--batch must be above 0, got 0"),
        ({"--picture": "GONE"}, "There is no file"),
        ({"--device": "abacus"}, "Unknown device 'abacus'"),
    ],
    ids=lambda value: " ".join(map(str, *value.items())) if isinstance(value, dict) else "",
)
def test_bad_input_is_one_sentence(options, message, streets, trained, tmp_path, monkeypatch, capsys):
    own = {"--data": "camvid:DATA/train", "--val": "camvid:DATA/val", "--weights": "RUN", "--preset": "tiny"}
    given = {**own, "--out": "OUT", "--device": "cpu", "--workers": "0", **options}
    places = {"DATA": streets, "RUN": trained, "OUT": tmp_path / "out", "GONE": tmp_path / "gone"}
    words = [word for pair in given.items() if pair[1] is not None for word in pair]
    for name, place in places.items():
        words = [word.replace(name, str(place)) for word in words]
    monkeypatch.setattr(
        "train.measure.probe.evaluation.gather", lambda *_: pytest.fail("measured before the fault was said")
    )
    try:
        code = main(["probe", *words])
    except SystemExit as error:  # an option by itself is refused with a pointer to --help, in a frame
        code = error.code
    err = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert code == 2 and message in err and "Traceback" not in err
    assert not list(tmp_path.glob("out/*"))
