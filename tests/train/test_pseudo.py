"""Labels from a trained model: what they keep of given ones, what they leave open, and that they can be trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mfuser import checkpoint
from mfuser.segmenter import Segmenter
from train.__main__ import main
from train.data import open_dataset
from train.data.groups import CITYSCAPES, COMMON_SPACE
from train.pseudo import choose, class_probabilities


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
    given, found = (np.asarray(Image.open(p)) for p in (streets / "train/labels/1.png", out / "labels/train-1.png"))
    common = COMMON_SPACE.table()
    assert np.array_equal(common[given], common[found]) and set(np.unique(given)) == {0, 10, 13, 255}
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*.*")}
    assert main(command) == 0  # nothing is done again
    assert stamps == {p: p.stat().st_mtime_ns for p in out.rglob("*.*")}


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
    command += ["--freeze-norm", "--out", str(out)]  # its folder last
    assert main(command) == 0
    before, after = (checkpoint.load(f / "stream-fused.safetensors")[0] for f in (trained, out))
    assert all(torch.allclose(before[n], t, atol=1e-6) for n, t in after.items())
    assert (out / "encoder-vfm.safetensors").read_bytes() == (trained / "encoder-vfm.safetensors").read_bytes()
    command.append("--resume")
    assert main(command) == 0 and "skipped" in capsys.readouterr().out
    state = {n: t + 0.1 if t.is_floating_point() else t for n, t in before.items()}
    checkpoint.save(trained / "stream-fused.safetensors", state)
    assert main(command) == 2  # the same recipe from other weights is another run
    assert "start" in capsys.readouterr().err
    command += ["--out", str(tmp_path / "new"), "--encoders", str(trained), "--start", str(streets)]
    assert main(command) == 2
    assert "to start from" in capsys.readouterr().err
