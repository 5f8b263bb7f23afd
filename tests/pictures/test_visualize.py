"""Contracts of the pictures, degenerate inputs included; no model is involved."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from mfuser.cityscapes import COMMON, IGNORE, PALETTE
from mfuser.pictures import visualize


def is_picture(picture: np.ndarray) -> bool:
    return picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


@pytest.fixture
def masks(rng) -> dict[str, np.ndarray]:
    return {stream: rng.integers(0, 19, (24, 40)).astype(np.uint8) for stream in ("vfm", "vlm", "fused")}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# ------------------------------------------------------------------------------------------------ PCA


def test_pca_is_the_svd_projection_up_to_the_stretch(rng):
    tokens = rng.normal(size=(12, 16, 20)).astype(np.float32) * np.geomspace(5, 0.1, 20)
    rows = tokens.reshape(-1, 20).astype(np.float64)
    rows = rows - rows.mean(axis=0)
    loadings = np.linalg.svd(rows, full_matrices=False)[2][:3]
    loadings *= np.sign(loadings[np.arange(3), np.abs(loadings).argmax(axis=1)])[:, None]
    scores = rows @ loadings.T
    low, high = np.percentile(scores, (1, 99), axis=0)
    expected = (255 * (scores - low) / (high - low)).clip(0, 255).reshape(12, 16, 3)
    picture = visualize.pca_rgb(tokens, (12, 16))
    assert np.abs(picture.astype(float) - expected).max() <= 1


def test_pca_recovers_known_components(rng):
    yy, xx = np.mgrid[0:1:14j, 0:1:18j]
    known = np.stack([3 * xx, 2 * np.sin(6 * yy), np.cos(9 * xx) * yy], axis=-1)  # clearly ordered in variance
    basis = np.linalg.qr(rng.normal(size=(32, 3)))[0].T
    picture = visualize.pca_rgb(known @ basis + 1e-3 * rng.normal(size=(14, 18, 32)), (14, 18)).reshape(-1, 3)
    rows = known.reshape(-1, 3) - known.reshape(-1, 3).mean(axis=0)
    scores = np.linalg.svd(rows, full_matrices=False)[0]
    for channel in range(3):
        assert abs(np.corrcoef(picture[:, channel], scores[:, channel])[0, 1]) > 0.99


def test_pca_sign_does_not_depend_on_the_order_of_tokens(rng):
    tokens = rng.normal(size=(6, 8, 10)) * np.geomspace(4, 0.2, 10)
    turned = visualize.pca_rgb(tokens[::-1, ::-1], (6, 8))[::-1, ::-1]
    assert np.abs(turned.astype(int) - visualize.pca_rgb(tokens, (6, 8)).astype(int)).max() <= 1


def test_pca_fits_the_foreground_only_and_greys_the_rest(rng):
    tokens = rng.normal(size=(8, 8, 12))
    foreground = np.zeros((8, 8), bool)
    foreground[2:6, 2:6] = True
    picture = visualize.pca_rgb(tokens, (8, 8), foreground)
    moved = np.where(foreground[..., None], tokens, 1000 * rng.normal(size=tokens.shape))
    assert (picture[~foreground] == visualize.GREY).all()
    assert np.array_equal(picture, visualize.pca_rgb(moved, (8, 8), foreground))
    assert np.array_equal(picture[2:6, 2:6], visualize.pca_rgb(tokens[2:6, 2:6], (4, 4)))


def test_pca_upsamples_smoothly(rng):
    tokens = np.repeat(np.linspace(-1, 1, 8)[None, :, None], 4, axis=0) * rng.normal(size=6)
    picture = visualize.pca_rgb(tokens, (64, 128)).astype(int)
    assert picture.shape == (64, 128, 3)
    assert np.abs(np.diff(picture[32, :, 0])).max() < 12  # nearest neighbour would jump by 36


@pytest.mark.parametrize("shape", [(1, 1, 8), (1, 2, 8), (4, 4, 1), (4, 4, 2), (2, 1, 1)])
@pytest.mark.parametrize("kind", ["random", "constant", "huge constant"])
def test_pca_of_tiny_and_constant_grids(rng, shape, kind):
    tokens = rng.normal(size=shape) if kind == "random" else np.full(shape, 0.1 if kind == "constant" else 1e6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = visualize.pca_rgb(tokens, (16, 24))
        empty = visualize.pca_rgb(tokens, (16, 24), np.zeros(shape[:2], bool))
    assert is_picture(picture) and picture.shape == (16, 24, 3)
    assert (empty == visualize.GREY).all()
    if kind != "random":
        assert (picture == visualize.GREY).all()


def test_pca_keeps_a_lone_outlier_visible():
    tokens = np.zeros((16, 16, 4))
    tokens[3, 5] = 1
    picture = visualize.pca_rgb(tokens, (16, 16))[..., 0]
    assert picture[3, 5] == 255 and (np.delete(picture.ravel(), 3 * 16 + 5) == 0).all()


def test_pca_refuses_what_it_cannot_show(rng):
    with pytest.raises(ValueError, match=r"\(h, w, C\)"):
        visualize.pca_rgb(np.zeros((4, 4)), (8, 8))
    with pytest.raises(ValueError, match="NaN"):
        visualize.pca_rgb(np.full((4, 4, 3), np.nan), (8, 8))
    with pytest.raises(ValueError, match="one flag per token"):
        visualize.pca_rgb(np.zeros((4, 4, 3)), (8, 8), np.ones((2, 2), bool))


# ------------------------------------------------------------------------------------------------ heat and overlays


def test_heat_brightens_monotonically_and_clips():
    ramp = visualize.heat(np.linspace(-1, 2, 61)[None], 0, 1)
    luminance = ramp[0].astype(float) @ (0.2126, 0.7152, 0.0722)
    assert is_picture(ramp) and (np.diff(luminance) >= -0.5).all()
    assert (ramp[0, :20] == ramp[0, 0]).all() and (ramp[0, 41:] == ramp[0, -1]).all()
    assert np.array_equal(visualize.heat(np.array([[np.nan]]), 0, 1), visualize.heat(np.array([[0.0]]), 0, 1))
    assert is_picture(visualize.heat(np.full((2, 2), 0.5), 0.5, 0.5))


@pytest.mark.parametrize("cmap", sorted(visualize.COLOUR_MAPS))
def test_heat_is_matplotlibs_own_lookup(cmap):
    values = np.random.default_rng(0).uniform(-0.3, 1.4, (40, 60)).astype(np.float32)
    scaled = ((values - np.float32(0.1)) / np.float32(0.8)).clip(0, 1)
    assert np.array_equal(
        visualize.heat(values, 0.1, 0.9, cmap), matplotlib.colormaps[cmap](scaled, bytes=True)[..., :3]
    )


def test_only_perceptually_uniform_maps():
    with pytest.raises(ValueError, match="perceptually uniform"):
        visualize.heat(np.zeros((2, 2)), 0, 1, cmap="jet")


def test_overlay_interpolates_and_checks_sizes():
    black, white = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 255, np.uint8)
    assert [int(visualize.overlay(black, white, o)[0, 0, 0]) for o in (0, 0.2, 1, 7)] == [0, 51, 255, 255]
    with pytest.raises(ValueError, match="differ in size"):
        visualize.overlay(black, white[:2], 0.5)


def test_mask_overlay_paints_classes_borders_and_leaves_unlabelled_pixels(rng):
    image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 13
    mask[:10] = IGNORE
    picture = visualize.mask_overlay(image, mask, opacity=1.0)
    assert np.array_equal(picture[:9], image[:9])
    assert (picture[15, 5] == PALETTE[0]).all() and (picture[15, 30] == PALETTE[13]).all()
    assert picture[15, 19].sum() < PALETTE[0].sum() * 0.5
    assert np.array_equal(visualize.mask_overlay(image, mask, opacity=0), image)
    assert (visualize.mask_overlay(image, mask, 1.0, edges=False)[15, 19] == PALETTE[0]).all()


def test_boundaries_are_thin_and_only_between_classes():
    mask = np.zeros((10, 12), np.uint8)
    mask[:, 6:] = 3
    assert np.flatnonzero(visualize.boundaries(mask)[4]).tolist() == [5]
    assert visualize.boundaries(mask, width=3).sum() == 30
    assert not visualize.boundaries(np.full((5, 5), 255, np.uint8)).any()


def test_similarity_scale_covers_every_map_and_never_collapses(rng):
    low, high = visualize.similarity_scale([rng.uniform(-0.2, 0.1, (50, 50)), rng.uniform(0.3, 0.9, (50, 50))])
    assert -0.2 <= low < -0.19 and 0.89 < high <= 0.9
    for maps in ([np.full((3, 3), 0.4)], [np.full((3, 3), np.nan)]):
        low, high = visualize.similarity_scale(maps)
        assert low < high
    with pytest.raises(ValueError, match="at least one"):
        visualize.similarity_scale([])


# ------------------------------------------------------------------------------------------------ comparing masks


def test_disagreement_counts_distinct_answers():
    rows = {"vfm": [1, 1, 1, 255, 255], "vlm": [1, 1, 2, 3, 255], "fused": [1, 2, 3, 3, 255]}
    masks = {stream: np.array([row], np.uint8) for stream, row in rows.items()}
    assert visualize.disagreement(masks).tolist() == [[0, 1, 2, 0, 0]]
    brightness = visualize.disagreement_picture(masks, np.full((1, 5, 3), 90, np.uint8)).sum(axis=-1)[0]
    assert brightness[0] == brightness[3] < brightness[1] < brightness[2]
    assert visualize.disagreement({"fused": masks["fused"]}).max() == 0


def test_agreement_against_a_worked_example():
    a = np.array([[0, 0, 1, 1]], np.uint8)
    b = np.array([[0, 1, 1, 255]], np.uint8)
    assert visualize.agreement(a, b) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert visualize.agreement(a, a) == 1.0
    assert visualize.agreement(a, b + 5) == 0.0


def test_agreement_within_groups_and_without_pixels():
    terrain, vegetation = np.full((3, 3), 9, np.uint8), np.full((3, 3), 8, np.uint8)
    assert visualize.agreement(terrain, vegetation) == 0.0
    assert visualize.agreement(terrain, vegetation, COMMON) == 1.0
    assert visualize.agreement(np.full((3, 3), IGNORE, np.uint8), vegetation) == 0.0
    with pytest.raises(ValueError, match="differ in size"):
        visualize.agreement(terrain, vegetation[:2])


def test_import_leaves_pyplot_and_models_alone():
    code = (
        "import sys, types; sys.modules['mfuser'] = package = types.ModuleType('mfuser');"
        "package.__path__ = [sys.argv[1]]; import mfuser.pictures.charts;"  # without the package's own imports
        "print([name for name in ('matplotlib.pyplot', 'torch', 'gradio', 'timm') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(Path(visualize.__file__).parents[1])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
