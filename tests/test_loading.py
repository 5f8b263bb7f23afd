"""`mfuser.load`: presets by name, folders of weights, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mfuser
from mfuser import checkpoint, images, presets
from mfuser.checkpoint import WeightsError
from mfuser.presets import STREAMS
from mfuser.segmenter import Segmenter


@pytest.fixture
def street() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    return images.resize(coarse, 64, 96)


@pytest.fixture
def model(build_model, tiny_preset):
    made = build_model(tiny_preset, 3)
    made.temperatures = {"vfm": 0.7, "vlm": 1.0, "fused": 0.4}
    return made


@pytest.fixture
def write(model, tmp_path) -> Callable[[dict[str, str]], Path]:
    """Writes the model into a folder, with metadata on every stream."""

    def save(metadata: dict[str, str]) -> Path:
        for name in ("vfm", "vlm"):
            checkpoint.save(tmp_path / f"encoder-{name}.safetensors", getattr(model, name).state_dict())
        for stream in STREAMS:
            both = {"temperature": str(model.temperatures[stream]), **metadata}
            checkpoint.save(tmp_path / f"stream-{stream}.safetensors", model.state_for(stream), both)
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


def test_weights_of_another_preset_are_refused(write, tiny_preset):
    folder = write({"preset": "giant"})
    with pytest.raises(WeightsError, match="are for preset 'giant'; this version knows nano"):
        mfuser.load(folder)
    with pytest.raises(checkpoint.MisfitError, match="do not fit encoder 'vfm' of preset 'nano'"):
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


@pytest.mark.parametrize("arguments", [{"preset": "iter_20000.pth"}, {"preset": "nano", "weights": "deep/best.PTH"}])
def test_the_authors_checkpoints_are_not_opened(tmp_path, arguments, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    for name in ("iter_20000.pth", "deep/best.PTH"):
        torch.save({"decode_head.weight": torch.zeros(1)}, name)
    monkeypatch.setattr(torch, "load", lambda *a, **k: sys.exit("a pickle was opened"))
    with pytest.raises(WeightsError, match="does not read the authors' checkpoints yet; pass a preset's name"):
        mfuser.load(**arguments)
