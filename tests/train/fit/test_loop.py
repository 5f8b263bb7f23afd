"""The loop on the tiny model: learns, resumes to the same weights, touches nothing that is frozen."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import mfuser
from mfuser import presets
from mfuser.weights import tensors as tensors_module
from tests.train.fit import tiny
from train.fit.command import fit
from train.fit.config import FitConfig, defaults
from train.fit.loop import StreamTrainer
from train.runtime.interrupt import Interrupt
from train.runtime.weights import load_model


def settings(out, streets, **changes) -> FitConfig:
    """Four steps with averaging and clipping."""
    return tiny.settings(out, streets, **{"iterations": 4, "ema": 0.9, "clip": 1.0, "log_every": 2, **changes})


def stop_after(monkeypatch, step: int) -> Interrupt:
    """An interrupt that comes during a step."""
    interrupt, plain = Interrupt(), StreamTrainer.step

    def interrupted(self, *arguments):
        terms = plain(self, *arguments)
        if self.done == step:
            interrupt.asked = 2
        return terms

    monkeypatch.setattr(StreamTrainer, "step", interrupted)
    return interrupt


def test_resumed_weights_are_those_of_an_uninterrupted_run(tmp_path, streets, tiny_run, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert fit(settings(whole, streets), Interrupt())
    with monkeypatch.context() as patch:
        assert not fit(settings(broken, streets), stop_after(patch, 3))
    state = torch.load(broken / "stream-fused.state.pt", weights_only=True)
    assert state["step"] == 3 and tensors_module.load(broken / "stream-fused.safetensors")[1]["step"] == "3"
    assert fit(settings(broken, streets, resume=True), Interrupt())
    one, two = (tensors_module.load(folder / "stream-fused.safetensors")[0] for folder in (whole, broken))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert not (broken / "stream-fused.state.pt").exists()
    logs = [[json.loads(line) for line in (f / "stream-fused.jsonl").read_text().splitlines()] for f in (whole, broken)]
    assert [r["step"] for r in logs[1]] == [2, 3, 4, 4]  # the interruption adds a line, nothing is repeated
    assert logs[0][-2]["lr"] == logs[1][-2]["lr"] and logs[0][-1] == logs[1][-1]


@pytest.mark.parametrize("stream", ["fused", "vfm", "vlm"])
def test_only_the_stream_changes_and_the_encoders_never(tmp_path, streets, tiny_run, stream, monkeypatch):
    trainers, before, plain = [], {}, StreamTrainer.run

    def remember(self, interrupt):
        before.update({n: t.clone() for n, t in self.model.state_dict().items()})
        trainers.append(self)
        return plain(self, interrupt)

    monkeypatch.setattr(StreamTrainer, "run", remember)
    fit(settings(tmp_path / "out", streets, streams=(stream,), iterations=2, ema=0.0), Interrupt())
    after = trainers[-1].model.state_dict()
    changed = {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    own = (f"heads.{stream}", "fusion") if stream == "fused" else (f"heads.{stream}",)
    assert changed and all(name.startswith(own) for name in changed)
    if stream == "fused":
        assert any(name.startswith("fusion") for name in changed)


def test_learns_the_streets(tmp_path, streets, tiny_run):
    config = settings(tmp_path / "out", streets, streams=("vlm",), iterations=60, lr=2e-3, log_every=15, ema=0.0)
    assert fit(config, Interrupt())
    records = [json.loads(line) for line in (tmp_path / "out" / "stream-vlm.jsonl").read_text().splitlines()]
    losses = [r["loss"] for r in records if "loss" in r]
    assert losses[-1] < 0.7 * losses[0]
    scores = records[-1]["evaluation"]["camvid:streets/val"]
    assert scores["space"] == "common" and scores["iou"]["fence"] is None
    assert set(records[0]["terms"]) >= {"decode.loss_cls", "decode.d0.loss_dice", "scr_map.loss_seg"}


def test_bfloat16_and_workers(tmp_path, streets, tiny_run):
    """Losses come out close to float32, and weights stay float32."""
    losses = {}
    for precision in ("float32", "bf16"):
        out = tmp_path / precision
        changes = {"precision": precision, "workers": 2, "iterations": 2, "ema": 0.0, "half": False}
        assert fit(settings(out, streets, **changes), Interrupt())
        losses[precision] = json.loads((out / "stream-fused.jsonl").read_text().splitlines()[0])["loss"]
        tensors = tensors_module.load(out / "stream-fused.safetensors")[0].values()
        assert all(t.dtype in (torch.float32, torch.int64) for t in tensors)
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.02) and losses["bf16"] != losses["float32"]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_fused_stream_may_be_shown_two_views(tmp_path, streets, tiny_run, accumulate):
    apart = {"apart": 1.0, "accumulate": accumulate}
    shown = settings(tmp_path / "out", streets, streams=("fused", "vlm"), pictures_every=2, tensorboard=False, **apart)
    assert fit(shown, Interrupt())
    assert (tmp_path / "out/stream-fused.png").is_file()
    recipe = json.loads(tensors_module.load(tmp_path / "out/stream-fused.safetensors")[1]["recipe"])
    assert recipe["apart"] == 1.0 and "apart" not in settings(tmp_path, streets).recipe()
    assert "apart" not in json.loads(tensors_module.load(tmp_path / "out/stream-vlm.safetensors")[1]["recipe"])
    plain = settings(tmp_path / "plain", streets, streams=("fused", "vlm"), accumulate=accumulate)
    assert fit(plain, Interrupt())
    for stream, same in (("fused", False), ("vlm", True)):
        one, two = (tensors_module.load(tmp_path / f / f"stream-{stream}.safetensors")[0] for f in ("out", "plain"))
        found = all(torch.allclose(one[name], two[name], atol=1e-6) for name in one)
        assert found is same, "a stream alone is trained as ever"


def test_a_rehearsal_takes_two_views(tmp_path, streets, tiny_run, capsys):
    shown = settings(tmp_path / "out", streets, streams=("fused", "vfm"), apart=0.5, dry_run=True)
    assert fit(shown, Interrupt())
    said = capsys.readouterr().out
    assert "fused: input (2, 2, 3, 64, 64)" in said and "vfm: input (2, 3, 64, 64)" in said


def test_streams_start_alike_whichever_others_are_trained(tmp_path, streets, tiny_run):
    fit(settings(tmp_path / "one", streets, streams=("vlm",), iterations=2), Interrupt())
    fit(settings(tmp_path / "two", streets, streams=("vfm", "vlm"), iterations=2), Interrupt())
    one, two = (tensors_module.load(tmp_path / f / "stream-vlm.safetensors")[0] for f in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (tmp_path / "two" / "encoder-vfm.safetensors").is_file()  # the folder can be loaded on its own


def test_a_stream_that_the_preset_leaves_out_is_trained_beside_the_fused_one(
    tmp_path, streets, tiny_run, tiny_preset, monkeypatch
):
    monkeypatch.setitem(presets.PRESETS, tiny_preset.name, replace(tiny_preset, streams=("fused",)))
    out = tmp_path / "out"
    for streams in (("all",), ("vfm",)):
        assert fit(settings(out, streets, streams=streams, iterations=1), Interrupt())
    written = {path.name for path in out.glob("stream-*.safetensors")}
    assert written == {"stream-fused.safetensors", "stream-vfm.safetensors"}
    loaded = mfuser.load(out, device="cpu", precision="float32")
    assert loaded.analyse(np.zeros((64, 96, 3), np.uint8)).made == {
        "vfm": "decoder",
        "vlm": "zero-shot",
        "fused": "decoder",
    }
    assert set(load_model(presets.get(tiny_preset.name), out, ("vfm",)).heads) == {"vfm", "fused"}


def test_a_run_is_not_replaced_by_accident(tmp_path, streets, tiny_run, capsys):
    config = settings(tmp_path / "out", streets, iterations=2)
    fit(config, Interrupt())
    with pytest.raises(ValueError, match="exists already.*--resume.*--overwrite"):
        fit(config, Interrupt())
    assert fit(settings(tmp_path / "out", streets, iterations=2, resume=True), Interrupt())
    assert "finished: fused skipped" in capsys.readouterr().out
    assert fit(settings(tmp_path / "out", streets, iterations=3, overwrite=True), Interrupt())


def test_resuming_with_other_settings_is_named(tmp_path, streets, tiny_run, monkeypatch):
    with monkeypatch.context() as patch:
        fit(settings(tmp_path / "out", streets), stop_after(patch, 2))
    with pytest.raises(ValueError, match="trained with lr = 0.0001, not 0.5"):
        fit(settings(tmp_path / "out", streets, resume=True, lr=0.5), Interrupt())
    (tmp_path / "out" / "stream-fused.state.pt").write_bytes(b"cut short")
    with pytest.raises(ValueError, match="damaged"):
        fit(settings(tmp_path / "out", streets, resume=True), Interrupt())


def test_a_diverged_run_stops_and_says_so(tmp_path, streets, tiny_run, monkeypatch):
    plain = StreamTrainer.step
    monkeypatch.setattr(
        StreamTrainer, "step", lambda self, *a: {name: term * math.nan for name, term in plain(self, *a).items()}
    )
    with pytest.raises(ValueError, match="loss of 'fused' is nan at step 2: lower --lr"):
        fit(settings(tmp_path / "out", streets), Interrupt())


def test_average_is_what_is_saved_and_evaluated(tmp_path, streets, tiny_run):
    """With a slow average the saved weights lie between the start and the trained ones."""
    for name, decay in (("plain", 0.0), ("averaged", 0.999)):
        fit(settings(tmp_path / name, streets, streams=("vlm",), iterations=3, ema=decay), Interrupt())
    plain, averaged = (tensors_module.load(tmp_path / f / "stream-vlm.safetensors")[0] for f in ("plain", "averaged"))
    name = "heads.vlm.query_decoder.text_proj.0.weight"
    assert not torch.equal(plain[name], averaged[name]) and (plain[name] - averaged[name]).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ()}, "No data to train on"),
        ({"crop": 70}, "multiple of 32 for 'tiny': 64"),
        ({"streams": ("all",), "resume": True, "overwrite": True}, "contradict"),
        ({"device": "cuda:77"}, "choose --device cpu"),
        ({"mix": (1.0, 2.0)}, "share .* 1 sets"),
        ({"batch": 3, "accumulate": 2}, "--batch 3 .* 2 parts"),
        ({"camera": 2.0}, "--camera .* 0 and 1"),
    ],
)
def test_bad_settings_are_named(tmp_path, streets, tiny_run, changes, message):
    arguments = {**settings(tmp_path / "out", streets).__dict__, **changes}
    with pytest.raises(ValueError, match=message):
        fit(FitConfig(**arguments), Interrupt())


def test_presets_have_their_own_defaults():
    assert defaults("nano").crop == 384 and FitConfig().crop == 512
    with pytest.raises(ValueError, match="Unknown preset"):
        defaults("mega")
    with pytest.raises(ValueError, match="--save-every must be above 0"):
        FitConfig(save_every=0)


def test_a_finished_run_is_not_taken_for_one_with_other_settings(tmp_path, streets, tiny_run, capsys):
    out = tmp_path / "out"
    run = settings(out, streets, streams=("vlm",), iterations=1)
    assert fit(run, Interrupt())
    before = (out / "stream-vlm.safetensors").read_bytes()
    assert fit(replace(run, resume=True), Interrupt()) and "skipped" in capsys.readouterr().out
    for changes in ({"lr": 1e-3}, {"iterations": 2}):
        with pytest.raises(ValueError, match=f"trained with {next(iter(changes))} = .*--overwrite to start anew"):
            fit(replace(run, resume=True, **changes), Interrupt())
    with pytest.raises(ValueError, match=r"sets = \['camvid:streets/train \(6 images\)'\], not \['folder:streets"):
        fit(replace(run, resume=True, data=(str(streets),)), Interrupt())
    assert (out / "stream-vlm.safetensors").read_bytes() == before
    tensors_module.save(
        out / "stream-vlm.safetensors", tensors_module.load(out / "stream-vlm.safetensors")[0], {"step": "1"}
    )
    assert fit(replace(run, resume=True, lr=1e-3), Interrupt())  # of before: nothing is known but the steps


def test_a_run_is_replaced_only_when_the_new_one_can_start(tmp_path, streets, tiny_run):
    out = tmp_path / "out"
    run = settings(out, streets, streams=("vlm",), iterations=1)
    assert fit(run, Interrupt())
    with pytest.raises(ValueError, match="There is no folder"):
        fit(replace(run, overwrite=True, data=("camvid:/nowhere",)), Interrupt())
    assert (out / "stream-vlm.safetensors").is_file() and (out / "stream-vlm.jsonl").is_file()
    assert fit(replace(run, overwrite=True, lr=1e-3), Interrupt())
    assert len((out / "stream-vlm.jsonl").read_text().splitlines()) == 2  # a step and an evaluation, of the new run
