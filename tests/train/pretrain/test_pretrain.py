"""Pre-training: photographs are gathered, stages are skipped or overwritten, and faults are named at the start."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mfuser.weights import files
from train.__main__ import main
from train.pretrain import text, vfm
from train.pretrain.command import PretrainConfig, check_ready
from train.pretrain.crops import HEIGHT, WIDTH, find_photographs, gather


def test_photographs_are_gathered_at_one_size(streets):
    pictures, labels, names = gather([f"camvid:{streets}"], labelled=True)
    assert pictures.shape == (6, 3, HEIGHT, WIDTH) and labels.shape == (6, HEIGHT, WIDTH) and len(names) == 11
    assert pictures[0, :, 0, 0].tolist() == pytest.approx([150, 190, 240], abs=14)  # sky above
    assert set(np.unique(labels)) == {0, 7, 10, 255}  # groups of road, sky and car
    plain, empty, _ = gather([f"camvid:{streets}", f"camvid:{streets}/val"], labelled=False)
    assert len(plain) == 9 and empty.shape == (9, 1, 1)


def test_faults_are_named_before_training(tmp_path, streets):
    with pytest.raises(ValueError, match="No photographs: name at least one set"):
        find_photographs([], labelled=False)
    with pytest.raises(ValueError, match="needs .*text.safetensors: run --stage text vlm"):
        check_ready(["vlm"], [f"camvid:{streets}"], tmp_path)
    (streets / "train" / "labels" / "0.png").unlink()
    with pytest.raises(ValueError, match="No label for"):
        check_ready(["text", "vlm"], [f"camvid:{streets}"], tmp_path)
    check_ready(["vfm"], [f"camvid:{streets}"], tmp_path)
    with pytest.raises(ValueError, match="--batch must not be negative"):
        PretrainConfig(batch=-1)


def test_command_skips_what_exists_and_overwrites_once(tmp_path, streets, monkeypatch, capsys):
    made = []

    def stage_train(model, data, out, config):
        made.append((config.iterations, config.batch, config.state.exists()))
        return model.vfm.state_dict()

    monkeypatch.setattr(vfm, "train", stage_train)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "note.png")
    arguments = ["pretrain", "--stage", "vfm", "--data", f"camvid:{streets}", "--out", str(tmp_path), "--batch", "3"]
    assert main(arguments) == 0 and made == [(vfm.CONFIG.iterations, 3, False)]
    assert files.load_metadata(tmp_path / vfm.OUTPUT)["sets"] == "camvid:streets/train (6 images)"
    assert main(arguments) == 0 and len(made) == 1 and "stage vfm skipped" in capsys.readouterr().out
    (tmp_path / "vfm.state.pt").write_bytes(b"old")
    assert main([*arguments, "--overwrite"]) == 0 and made[1:] == [(vfm.CONFIG.iterations, 3, False)]
    assert main(["pretrain", "--preset", "nothing"]) == 2 and "Unknown preset" in capsys.readouterr().err
    assert text.OUTPUT == "text.safetensors"


def test_texts_are_learned_in_float32_whatever_is_asked_for(tmp_path, monkeypatch):
    asked = []

    def stage_train(model, data, out, config):
        asked.append(config.precision)
        return model.vlm.text.state_dict()

    monkeypatch.setattr(text, "train", stage_train)
    assert main(["pretrain", "--stage", "text", "--precision", "bf16", "--out", str(tmp_path)]) == 0
    assert asked == ["float32"] and (tmp_path / text.OUTPUT).stat().st_size < 14_000_000, "in few bits"
