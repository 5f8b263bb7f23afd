"""What a run shows and how it copes: report, TensorBoard, bad files, precisions, recomputed blocks."""

from __future__ import annotations

import builtins
import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.train.fit.tiny import settings, weights
from train.data.batches import ATTEMPTS
from train.data.dataset import SegmentationData
from train.fit import board
from train.fit.command import fit
from train.fit.forward_pass import checkpoint_blocks
from train.fit.run_files import read_log
from train.runtime.interrupt import Interrupt


def test_a_file_that_breaks_during_training_is_replaced_and_named(streets, tiny_run, tmp_path, monkeypatch, capsys):
    plain, asked = SegmentationData.image, []

    def image(self, index):
        asked.append(index)
        if "train" in self.name and index == 3:
            raise ValueError("The image 3.png cannot be read: it is gone.")
        return plain(self, index)

    monkeypatch.setattr(SegmentationData, "image", image)
    assert fit(settings(tmp_path / "out", streets), Interrupt())
    assert 3 in asked and "3.png cannot be read" in capsys.readouterr().out
    monkeypatch.setattr(SegmentationData, "image", lambda self, i: (_ for _ in ()).throw(OSError("the disk is gone")))
    with pytest.raises(ValueError, match=f"{ATTEMPTS} files in a row cannot be read; the last: the disk is gone"):
        fit(settings(tmp_path / "again", streets), Interrupt())


def test_broken_pairs_stop_a_run_or_are_skipped(streets, tiny_run, tmp_path, capsys):
    (streets / "train" / "labels" / "1.png").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"labels/1\.png cannot be read"):
        fit(settings(tmp_path / "out", streets), Interrupt())
    assert fit(settings(tmp_path / "out", streets, broken="skip"), Interrupt())
    said = capsys.readouterr().out
    assert "left out: " in said and ", 5 images" in said


def test_report_and_pictures(streets, tiny_run, tmp_path, capsys):
    out = tmp_path / "out"
    assert fit(settings(out, streets, pictures_every=2), Interrupt())
    panel = np.asarray(Image.open(out / "stream-fused.png"))
    assert panel.shape == (64, 256, 3) and panel.std() > 5
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 3 and "camvid:streets/val" in page and "<td>road</td>" in page
    assert "TensorBoard is switched off" in capsys.readouterr().out
    assert all(0 <= record["waiting"] <= 1 for record in read_log(out / "stream-fused.jsonl") if "waiting" in record)


def test_tensorboard_gets_scalars_and_pictures(streets, tiny_run, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = tmp_path / "out"
    assert fit(settings(out, streets, pictures_every=2, tensorboard=True), Interrupt())
    reader = events.EventAccumulator(str(out / "tensorboard" / "fused"))
    reader.Reload()
    assert {"loss", "lr", "images_per_s", "terms/decode.loss_cls", "mIoU/camvid:streets/val"} <= set(
        reader.Tags()["scalars"]
    )
    assert [e.step for e in reader.Scalars("loss")] == [1, 2, 3] and len(reader.Tags()["images"]) == 1


def test_without_tensorboard_a_run_goes_on(streets, tiny_run, tmp_path, monkeypatch, capsys):
    plain = builtins.__import__

    def missing(name, *more, **named):
        if "tensorboard" in name:
            raise ImportError(name)
        return plain(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert board.Board(tmp_path, "fused", True).why_not.startswith("not installed")
    assert fit(settings(tmp_path / "out", streets, tensorboard=True), Interrupt())
    assert "TensorBoard is not installed: pip install -r train/requirements.txt" in capsys.readouterr().out


def test_recomputed_blocks_change_nothing(streets, tiny_run, tmp_path, fresh_model, pixels):
    gradients = []
    for recompute in (False, True):
        model = fresh_model.train_mode("fused")
        if recompute:
            checkpoint_blocks(model)
        torch.manual_seed(0)  # dropout
        out = model(pixels, "fused")
        model.zero_grad()
        sum(m.square().mean() for m in out.mask_logits).backward()
        gradients.append({n: p.grad.clone() for n, p in model.trainable("fused").items() if p.grad is not None})
    plain, recomputed = gradients
    assert plain.keys() == recomputed.keys() and len(plain) > 50
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, msg=name)
    assert fit(settings(tmp_path / "out", streets, checkpointing=True), Interrupt())
    assert fit(settings(tmp_path / "plain", streets), Interrupt())
    one, two = weights(tmp_path / "out"), weights(tmp_path / "plain")
    assert all(torch.allclose(one[n].float(), two[n].float(), atol=5e-4) for n in one)


def test_float16_scales_the_loss(streets, tiny_run, tmp_path, monkeypatch):
    losses = {}
    for precision in ("float32", "fp16"):
        out = tmp_path / precision
        assert fit(settings(out, streets, precision=precision, save_every=2), Interrupt())
        losses[precision] = json.loads((out / "stream-fused.jsonl").read_text().splitlines()[0])["loss"]
    assert losses["fp16"] == pytest.approx(losses["float32"], rel=0.03) and losses["fp16"] != losses["float32"]


def test_random_encoders_need_no_files(streets, tiny_run, tmp_path):
    assert fit(settings(tmp_path / "out", streets, encoders=None, random_encoders=True), Interrupt())
    assert not (tmp_path / "out" / "encoder-vfm.safetensors").exists()
    names = weights(tmp_path / "out")
    assert names and not any(name.startswith(("vfm.", "vlm.")) for name in names)  # no frozen encoder in the file
