"""The inside of the fusion, decoded, is what the analysis says of it."""

from __future__ import annotations

import numpy as np
import pytest

from mfuser.stage import bundle, inside


@pytest.fixture(scope="module")
def decoded(nano_analysis):
    data = inside.encode(nano_analysis)
    return nano_analysis, data, *bundle.decode(data)


def test_offsets_are_those_of_the_analysis(decoded):
    analysis, _, header, parts = decoded
    assert len(header["blocks"]) == len(analysis.layers) and header["encoders"] == ["vfm", "vlm"]
    for index, block in enumerate(header["blocks"]):
        for encoder, numbers in block.items():
            exact = analysis.offsets(index)[encoder]
            found = parts[f"offsets.{index}.{encoder}"] * numbers["step"]
            assert np.abs(found - exact).max() <= numbers["step"] / 2 + 1e-6
            assert numbers["median"] == pytest.approx(np.median(exact)) and numbers["max"] == pytest.approx(exact.max())
            before = analysis.layer(index, encoder, before=True).astype(np.float32)
            lengths = np.linalg.norm(before, axis=-1)
            assert numbers["relative"] == pytest.approx(np.median(exact / lengths), rel=1e-5)


def test_cosines_of_every_block_and_side_are_kept(decoded):
    analysis, data, header, parts = decoded
    for index in range(len(header["blocks"])):
        for encoder in header["encoders"]:
            for side in inside.SIDES:
                tokens = analysis.layer(index, encoder, before=side == "before").astype(np.float32)
                rows = tokens.reshape(-1, tokens.shape[-1])
                rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
                name = f"tokens.{index}.{encoder}.{side}"
                found = parts[name].astype(np.float32).T * parts[f"{name}.scale"]
                assert np.abs(rows @ rows.T - found @ found.T).mean() <= 0.025, name
    assert len(data) < 1_000_000


def test_features_before_and_after_share_a_basis(nano_analysis):
    tokens = nano_analysis.layer(0, "vfm", before=True)
    same = inside.features(tokens, tokens)
    assert np.array_equal(*same) and same[0].shape == (*tokens.shape[:2], 3)
    changed = tokens.copy()
    changed[0, 0] = tokens[-1, -1]
    assert np.array_equal(inside.features(tokens, changed)[1][0, 0], inside.features(tokens, changed)[0][-1, -1])


def test_class_cosines_are_those_of_the_texts(decoded):
    analysis, _, header, parts = decoded
    for side in inside.SIDES:
        texts = analysis.text(before=side == "before")
        car, truck = (texts[header["classes"].index(name)] for name in ("car", "truck"))
        exact = car @ truck / np.linalg.norm(car) / np.linalg.norm(truck)
        found = parts[f"classes.{side}"][header["classes"].index("car"), header["classes"].index("truck")]
        assert found == pytest.approx(exact, abs=1e-5)
    assert np.abs(parts["classes.before"] - parts["classes.after"]).max() > 1e-3, "MTEnhancer does something"
