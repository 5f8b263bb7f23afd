"""The bundle, decoded, is the analysis again: exact where it says so, close where it is projected."""

from __future__ import annotations

import numpy as np
import pytest

from mfuser.stage import bundle
from mfuser.stage.projection import project
from mfuser.stage.texts import text_vectors


@pytest.fixture(scope="module")
def decoded(nano_analysis):
    truth = nano_analysis.masks["fused"].copy()
    truth[:10] = 255
    made = bundle.encode(nano_analysis, truth)
    return nano_analysis, made, *bundle.decode(made.data), truth


def approximate(parts, name: str) -> np.ndarray:
    """(N, N) cosines as the browser computes them."""
    rows = parts[name].astype(np.float32).T * parts[f"{name}.scale"]
    return rows @ rows.T


def test_masks_and_truth_are_identical(decoded):
    analysis, _, header, parts, truth = decoded
    for stream in analysis.streams:
        assert np.array_equal(parts[f"mask.{stream}"], analysis.masks[stream])
    assert np.array_equal(parts["truth"], truth)
    assert header["size"] == list(analysis.size) and header["classes"] == list(analysis.classes)
    assert header["iou"]["fused"] == pytest.approx(
        [1.0 if (truth == k).any() else None for k in range(len(analysis.classes))]
    ), "the truth is the fused mask where it is known"


@pytest.mark.parametrize("kind", ["tokens", "dense"])
def test_cosines_and_neighbours_are_kept(decoded, kind):
    analysis, _, _, parts, _ = decoded
    for stream, values in getattr(analysis, kind).items():
        rows = values.reshape(-1, values.shape[-1]).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
        exact, found = rows @ rows.T, approximate(parts, f"{kind}.{stream}")
        assert np.abs(exact - found).mean() <= 0.02
        nearest = [set(np.argsort(-c[i])[:20]) for i in range(0, len(rows), 5) for c in (exact, found)]
        overlap = np.mean([len(a & b) / 20 for a, b in zip(nearest[::2], nearest[1::2], strict=True)])
        assert overlap >= (0.9 if kind == "tokens" else 0.8)


def test_a_text_is_compared_by_one_vector_of_a_space(decoded):
    analysis, made, _, parts, _ = decoded
    vectors = text_vectors(analysis.encode_text, ["car", "tree"], made.text_bases)
    for stream, of in vectors.items():
        patches = parts[f"dense.{stream}"].astype(np.float32) * parts[f"dense.{stream}.scale"][:, None]
        texts = analysis.encode_text(["car", "tree"], stream)
        exact = texts @ analysis.dense[stream].reshape(-1, texts.shape[1]).astype(np.float32).T
        assert np.abs(np.array(of) @ patches - exact).mean() <= 0.02


def test_confidence_is_that_of_the_analysis_at_the_decoders_resolution(decoded):
    analysis, _, _, parts, _ = decoded
    for stream in analysis.streams:
        found = parts[f"confidence.{stream}"]
        assert abs(found.mean() / 255 - analysis.confidence[stream].mean()) < 0.01


def test_headers_take_more_and_damage_is_said(decoded):
    _, made, header, parts, _ = decoded
    more, same = bundle.decode(bundle.add_to_header(made.data, {"queries": [{"text": "car"}]}))
    assert more == {**header, "queries": [{"text": "car"}]}
    assert all(np.array_equal(same[name], parts[name]) for name in parts if name != "photo")
    with pytest.raises(ValueError, match="not a bundle"):
        bundle.decode(b"PNG" + made.data)
    with pytest.raises(ValueError, match="cut short"):
        bundle.decode(made.data[:-200])


def test_large_widths_are_projected_as_well():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(300, 12)) @ rng.normal(size=(12, 1500))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    found = project(rows, 16, 0.004)
    assert found.values.shape == (16, 300) and found.error < 0.01


def test_rows_that_need_more_dimensions_are_told_by_the_error():
    rows = np.eye(40, dtype=np.float32)
    assert project(rows, 40, 0.001).error < 0.01 < project(rows, 20, 0.001).error
