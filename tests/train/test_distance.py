"""The distance between sets of pictures: exact for Gaussians, small within a set, large across."""

from __future__ import annotations

import numpy as np
import pytest

from mfuser import images
from train import distance
from train.__main__ import main as train


def test_distance_of_gaussians_is_the_formula():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40_000, 3))
    b = rng.normal(size=(40_000, 3)) * (2.0, 1.0, 1.0) + (0.0, 3.0, 0.0)
    # Independent axes: squared difference of means plus that of deviations.
    assert distance.frechet(a, b) == pytest.approx(3.0**2 + (2.0 - 1.0) ** 2, rel=0.03)
    assert distance.frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert distance.frechet(a, b) == pytest.approx(distance.frechet(b, a), rel=1e-6)


def test_too_few_features_are_refused():
    with pytest.raises(ValueError, match="5 features are too few for 8 dimensions"):
        distance.frechet(np.zeros((5, 8)), np.zeros((50, 8)))


def test_the_command_tells_sets_apart(tmp_path, tiny_preset, tiny_run, capsys):
    rng = np.random.default_rng(1)
    for name, level in (("dark", 40), ("bright", 200)):
        (tmp_path / name / "images").mkdir(parents=True)
        for i in range(8):
            picture = np.clip(rng.normal(level, 30, (64, 96, 3)), 0, 255).astype(np.uint8)
            images.save(tmp_path / name / "images" / f"{i}.png", picture)
    arguments = ["--preset", "tiny", "--weights", str(tiny_run), "--size", "64", "--a", str(tmp_path / "dark")]
    assert train(["distance", *arguments, "--b", str(tmp_path / "bright")]) == 0
    across, within = (float(line.rsplit(" ", 1)[1]) for line in capsys.readouterr().out.strip().splitlines())
    assert across > 3 * within
    assert train(["distance", *arguments, "--b", str(tmp_path / "gone")]) == 2
    assert "There is no folder" in capsys.readouterr().err
