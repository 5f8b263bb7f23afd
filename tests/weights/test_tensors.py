"""Saving and loading: bit for bit, key for key, and one clear sentence when weights do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mfuser.config import STREAMS
from mfuser.weights import files
from mfuser.weights import tensors as tensors_module
from mfuser.weights.files import WeightsError, weight_files


def save_folder(model, folder) -> None:
    for name in ("vfm", "vlm"):
        tensors_module.save(folder / f"encoder-{name}.safetensors", getattr(model, name).state_dict())
    for stream in model.preset.streams:
        metadata = {"temperature": "0.5"} if stream == "fused" else None
        tensors_module.save(folder / f"stream-{stream}.safetensors", model.state_for(stream), metadata)


def test_tensors_and_metadata_come_back_bit_for_bit(tmp_path):
    tensors = {
        "a": torch.randn(3, 4).t(),  # not contiguous
        "b": torch.tensor(7),
        "c.d": torch.randn(2).bfloat16(),
        "e": torch.arange(3),
    }
    tensors_module.save(tmp_path / "deep" / "x.safetensors", tensors, {"note": "read me"})
    found, metadata = tensors_module.load(tmp_path / "deep" / "x.safetensors")
    assert metadata == {"note": "read me"} and found.keys() == tensors.keys()
    assert all(torch.equal(found[k], t) and found[k].dtype == t.dtype for k, t in tensors.items())


def test_half_stores_floats_in_two_bytes_and_loads_float32(tmp_path):
    x, n = torch.randn(1000), torch.arange(1000)
    tensors_module.save(tmp_path / "full.safetensors", {"x": x, "n": n})
    tensors_module.save(tmp_path / "half.safetensors", {"x": x, "n": n}, half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half")]
    assert 1900 < sizes[0] - sizes[1] < 2100
    found, _ = tensors_module.load(tmp_path / "half.safetensors")
    assert found["x"].dtype == torch.float32 and torch.equal(found["x"], x.half().float())
    assert torch.equal(found["n"], n)


def test_a_failed_save_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    tensors_module.save(path, {"a": torch.ones(2)})

    def half_way(self: Path, data: bytes) -> None:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", half_way)
    with pytest.raises(OSError, match="disk full"):
        tensors_module.save(path, {"a": torch.zeros(2)})
    assert torch.equal(tensors_module.load(path)[0]["a"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"], "nothing half-written stays"


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_survives_the_round_trip_bit_for_bit(build_model, tiny_preset, tmp_path, pixels, stream: str):
    first, second = build_model(tiny_preset, 1), build_model(tiny_preset, 1)
    for t in second.state_for(stream).values():
        if t.is_floating_point():
            t.add_(0.1)
    with torch.no_grad():
        expected = first(pixels, stream).semantic()
        assert not torch.equal(second(pixels, stream).semantic(), expected)
        tensors_module.save(tmp_path / "s.safetensors", first.state_for(stream))
        second.load_state_for(stream, tensors_module.load(tmp_path / "s.safetensors")[0])
        assert torch.equal(second(pixels, stream).semantic(), expected)


def test_state_holds_buffers_and_covers_what_is_trained(tiny_model):
    for stream in STREAMS:
        state = tiny_model.state_for(stream)
        assert set(tiny_model.trainable(stream)) <= set(state)
        assert f"heads.{stream}.pyramid.up4.1.running_mean" in state
        assert not any(key.startswith(("vfm.", "vlm.")) for key in state)


def test_each_kind_of_wrong_key_is_named(fresh_model):
    state = {k: t.clone() for k, t in fresh_model.state_for("fused").items()}
    untouched = {k: t.clone() for k, t in state.items()}
    for t in state.values():
        t.add_(1)
    del state["fusion.adapters.0.D"], state["heads.fused.prompts"]
    state["surplus.weight"] = torch.zeros(1)
    state["heads.fused.text_scale"] = torch.zeros(3)
    with pytest.raises(WeightsError) as caught:
        fresh_model.load_state_for("fused", state)
    text = str(caught.value)
    assert "stream 'fused'" in text
    assert "missing: fusion.adapters.0.D, heads.fused.prompts" in text
    assert "not of this model: surplus.weight" in text
    assert "wrong shape: heads.fused.text_scale (3,) instead of (48,)" in text
    assert all(torch.equal(t, untouched[k]) for k, t in fresh_model.state_for("fused").items()), "nothing was copied"


def test_a_folder_of_weights_makes_the_same_model(build_model, tiny_preset, tmp_path, pixels):
    from mfuser.loading import MFuser

    first = build_model(tiny_preset, 1)
    save_folder(first, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(weight_files(tiny_preset))
    torch.manual_seed(5)
    second = MFuser.from_preset(tiny_preset, weights=tmp_path)
    assert second.temperatures == {"vfm": 1.0, "vlm": 1.0, "fused": 0.5}
    with torch.no_grad():
        for stream in STREAMS:
            # Weights are equal bit by bit; products may differ in the last digit with where they lie in memory.
            a, b = first(pixels, stream).semantic(), second(pixels, stream).semantic()
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_missing_weights_name_the_file_and_the_way_out(tiny_preset, tmp_path):
    from mfuser.loading import MFuser

    with pytest.raises(WeightsError, match="No weights at .*encoder-vfm.safetensors; pass a folder"):
        MFuser.from_preset(tiny_preset, weights=tmp_path)
    with pytest.raises(WeightsError, match="'tiny' has no built-in weights; pass weights=FOLDER"):
        MFuser.from_preset(tiny_preset)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_a_damaged_file_is_one_sentence(tmp_path, content: bytes):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="x.safetensors is not a readable safetensors file"):
        tensors_module.load(path)


def test_pickles_are_not_opened(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        tensors_module.load(tmp_path / "x.safetensors")


def test_metadata_changes_without_the_tensors(tmp_path):
    path = tmp_path / "stream-fused.safetensors"
    tensors = {"h": torch.randn(5, 3), "n": torch.arange(3), "f": torch.randn(2)}
    tensors_module.save(path, tensors, {"preset": "nano", "temperature": "1.0"}, half=True)
    before = load_file(path)
    tensors_module.add_metadata(path, {"temperature": "0.4", "note": "new"})
    assert files.load_metadata(path) == {"preset": "nano", "temperature": "0.4", "note": "new"}
    after = load_file(path)
    assert after.keys() == before.keys() and before["h"].dtype == torch.float16
    assert all(after[k].dtype == t.dtype and torch.equal(after[k], t) for k, t in before.items())


def test_a_folder_names_its_preset_unless_its_files_disagree(tmp_path):
    one = {"x": torch.zeros(1)}
    assert files.preset_name(tmp_path) is None
    tensors_module.save(tmp_path / "encoder-vfm.safetensors", one)
    assert files.preset_name(tmp_path) is None
    tensors_module.save(tmp_path / "stream-vfm.safetensors", one, {"preset": "nano"})
    tensors_module.save(tmp_path / "text.safetensors", one, {"preset": "something else"})  # not part of a model
    assert files.preset_name(tmp_path) == "nano"
    tensors_module.save(tmp_path / "stream-vlm.safetensors", one, {"preset": "tiny"})
    with pytest.raises(WeightsError, match="stream-vfm.safetensors is for preset 'nano', stream-vlm.* for 'tiny'"):
        files.preset_name(tmp_path)


def damaged_copies(data: bytes) -> dict[str, bytes]:
    header = 8 + int.from_bytes(data[:8], "little")
    middle = (header + len(data)) // 2
    return {
        "one bit": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "random bytes": data[:header]
        + torch.randint(0, 256, (len(data) - header,), dtype=torch.uint8).numpy().tobytes(),
        "cut": data[:middle],
        "empty": b"",
        "no header": b"\xff" * len(data),
    }


@pytest.mark.parametrize("bits", [None, {"h": 8}, {"h": 4}])
def test_weights_that_were_damaged_are_refused_and_the_file_is_named(tmp_path, bits):
    path = tmp_path / "stream-fused.safetensors"
    tensors = {"h": torch.randn(40, 30), "n": torch.arange(3), "b": torch.randn(9).bfloat16(), "none": torch.empty(0)}
    tensors_module.save(path, tensors, {"preset": "nano"}, half=True, bits=bits)
    loaded, metadata = tensors_module.load(path)
    assert loaded.keys() == tensors.keys() and metadata == {"preset": "nano"}
    for kind, data in damaged_copies(path.read_bytes()).items():
        damaged = tmp_path / "damaged.safetensors"
        damaged.write_bytes(data)
        with pytest.raises(WeightsError, match=r"damaged\.safetensors"):
            tensors_module.load(damaged)
            pytest.fail(kind)


def test_weights_without_a_checksum_still_load(tmp_path):
    tensors = {"h": torch.randn(4, 3)}
    save_file(tensors, tmp_path / "old.safetensors", {"preset": "nano"})
    loaded, metadata = tensors_module.load(tmp_path / "old.safetensors")
    assert torch.equal(loaded["h"], tensors["h"]) and metadata == {"preset": "nano"}
