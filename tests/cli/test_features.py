"""`features`: the tokens of an analysis as files."""

from __future__ import annotations

import numpy as np
import pytest

import mfuser
from mfuser.config import STREAMS
from tests.cli.commands import read, refusal, run


def test_features_are_the_analysis_tokens(folder):
    assert run("features", "street.png", "--preset", "tiny", "--layers", "0,3", "--before", "--out", "f") == 0
    analysis = mfuser.load("tiny").analyse("street.png", layers=True)
    with np.load(folder / "f" / "street" / "features.npz", allow_pickle=False) as file:
        arrays = dict(file)
    layers = {f"layer-{i:02d}/{e}{b}" for i in (0, 3) for e in ("vfm", "vlm") for b in ("", "-before")}
    assert set(arrays) == {f"last/{s}" for s in STREAMS} | layers
    for stream in STREAMS:
        assert np.array_equal(arrays[f"last/{stream}"], analysis.tokens[stream])
    assert np.array_equal(arrays["layer-03/vlm"], analysis.layer(3, "vlm"))
    assert np.array_equal(arrays["layer-00/vfm-before"], analysis.layer(0, "vfm", before=True))
    pictures = {p.name for p in (folder / "f" / "street").glob("*.png")}
    assert len(pictures) == len(arrays) and {"pca-fused.png", "pca-layer-00-vfm-before.png"} <= pictures
    assert read(folder / "f" / "street" / "pca-layer-03-vlm.png").shape == (80, 120, 3)


@pytest.mark.parametrize(("layers", "count"), [("none", 1), ("all", 1 + 4 * 2)])
def test_features_of_no_or_all_layers(folder, layers: str, count: int):
    arguments = ("--layers", layers, "--streams", "fused", "--quiet", "--out", "f")
    assert run("features", "street.png", "--preset", "tiny", *arguments) == 0
    with np.load(folder / "f" / "street" / "features.npz") as file:
        assert len(file.files) == count


def test_features_mistakes(folder, capsys):
    sentence = refusal(capsys, "features", "street.png", "--preset", "tiny", "--layers", "0,9", "--out", "f")
    assert "9" in sentence and "0 to 3" in sentence, "the layers that there are"
    sentence = refusal(capsys, "features", "street.png", "--layers", "x", "--out", "f")
    assert all(way in sentence for way in ("--layers", "all", "none", "0,5"))
