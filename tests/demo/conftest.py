"""A session over the tiny random model, which counts the passes of its network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mfuser import images, presets
from mfuser.demo import compute
from mfuser.demo.examples import Example, Rendered
from mfuser.demo.session import Session
from mfuser.inference.segmenter import Segmenter


@pytest.fixture
def street() -> np.ndarray:
    """(96, 128, 3) uint8: a bright left and a dark right half, a red block at the upper left, with a little noise."""
    picture = np.full((96, 128, 3), 40, np.uint8)
    picture[:, :64] = 200
    picture[8:40, 8:40] = (220, 30, 30)
    return (picture + np.random.default_rng(0).integers(0, 12, picture.shape)).astype(np.uint8)


@pytest.fixture
def street_file(tmp_path: Path, street: np.ndarray) -> str:
    return str(images.save(tmp_path / "street.png", street))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """One entry (windows, resolution) for every pass of a network."""
    calls: list[tuple] = []
    analyse = Segmenter.analyse

    def counted(self, image, windows="single", resolution=None, classes=None):
        calls.append((windows, resolution))
        return analyse(self, image, windows=windows, resolution=resolution, classes=classes)

    monkeypatch.setattr(Segmenter, "analyse", counted)
    return calls


@pytest.fixture
def session(monkeypatch, tiny_preset, tiny_model, passes, tmp_path) -> Iterator[Session]:
    """Preset "tiny" with one labelled example."""
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny_preset)
    monkeypatch.setattr(compute, "SEGMENTERS", {})
    picture = np.random.default_rng(1).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    labels = np.zeros((64, 96), np.uint8)
    labels[:20] = 10
    path = images.save(tmp_path / "example.png", picture)
    foggy = images.save(tmp_path / "foggy.png", picture // 2 + 100)
    weather = {"fog": Rendered(foggy, "visibility 90 m")}
    example = Example(path, "An example", "Noise.", labels, weather)
    yield Session(lambda name: Segmenter(tiny_model, precision="float32"), "tiny", [example])
