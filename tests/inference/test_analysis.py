"""Analysis: cheap, picklable, and true to the numbers it was made from."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from mfuser.config import STREAMS
from mfuser.inference.analysis import Analysis, is_point
from mfuser.inference.segmenter import Segmenter

SIZE = (64, 96)


@pytest.fixture(scope="module")
def segmenter(tiny_model) -> Segmenter:
    return Segmenter(tiny_model, precision="float32")


@pytest.fixture
def analysis(segmenter) -> Analysis:
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    return segmenter.analyse(image, layers=True)


# -- masks and shares -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
def test_shares_are_fractions_of_the_mask_largest_first(analysis, stream: str):
    shares = analysis.shares(stream)
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True) and min(shares.values()) > 0
    for name, share in shares.items():
        assert share == np.mean(analysis.masks[stream] == analysis.classes.index(name))


def test_pixels_without_a_class_have_no_share(analysis):
    analysis.masks["vfm"] = np.full(SIZE, 255, np.uint8)
    analysis.masks["vfm"][:16] = 13
    assert analysis.shares("vfm") == {"car": 0.25}


# -- features ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("foreground", [False, True])
def test_pca_is_a_picture_of_the_images_size(analysis, stream: str, foreground: bool):
    picture = analysis.pca(stream, foreground)
    assert picture.shape == (*SIZE, 3) and picture.dtype == np.uint8
    assert np.array_equal(picture, analysis.pca(stream, foreground))


def test_pca_of_the_foreground_is_grey_on_road_sidewalk_and_sky(analysis):
    mask = np.full(SIZE, 2, np.uint8)  # building
    mask[:32], mask[32:, :48] = 10, 0  # sky above, road below on the left
    analysis.masks["fused"] = mask
    picture = analysis.pca("fused", foreground=True)
    # The enlargement is cubic, over four patches: these pixels see grey ones only.
    assert (picture[:8] == 128).all() and (picture[56:, :24] == 128).all()
    assert np.ptp(picture[40:, 60:].astype(int)) > 50


def test_fused_tokens_are_both_encoders(analysis):
    assert analysis.tokens["fused"].shape == (4, 6, 64 + 64)
    assert analysis.tokens["vfm"].shape == analysis.tokens["vlm"].shape == (4, 6, 64)


@pytest.mark.parametrize("index", [0, 3])
def test_offsets_are_the_norm_of_after_minus_before(analysis, index: int):
    norms = analysis.offsets(index)
    assert set(norms) == {"vfm", "vlm"}
    for name, norm in norms.items():
        assert norm.shape == (4, 6) and norm.dtype == np.float32 and norm.min() > 0
        before, after = (analysis.layer(index, name, before=b).astype(np.float32) for b in (True, False))
        assert before.shape == (4, 6, 64)
        # The layers are kept in half precision, the norms were taken before the rounding.
        expected = np.linalg.norm(after - before, axis=-1)
        np.testing.assert_allclose(norm, expected, rtol=5e-3, atol=5e-3)


def test_layers_that_do_not_exist_are_refused(analysis):
    for index in (-1, 4):
        with pytest.raises(ValueError, match=f"Layer {index} does not exist: this model fuses after blocks 0 to 3"):
            analysis.layer(index, "vfm")
    with pytest.raises(ValueError, match="No 'fused' here; choose one of vfm, vlm"):
        analysis.layer(0, "fused")


def test_text_before_and_after_the_enhancer(analysis, tiny_model):
    before, after = analysis.text(before=True), analysis.text()
    assert before.shape == after.shape == (19, 48) and before.dtype == np.float32
    assert not np.allclose(before, after)
    np.testing.assert_allclose(before, tiny_model.class_text("fused").detach().numpy(), atol=1e-6)


# -- similarity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("query", ["car", (10, 20), (95.5, 63.9), ["car", "bus"]], ids=str)
def test_similarity_is_a_cosine_at_every_pixel(analysis, stream: str, query):
    if stream == "vfm" and not is_point(query):
        with pytest.raises(ValueError, match="no text space: click on the image"):
            analysis.similarity(query, stream)
        return
    field = analysis.similarity(query, stream)
    assert field.shape == SIZE and field.dtype == np.float32
    assert -1 <= field.min() and field.max() <= 1 and np.ptp(field) > 0


@pytest.mark.parametrize("stream", STREAMS)
def test_similarity_is_one_at_the_clicked_patch(analysis, stream: str):
    for x, y in ((0, 0), (95, 0), (0, 63), (95, 63)):  # outside the outermost patch centres nothing is mixed in
        assert analysis.similarity((x, y), stream)[y, x] == pytest.approx(1, abs=2e-3)
    y, x = np.unravel_index(analysis.similarity((40, 24), stream).argmax(), SIZE)
    assert (x // 16, y // 16) == (40 // 16, 24 // 16)


def test_text_similarity_is_the_cosine_with_the_dense_embedding(analysis, segmenter):
    for stream in ("vlm", "fused"):
        embedding = segmenter.encode_text(["car"], stream)[0]
        grid = analysis.dense[stream].astype(np.float32) @ embedding
        field = analysis.similarity("car", stream)
        assert field[0, 0] == pytest.approx(grid[0, 0], abs=1e-5)
        assert field[-1, -1] == pytest.approx(grid[-1, -1], abs=1e-5)
        assert field.mean() == pytest.approx(grid.mean(), abs=0.02)


def test_several_texts_give_the_largest(analysis):
    # The largest is taken at the patches; at the corners no neighbours are mixed in.
    fields = [analysis.similarity(text, "vlm") for text in ("car", "sky", "a dog")]
    found = analysis.similarity(["car", "sky", "a dog"], "vlm")
    for y, x in ((0, 0), (0, 95), (63, 0), (63, 95)):
        assert found[y, x] == pytest.approx(max(f[y, x] for f in fields), abs=1e-6)
    assert all((found >= f - 1e-6).all() for f in fields)


def test_each_text_is_encoded_once(analysis):
    asked: list[str] = []
    encode = analysis.encode_text
    analysis.encode_text = lambda texts, stream: asked.extend(texts) or encode(texts, stream)
    for query in ("car", " car ", ["car", "bus"], "bus", ["bus", "bus"]):
        analysis.similarity(query, "vlm")
    assert asked == ["car", "bus"]


@pytest.mark.parametrize("query", ["", "  \n ", [], ["", " "]])
def test_empty_texts_are_refused(analysis, query):
    with pytest.raises(ValueError, match="The text query is empty: type what to look for"):
        analysis.similarity(query, "vlm")


@pytest.mark.parametrize("point", [(-1, 0), (96, 0), (0, 64), (float("nan"), 3)])
def test_points_outside_are_refused(analysis, point: tuple[float, float]):
    with pytest.raises(ValueError, match="outside the image of 96x64 pixels"):
        analysis.similarity(point, "vfm")


@pytest.mark.parametrize("ask", ["shares", "pca"])
def test_unknown_streams_are_refused_with_the_known_ones(analysis, ask: str):
    with pytest.raises(ValueError, match="No 'both' here; choose one of vfm, vlm, fused"):
        getattr(analysis, ask)("both")


def test_what_is_a_point():
    assert is_point((1, 2)) and is_point([1.5, 2]) and is_point((np.int64(1), np.float32(2)))
    assert not any(is_point(q) for q in ("12", ["a", "b"], (1,), (1, 2, 3), 5, None))


# -- pickling ---------------------------------------------------------------------------------------------------------


def test_pickles_without_the_model(analysis, segmenter):
    expected = analysis.similarity("car", "vlm")
    data = pickle.dumps(analysis)
    assert len(data) < analysis.bytes + 50_000, "nothing of the model travels along"
    copy = pickle.loads(data)
    assert copy.encode_text is None and analysis.encode_text is not None
    for stream in STREAMS:
        assert np.array_equal(copy.masks[stream], analysis.masks[stream])
        assert np.array_equal(copy.pca(stream), analysis.pca(stream))
    assert copy.shares() == analysis.shares() and copy.ran == analysis.ran
    assert np.array_equal(copy.similarity("car", "vlm"), expected), "a text that was asked before is remembered"
    assert copy.similarity((3, 4), "vfm").shape == SIZE
    with pytest.raises(ValueError, match=r"call analysis.bind\(segmenter\) first"):
        copy.similarity("bus", "vlm")
    assert np.array_equal(copy.bind(segmenter).similarity("bus", "vlm"), analysis.similarity("bus", "vlm"))


def test_bytes_counts_what_the_arrays_take(analysis):
    assert analysis.bytes == pytest.approx(len(pickle.dumps(analysis)), rel=0.15)
    assert all(a.dtype == np.float16 for a in (*analysis.tokens.values(), *analysis.dense.values()))
