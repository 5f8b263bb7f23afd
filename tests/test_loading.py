"""`mfuser.load`: presets by name, folders of weights, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mfuser
from mfuser import images, presets
from mfuser.config import STREAMS
from mfuser.inference.segmenter import Segmenter
from mfuser.weights import files, tensors
from mfuser.weights import folder as folder_module
from mfuser.weights.files import WeightsError


@pytest.fixture
def street() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    return images.resize(coarse, 64, 96)


@pytest.fixture
def model(build_model, tiny_preset):
    model = build_model(tiny_preset, 3)
    model.temperatures = {"vfm": 0.7, "vlm": 1.0, "fused": 0.4}
    return model


@pytest.fixture
def write(model, tmp_path) -> Callable[[dict[str, str]], Path]:
    """Writes the model into a folder, with metadata on every stream."""

    def save(metadata: dict[str, str]) -> Path:
        for name in ("vfm", "vlm"):
            tensors.save(tmp_path / f"encoder-{name}.safetensors", getattr(model, name).state_dict())
        for stream in STREAMS:
            both = {"temperature": str(model.temperatures[stream]), **metadata}
            tensors.save(tmp_path / f"stream-{stream}.safetensors", model.state_for(stream), both)
        return tmp_path

    return save


def assert_same(loaded: Segmenter, model, image: np.ndarray) -> None:
    a, b = loaded.analyse(image), Segmenter(model, precision="float32").analyse(image)
    for stream in STREAMS:
        assert (a.masks[stream] == b.masks[stream]).mean() > 0.999  # loading folds norms: the last digits differ
        np.testing.assert_allclose(a.confidence[stream], b.confidence[stream], atol=1e-4)


def test_a_preset_by_name_has_its_own_folder(model, write, tiny_preset, street, monkeypatch):
    monkeypatch.setitem(presets.PRESETS, "tiny", replace(tiny_preset, weights=write({})))
    loaded = mfuser.load("tiny", device="cpu", precision="float32")
    assert loaded.weights == "built in"
    assert_same(loaded, model, street)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_is_loaded_as_the_preset_it_names(model, write, tiny_preset, street, kind, monkeypatch):
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny_preset)
    folder = write({"preset": "tiny"})
    loaded = mfuser.load(kind(folder), device="cpu", precision="float32")
    assert loaded.preset is tiny_preset and loaded.weights == folder.name
    assert_same(loaded, model, street)


def test_a_folder_that_names_no_preset_is_nanos_if_it_fits(model, write, tiny_preset, street, monkeypatch):
    folder = write({})
    with pytest.raises(WeightsError, match="does not say which preset .* do not fit 'nano': pass the preset's name"):
        mfuser.load(folder, device="cpu")
    monkeypatch.setattr(presets, "NANO", tiny_preset)
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny_preset)
    assert_same(mfuser.load(folder, device="cpu", precision="float32"), model, street)


def test_a_presets_name_goes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "nano").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="No weights at .*nano.encoder-vfm"):
        mfuser.load(Path("nano").resolve(), device="cpu", precision="float32")
    assert mfuser.load("nano", device="cpu").weights == "built in"


@pytest.mark.parametrize("name", ["stream-fused.safetensors", "encoder-vfm.safetensors"])
def test_a_file_of_a_folder_stands_for_it(model, write, tiny_preset, street, name: str, monkeypatch):
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny_preset)
    file = write({"preset": "tiny"}) / name
    for preset, weights in ((file, None), ("tiny", file), ("tiny", str(file))):
        loaded = mfuser.load(preset, "cpu", "float32", weights)
        assert loaded.weights == file.parent.name and loaded.preset is tiny_preset
        assert_same(loaded, model, street)


@pytest.mark.parametrize("name", ["notes.txt", "other.safetensors", "stream-fused.txt"])
def test_any_other_file_is_no_folder(tmp_path, name: str):
    (tmp_path / name).write_bytes(b"")
    for arguments in ({"preset": tmp_path / name}, {"weights": tmp_path / name}):
        with pytest.raises(WeightsError, match=f"{name} is a file, not a folder of weights: pass the folder"):
            mfuser.load(**arguments)


def test_weights_of_another_preset_are_refused(write, tiny_preset):
    folder = write({"preset": "giant"})
    with pytest.raises(WeightsError, match="are for preset 'giant'; this version knows nano"):
        mfuser.load(folder)
    with pytest.raises(files.MisfitError, match="do not fit encoder 'vfm' of preset 'nano'"):
        mfuser.load("nano", weights=folder)


def test_what_cannot_be_loaded_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="Unknown preset 'giant'; choose one of nano.*, or a folder .* that exists"):
        mfuser.load("giant")
    with pytest.raises(ValueError, match="The class 'Cat' is in the list twice"):
        mfuser.load("nano", classes=["cat", "dog", "Cat"])
    for arguments in ({"weights": tmp_path}, {"preset": tmp_path}):
        with pytest.raises(WeightsError, match="No weights at .*encoder-vfm.safetensors"):
            mfuser.load(**arguments)
    with pytest.raises(ValueError, match="Two folders of weights"):
        mfuser.load(tmp_path, weights=tmp_path)


# -- public encoders ---------------------------------------------------------------------------------------------------


@pytest.fixture
def public_folder(pair_preset, tmp_path, monkeypatch) -> Path:
    """A tiny pair's encoders in the layouts of timm and open_clip, at other grids than the preset's, under the names
    that they have on the hub; everything else is out of reach."""
    from mfuser.loading import MFuser

    monkeypatch.setenv("MFUSER_WEIGHTS", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    wider = [replace(e, options={**e.options, "grid": 6}) for e in (pair_preset.vfm, pair_preset.vlm)]
    torch.manual_seed(7)
    other = MFuser(replace(pair_preset, vfm=wider[0], vlm=wider[1]), torch.zeros(19, 5, dtype=torch.int64))
    vision = "visual." if pair_preset.vlm.family == "clip" else "visual.trunk."
    text = "" if pair_preset.vlm.family == "clip" else "text."
    states = {"vfm": {n.removeprefix("trunk."): t for n, t in other.vfm.state_dict().items()}, "vlm": {}}
    for name, tensor in other.vlm.state_dict().items():
        renamed = (
            name.replace("text.tower.", text, 1) if name.startswith("text.") else name.replace("trunk.", vision, 1)
        )
        states["vlm"][renamed] = tensor
    for name, encoder in (("vfm", pair_preset.vfm), ("vlm", pair_preset.vlm)):
        path = tmp_path / encoder.source.files[0]
        tensors.save(path, states[name], half=name == "vlm")
    return tmp_path


def test_encoders_come_from_their_public_files(public_folder, pair_preset):
    from mfuser.loading import MFuser

    model = MFuser.from_preset(pair_preset, pretrained="encoders", weights=public_folder)
    assert not any(t.is_meta for t in model.state_dict().values())
    assert model.vlm.text.positions in (64, 77), "the whole position table of the text tower is kept"
    again = MFuser.from_preset(pair_preset, pretrained="encoders", weights=public_folder)
    for name in ("vfm", "vlm"):
        one, two = getattr(model, name).state_dict(), getattr(again, name).state_dict()
        assert all(torch.equal(one[k], two[k]) and one[k].dtype == torch.float32 for k in one)
    model.set_class_ids(torch.full((19, 5), 7))
    folder_module.save_folder(model, public_folder / "whole")
    whole = MFuser.from_preset(pair_preset, weights=public_folder / "whole")
    (public_folder / "stream-fused.safetensors").write_bytes(
        (public_folder / "whole" / "stream-fused.safetensors").read_bytes()
    )
    mixed = MFuser.from_preset(pair_preset, weights=public_folder)  # trained part beside the public files
    pixels = torch.rand(1, 3, 40, 48) * 255
    with torch.no_grad():
        torch.testing.assert_close(whole(pixels).semantic(), model(pixels).semantic(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mixed(pixels).semantic(), model(pixels).semantic(), rtol=1e-4, atol=1e-4)


def test_missing_parts_of_a_pair_are_one_sentence(public_folder, pair_preset):
    from mfuser.loading import MFuser

    with pytest.raises(WeightsError, match="No trained weights at .*fused.safetensors: run `.*python -m train"):
        MFuser.from_preset(pair_preset)
    with pytest.raises(WeightsError, match="The file model.safetensors of timm.* is not here .*: run `hf download"):
        MFuser.from_preset(pair_preset, pretrained="encoders")
    path = public_folder / pair_preset.vfm.source.files[0]
    state = tensors.load(path)[0]
    del state["blocks.1.norm1.weight"]
    tensors.save(path, state)
    with pytest.raises(files.MisfitError, match="missing: trunk.blocks.1.norm1.weight"):
        MFuser.from_preset(pair_preset, pretrained="encoders", weights=public_folder)
