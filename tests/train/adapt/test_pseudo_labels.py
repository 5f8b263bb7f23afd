"""Labels from a trained model: what they keep of given ones, what they leave open, and that they can be trained on."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mfuser.inference.segmenter import Segmenter
from mfuser.weights import tensors
from train.__main__ import main
from train.adapt.pseudo_files import Prefix
from train.adapt.pseudo_labels import choose, class_probabilities
from train.data import open_dataset
from train.data.groups import CITYSCAPES, COMMON_SPACE


def test_given_groups_are_kept_and_their_likeliest_member_chosen():
    p = torch.full((19, 1, 4), 0.01)
    p[13, :, 0], p[14, :, 1], p[0, :, 2] = 0.5, 0.4, 0.9  # car, truck, road
    vehicle, sky = COMMON_SPACE.names.index("vehicle"), COMMON_SPACE.names.index("sky")
    label = np.array([[vehicle, vehicle, sky, 255]], np.uint8)
    assert choose(p, label, COMMON_SPACE, 0.99).tolist() == [[13, 14, 10, 255]]


def test_without_labels_only_what_is_sure_counts():
    p = torch.zeros(19, 1, 3)
    p[8, 0] = torch.tensor([0.95, 0.8, 0.79])
    assert choose(p, None, CITYSCAPES, 0.8).tolist() == [[8, 8, 255]]


@torch.inference_mode()
def test_mirror_images_and_resolutions_are_averaged(tiny_model):
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    segmenter = Segmenter(tiny_model)
    both = class_probabilities(segmenter, picture, "fused")
    torch.testing.assert_close(both.sum(0), torch.ones(both.shape[1:]))
    turned = class_probabilities(segmenter, picture[:, ::-1], "fused")
    torch.testing.assert_close(both, turned.flip(-1), rtol=1e-4, atol=1e-6)
    plain = class_probabilities(segmenter, picture, "fused", mirror=False)
    other = class_probabilities(segmenter, picture[:, ::-1].copy(), "fused", mirror=False)
    torch.testing.assert_close(both, (plain + other.flip(-1)) / 2, rtol=1e-4, atol=1e-6)
    two = class_probabilities(segmenter, picture, "fused", (0, 96))
    assert two.shape == both.shape and not torch.allclose(two, both)


def test_a_labelled_and_an_unlabelled_set_become_one_to_train_on(streets, trained, tmp_path, capsys):
    out = tmp_path / "pseudo"
    command = ["pseudo", "--preset", "tiny", "--weights", str(trained), "--data", f"camvid:{streets}/train"]
    command += ["--photographs", f"{streets}/val", "--confidence", "0.1", "--out", str(out), "--device", "cpu"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "6 photographs" in told and "3 photographs" in told
    made = open_dataset(f"folder:{out}", "train")
    assert len(made) == 9
    (label,) = (out / "labels").glob("train-1-*.png")
    given, found = (np.asarray(Image.open(p)) for p in (streets / "train/labels/1.png", label))
    common = COMMON_SPACE.table()
    assert np.array_equal(common[given], common[found]) and set(np.unique(given)) == {0, 10, 13, 255}
    stamps = {p: p.stat().st_mtime_ns for p in out.glob("*/*")}
    said = (out / "pseudo.json").read_text()
    assert main(command) == 0  # nothing is done again
    assert stamps == {p: p.stat().st_mtime_ns for p in out.glob("*/*")} and len(stamps) == 18
    assert (out / "pseudo.json").read_text() == said and not list(out.rglob(".*"))
    record = json.loads(said)
    weights = hashlib.sha256((trained / "stream-fused.safetensors").read_bytes()).hexdigest()[:16]
    made = {"stream": "fused", "confidence": 0.1, "preset": "tiny", "resolutions": [0], "weights": weights}
    assert record["settings"] == made and list(record["sets"]) == ["train", "val"]
    assert record["sets"]["train"]["photographs"] == 6 and 0.9 < record["sets"]["train"]["labelled"] < 1


def photograph(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def label(trained, tmp_path):
    """Runs the command on sets, and gives the pictures that OUT then holds, each with a label."""
    out = tmp_path / "pseudo"

    def run(*arguments: str, code: int = 0) -> list[bytes]:
        command = ["pseudo", "--preset", "tiny", "--weights", str(trained), "--device", "cpu", "--confidence", "0"]
        assert main([*command, "--out", str(out), *arguments]) == code
        if code:
            return []
        assert sorted(p.stem for p in (out / "images").iterdir()) == sorted(p.stem for p in (out / "labels").iterdir())
        return sorted(p.read_bytes() for p in (out / "images").iterdir())

    run.out = out
    return run


def test_folders_of_one_name_keep_all_their_photographs(label, tmp_path, capsys):
    sources = [tmp_path / folder / "roads/images/1.png" for folder in "xyz"]
    for seed, path in enumerate(sources):
        photograph(path, seed)
    sets = [word for path in sources for word in ("--photographs", str(path.parents[1]))]
    assert label(*sets[:4]) == sorted(p.read_bytes() for p in sources[:2])
    assert label(*sets) == sorted(p.read_bytes() for p in sources)  # another one comes to them
    assert list(json.loads((label.out / "pseudo.json").read_text())["sets"]) == ["roads", "roads (2)", "roads (3)"]
    label(*sets[2:], code=2)
    assert "is another photograph than" in capsys.readouterr().err  # none is hidden
    label(*sets[:2], *sets[:2], code=2)
    assert "is given twice" in capsys.readouterr().err


def test_suffixes_of_one_stem_are_photographs_of_their_own(label, tmp_path):
    sources = [tmp_path / "roads/images/1.png", tmp_path / "roads/images/1.jpg"]
    for seed, path in enumerate(sources):
        photograph(path, seed)
    assert label("--photographs", str(tmp_path / "roads")) == sorted(p.read_bytes() for p in sources)


def test_drives_of_one_split_are_kept_apart(label, tmp_path):
    """IDD counts its photographs anew in each drive."""
    root = tmp_path / "idd"
    sources = [root / f"leftImg8bit/train/{drive}/000045_leftImg8bit.png" for drive in (0, 1)]
    for seed, path in enumerate(sources):
        photograph(path, seed)
        target = root / f"gtFine/train/{seed}/000045_gtFine_labelids.png"
        target.parent.mkdir(parents=True)
        Image.fromarray(np.repeat(np.uint8([0, 4, 36]), 1024).reshape(48, 64)).save(target)
    assert label("--data", f"idd:{root}/train") == sorted(p.read_bytes() for p in sources)
    assert label("--data", f"idd:{root}/train") == sorted(p.read_bytes() for p in sources)


def test_names_do_not_depend_on_where_the_data_lies():
    names = {Prefix("roads").name(root, root / "images/1.png") for root in (Path("/a/roads"), Path("b/roads"))}
    assert len(names) == 1 and re.fullmatch("roads-1-[0-9a-f]{8}", names.pop())


def test_other_settings_are_refused_and_made_anew_when_asked(label, trained, tmp_path, capsys):
    photograph(tmp_path / "a/images/1.png", 0)
    photograph(tmp_path / "b/images/2.png", 1)
    one, other = ("--photographs", str(tmp_path / "a")), ("--photographs", str(tmp_path / "b"))
    label(*one)
    capsys.readouterr()
    for extra, why in (
        (("--confidence", "0.5"), "was made with confidence 0.0, not 0.5: choose another --out or pass --overwrite"),
        (("--resolutions", "0", "96"), "was made with resolutions 0, not 0, 96"),
        (("--stream", "vlm"), "was made with stream fused, not vlm"),
    ):
        label(*one, *extra, code=2)
        assert why in (said := capsys.readouterr().err) and len(said.strip().splitlines()) == 1
    assert len(label(*other, "--confidence", "0.5", "--overwrite")) == 1
    assert json.loads((label.out / "pseudo.json").read_text())["settings"]["confidence"] == 0.5
    (label.out / "pseudo.json").write_text("{")
    label(*other, code=2)
    assert "pseudo.json is damaged" in capsys.readouterr().err
    (label.out / "pseudo.json").unlink()
    for extra in ((), ("--overwrite",)):  # photographs of unknown origin are nobody's to remove
        label(*other, *extra, code=2)
        assert "no pseudo.json says what made them" in capsys.readouterr().err
    label("--photographs", str(label.out), code=2)
    assert "where its labels would go" in capsys.readouterr().err
    assert len(list((label.out / "images").iterdir())) == 1


def test_bad_input_is_told(capsys):
    assert main(["pseudo"]) == 2 and "Nothing to label" in capsys.readouterr().err
    for extra, why in (
        (["--confidence", "1"], "--confidence must lie"),
        (["--resolutions", "-1"], "--resolutions needs"),
    ):
        with pytest.raises(SystemExit):
            main(["pseudo", "--photographs", "x", *extra])
        assert why in capsys.readouterr().err


def test_training_goes_on_from_other_weights(streets, trained, tmp_path, capsys):
    out = tmp_path / "further"
    command = ["fit", "--preset", "tiny", "--data", f"camvid:{streets}", "--streams", "fused", "--start", str(trained)]
    command += ["--iterations", "1", "--lr", "1e-12", "--min-lr", "0", "--warmup", "0", "--batch", "1", "--crop", "64"]
    command += ["--points", "64", "--workers", "0", "--device", "cpu", "--no-tensorboard", "--no-half", "--ema", "0"]
    command += ["--out", str(out)]  # its folder last
    assert main(command) == 0
    before, after = (tensors.load(f / "stream-fused.safetensors")[0] for f in (trained, out))
    counted = ("running_mean", "running_var", "num_batches_tracked")  # what batch norms learn without gradients
    assert all(torch.allclose(before[n], t, atol=1e-6) for n, t in after.items() if not n.endswith(counted))
    assert (out / "encoder-vfm.safetensors").read_bytes() == (trained / "encoder-vfm.safetensors").read_bytes()
    command.append("--resume")
    assert main(command) == 0 and "skipped" in capsys.readouterr().out
    state = {n: t + 0.1 if t.is_floating_point() else t for n, t in before.items()}
    tensors.save(trained / "stream-fused.safetensors", state)
    assert main(command) == 2  # the same recipe from other weights is another run
    assert "start" in capsys.readouterr().err
    command += ["--out", str(tmp_path / "new"), "--encoders", str(trained), "--start", str(streets)]
    assert main(command) == 2
    assert "to start from" in capsys.readouterr().err
