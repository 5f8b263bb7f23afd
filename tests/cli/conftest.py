"""A tiny preset on disk, and a working folder with two photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mfuser import images, presets
from mfuser.config import STREAMS
from mfuser.weights import tensors


@pytest.fixture(scope="session")
def weights(build_model, tiny_preset, tmp_path_factory) -> Path:
    folder, model = tmp_path_factory.mktemp("weights"), build_model(tiny_preset)
    for name in ("vfm", "vlm"):
        tensors.save(folder / f"encoder-{name}.safetensors", getattr(model, name).state_dict())
    for stream in STREAMS:
        tensors.save(folder / f"stream-{stream}.safetensors", model.state_for(stream))
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch, weights, tiny_preset) -> Path:
    """Working folder with two photographs, and the tiny preset by its name."""
    monkeypatch.setitem(presets.PRESETS, "tiny", replace(tiny_preset, weights=weights))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, (h, w) in {"street.png": (80, 120), "lane.jpg": (97, 64)}.items():
        images.save(tmp_path / name, images.resize(rng.integers(0, 256, (6, 9, 3)).astype(np.uint8), h, w))
    return tmp_path
