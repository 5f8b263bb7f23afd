"""An analysis stream by stream: the same masks, stopped when the caller stops, and nothing kept that was not asked."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mfuser.config import STREAMS
from mfuser.inference.confidence import Confidence
from mfuser.inference.encoded import Encoded, EncodedCache
from mfuser.inference.segmenter import Segmenter


class StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def segmenter(tiny_model) -> Segmenter:
    return Segmenter(tiny_model, precision="float32")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 600, 3)).astype(np.uint8)


@pytest.mark.parametrize("windows", ["single", "sliding"])
def test_steps_are_the_streams_and_end_with_the_analysis(segmenter, image, windows: str):
    steps, whole = list(segmenter.steps(image, windows)), segmenter.analyse(image, windows)
    assert [step.stream for step in steps] == list(STREAMS)
    assert [tuple(step.masks) for step in steps] == [STREAMS[:1], STREAMS[:2], STREAMS]
    assert [step.analysis is None for step in steps] == [True, True, False]
    for stream in STREAMS:
        assert all(np.array_equal(s.masks[stream], whole.masks[stream]) for s in steps if stream in s.masks)
        assert np.array_equal(steps[-1].analysis.tokens[stream], whole.tokens[stream])


def test_who_stops_asking_ends_the_work_and_frees_the_model(segmenter, image, monkeypatch):
    run: list[str] = []
    features = type(segmenter.model).features
    monkeypatch.setattr(type(segmenter.model), "features", lambda m, e, s, *a: run.append(s) or features(m, e, s, *a))
    steps = segmenter.steps(image)
    next(steps)
    found: list[np.ndarray] = []
    other = threading.Thread(target=lambda: found.append(segmenter.analyse(image).masks["fused"]))
    other.start()
    other.join(30)
    assert found, "another pass runs between two steps"
    run.clear()
    next(steps)
    steps.close()
    assert run == ["vlm"]


@pytest.mark.parametrize(("windows", "calls"), [("single", 2), ("sliding", 2)])
def test_a_check_that_raises_ends_a_step_inside(segmenter, image, windows: str, calls: int):
    """Between windows, and between blocks of the fused stream (the tiny model has 4)."""
    made = []

    def check() -> None:
        made.append(1)
        if len(made) == calls:
            raise StoppedError

    steps = segmenter.steps(image, windows, check=check)
    ready = []
    with pytest.raises(StoppedError):
        for step in steps:
            ready.append(step.stream)
    assert len(made) == calls and ready == ([] if windows == "sliding" else ["vfm", "vlm"])
    assert segmenter.analyse(image).masks


def test_a_text_does_not_wait_for_a_picture(segmenter):
    found: list[np.ndarray] = []
    with segmenter._lock:  # as while a stream runs
        thread = threading.Thread(target=lambda: found.append(segmenter.encode_text(["car"], "vlm")), daemon=True)
        thread.start()
        thread.join(30)
        assert found


def test_tokens_of_blocks_are_kept_on_request_alone(segmenter, image):
    plain, whole = segmenter.analyse(image), segmenter.analyse(image, layers=True)
    assert not plain.layers and not plain.offset_norms
    assert whole.bytes - plain.bytes >= 4 * 2 * 2 * plain.tokens["vfm"].nbytes, "4 blocks, 2 encoders, before and after"
    for ask in (lambda: plain.layer(0, "vfm"), lambda: plain.offsets(0)):
        with pytest.raises(ValueError, match="layers=True"):
            ask()
    assert whole.layer(3, "vlm").shape == whole.tokens["vlm"].shape
    assert all(np.array_equal(plain.masks[s], whole.masks[s]) for s in STREAMS)


def test_layers_are_there_also_when_the_encoders_ran_before(tiny_model, image):
    segmenter = Segmenter(tiny_model, precision="float32")
    segmenter.remember = 10**9
    segmenter.analyse(image)
    assert len(segmenter.analyse(image, layers=True).layers) == 4
    assert not segmenter.analyse(image).layers


def test_words_of_visitors_are_bounded(segmenter, image, monkeypatch):
    monkeypatch.setattr("mfuser.inference.analysis.TEXTS_KEPT", 2)
    analysis = segmenter.analyse(image)
    before, asked = analysis.bytes, []
    encode = analysis.encode_text
    analysis.encode_text = lambda texts, stream: asked.extend(texts) or encode(texts, stream)
    for text in ("car", "bus", "tree", "car", "sky", "dog", "car", "bus"):
        analysis.similarity(text, "vlm")
    assert asked == ["car", "bus", "tree", "sky", "dog", "bus"], "the least recently asked one left"
    assert analysis.bytes - before == 4 * 48 * 4


def test_confidence_is_close_in_half_the_bytes():
    exact = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    kept = Confidence({"vfm": exact})
    assert kept.nbytes == exact.nbytes // 2 and list(kept) == ["vfm"]
    assert kept["vfm"].dtype == np.float32 and np.abs(kept["vfm"] - exact).max() <= 1 / 131070 + 1e-7


def test_what_the_encoders_gave_is_forgotten_in_time_and_by_use():
    now = [0.0]
    cache = EncodedCache(clock=lambda: now[0])
    one = Encoded(tokens={"vfm": np.zeros(100, np.uint8)})
    for key in "abc":
        cache.put(key, one, 300)
    now[0] = 5
    assert cache.get("a") is one
    cache.put("d", one, 300)
    assert [cache.get(k) is not None for k in "abcd"] == [True, False, True, True]
    now[0] = 20
    cache.get("d")
    cache.forget(15)
    assert len(cache) == 1 and cache.nbytes == 100
