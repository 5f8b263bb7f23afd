"""Weights between two folders: the ends are what they were, the middle is the mean, and what does not fit is told."""

from __future__ import annotations

import pytest
import torch

from mfuser.weights import tensors
from train.__main__ import main
from train.adapt.blend import between, is_half


def test_ends_and_middle():
    old = {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)}
    new = {"w": torch.tensor([4.0, 2.0]), "n": torch.tensor(5)}
    for share, expected in ((0.0, [0.0, 2.0]), (0.25, [1.0, 2.0]), (1.0, [4.0, 2.0])):
        found = between(old, new, share)
        assert found["w"].tolist() == expected and found["n"] == 5
    with pytest.raises(ValueError, match="b is not the same in both"):
        between({**old, "b": torch.ones(1)}, new, 0.5)
    with pytest.raises(ValueError, match="w is not the same"):
        between({**old, "w": torch.ones(3)}, new, 0.5)


def test_the_command_blends_streams_and_brings_encoders(trained, tmp_path, capsys):
    further, out = tmp_path / "further", tmp_path / "blend"
    state, metadata = tensors.load(trained / "stream-fused.safetensors")
    moved = {n: t + 1 if t.is_floating_point() else t for n, t in state.items()}
    tensors.save(further / "stream-fused.safetensors", moved, metadata)
    command = ["blend", "--before", str(trained), "--after", str(further), "--out", str(out)]
    assert main(command) == 0 and "0.5 of the way" in capsys.readouterr().out
    found, said = tensors.load(out / "stream-fused.safetensors")
    assert all(torch.allclose(found[n], t + 0.5, atol=1e-5) for n, t in state.items() if t.is_floating_point())
    assert said["blend"] == "0.5" and not (out / "stream-vlm.safetensors").exists()
    assert (out / "encoder-vlm.safetensors").read_bytes() == (trained / "encoder-vlm.safetensors").read_bytes()
    assert not list(out.glob("*.part")) and not is_half(out / "stream-fused.safetensors")
    tensors.save(further / "stream-fused.safetensors", moved, metadata, half=True)
    assert main(command) == 0 and is_half(out / "stream-fused.safetensors")


def test_bad_input_is_one_sentence(trained, tmp_path, capsys):
    place = ["--before", str(trained), "--after", str(trained)]
    for arguments, why in (
        ([], "pass --before DIR and --after DIR"),
        ([*place, "--share", "2"], "--share must lie between 0 and 1"),
        ([*place, "--out", str(trained)], "choose another --out"),
        (["--before", str(trained), "--after", str(tmp_path)], "no stream-*.safetensors"),
    ):
        assert main(["blend", *arguments]) == 2
        assert why in capsys.readouterr().err
