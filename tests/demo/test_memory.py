"""What the page keeps is bounded by the machine's memory, and enough that nothing runs twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mfuser import images, presets
from mfuser.demo import compute, memory
from mfuser.demo import session as session_module
from mfuser.demo.handlers import Handlers
from mfuser.demo.session import Settings
from mfuser.inference.analysis import Analysis
from mfuser.inference.encoded import Encoded
from mfuser.inference.segmenter import Segmenter

GB = 10**9
SETTINGS = Settings("tiny", resolution=64)
# Of the EVA02 preset at 16:9, by its channels: 36 x 64 patches, 1024 channels an encoder, 768 of the texts.
L_RESULT, L_ENCODED = 45_000_000, 220_000_000


@pytest.fixture
def free(monkeypatch, session) -> Iterator[list[int]]:
    """[bytes]: free memory of a machine of 16 GB on which nothing but results and encoder outputs takes any."""
    left = [6 * GB]

    def available() -> int:
        held = session.cache.size, [k.value for k in session.cache._kept.values()]
        kept = sum(map(*held)) + sum(s.remembered for s in compute.SEGMENTERS.values())
        return max(0, left[0] - kept)

    monkeypatch.setattr(memory, "available", available)
    monkeypatch.setattr(memory, "total", lambda: 16 * GB)
    yield left


@pytest.fixture
def large(monkeypatch) -> None:
    """Every analysis and every encoder output counts as much as one of an L-sized preset."""
    monkeypatch.setattr(Analysis, "bytes", L_RESULT)
    monkeypatch.setattr(Encoded, "nbytes", L_ENCODED)
    monkeypatch.setattr(memory, "encoded_bytes", lambda segmenter: L_ENCODED)


@pytest.fixture
def encoder_passes(monkeypatch) -> list[int]:
    passes, encode = [], Segmenter._encode_pixels
    monkeypatch.setattr(Segmenter, "_encode_pixels", lambda *a: passes.append(1) or encode(*a))
    return passes


def test_a_slider_moved_back_and_another_class_list_run_no_encoder(session, free, large, encoder_passes, street_file):
    for severity in (1, 2, 3):
        session.adverse(street_file, SETTINGS, "fog", severity, 0)
    assert len(encoder_passes) == 4, "clear, and three severities"
    for severity in (2, 1, 2, 3):
        session.adverse(street_file, SETTINGS, "fog", severity, 0)
    own = SETTINGS._replace(classes=("road", "car", "sky"))
    session.result(street_file, own)
    session.adverse(street_file, own, "fog", 3, 0)
    session.result(street_file, SETTINGS)
    assert len(encoder_passes) == 4


def test_many_pictures_stay_within_the_shares_of_the_free_memory(session, free, large, tmp_path):
    free[0] = 2 * GB
    for seed in range(16):
        picture = np.random.default_rng(seed).integers(0, 255, (64, 96, 3), dtype=np.uint8)
        session.result(images.save(tmp_path / f"{seed}.png", picture), SETTINGS)
        assert session.cache.nbytes <= memory.RESULTS * 2 * GB + L_RESULT
        assert compute.SEGMENTERS["tiny"].remembered <= memory.ENCODED * 2 * GB + L_ENCODED
    assert 4 <= len(session.cache) < 16 and memory.available() > 1 * GB


def test_where_memory_is_scarce_the_latest_results_stay(session, free, large, tmp_path):
    free[0] = 0
    for seed in range(6):
        picture = np.random.default_rng(seed).integers(0, 255, (64, 96, 3), dtype=np.uint8)
        session.result(images.save(tmp_path / f"{seed}.png", picture), SETTINGS)
    assert len(session.cache) == session_module.STAY and compute.SEGMENTERS["tiny"].remembered == 0


def test_what_a_result_gathers_later_counts(session, free, street_file):
    result = session.result(street_file, SETTINGS)
    before = session.cache.nbytes
    result.draw("photo", lambda: "x" * 1000)
    result.bundle = (b"y" * 5000, {"vlm": np.zeros((4, 4), np.float32)})
    assert session.cache.nbytes - before == 1000 + 5000 + 64
    for text in ("car", "bus"):
        result.analysis.similarity(text, "vlm")
    assert session.cache.nbytes - before == 6064 + 2 * 48 * 4


def test_models_that_nobody_uses_leave_when_memory_is_short(
    session, free, tiny_preset, tiny_model, monkeypatch, street_file
):
    loaded = []
    for name in ("second", "third"):
        monkeypatch.setitem(presets.PRESETS, name, replace(tiny_preset, name=name))
    monkeypatch.setattr(session, "_load", lambda name: loaded.append(name) or Segmenter(tiny_model))
    analysis = session.result(street_file, Settings("tiny")).analysis
    session.segmenter("second")
    assert set(compute.SEGMENTERS) == {"tiny", "second"}
    free[0] = 0
    session.segmenter("third")
    assert set(compute.SEGMENTERS) == {"third"}
    assert analysis.similarity("car", "vlm").shape == analysis.size, "its model is loaded again for a new text"
    assert loaded == ["tiny", "second", "third", "tiny"]


def test_a_model_that_analyses_stays(session, free, street_file, monkeypatch):
    session.segmenter("tiny")
    free[0] = 0
    session._busy["tiny"] += 1
    session.make_room()
    assert "tiny" in compute.SEGMENTERS
    session._busy["tiny"] -= 1
    session.make_room()
    assert "tiny" not in compute.SEGMENTERS


def test_encoder_outputs_and_class_lists_are_forgotten_with_their_results(session, free, street_file):
    session.result(street_file, SETTINGS._replace(classes=("road", "lorry")))
    segmenter = compute.SEGMENTERS["tiny"]
    assert segmenter.remembered and segmenter._texts._words
    session.cache.seconds = 0
    session.cache._tick()
    assert len(session.cache) == 0 and not segmenter.remembered and not segmenter._texts._words


def test_the_estimate_of_encoder_outputs_is_near(tiny_model):
    segmenter = Segmenter(tiny_model)
    segmenter.remember = GB
    segmenter.analyse(np.zeros((90, 160, 3), np.uint8))
    assert 0.5 < memory.encoded_bytes(segmenter) / segmenter.remembered < 2


def test_a_bounded_number_of_photographs_is_decoded_at_once(session, tmp_path, monkeypatch, street):
    now, most, lock, go_on = [0], [0], threading.Lock(), threading.Event()
    load = images.load

    def counted(path):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] == session_module.DECODES:
                go_on.set()
        go_on.wait(60)
        with lock:
            now[0] -= 1
        return load(path)

    paths = [images.save(tmp_path / f"{i}.png", street) for i in range(6)]
    monkeypatch.setattr(session_module.images, "load", counted)
    threads = [threading.Thread(target=session.photograph, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == session_module.DECODES


def test_the_choice_of_sources_decodes_nothing(session, monkeypatch, street_file):
    example = str(session.examples[0].path)
    monkeypatch.setattr(session_module.images, "load", lambda path: pytest.fail("decoded"))
    handlers = Handlers(session)
    assert handlers.sources(street_file)["visible"] is False
    assert handlers.sources(example)["visible"] is True


@pytest.mark.parametrize(
    ("limits", "free", "total"), [([], 5 * GB, 16 * GB), ([4 * GB, 9 * GB], 3 * GB, 4 * GB), ([GB // 2], 0, GB // 2)]
)
def test_memory_is_that_of_the_machine_or_its_control_group(monkeypatch, limits, free, total):
    machine = SimpleNamespace(
        virtual_memory=lambda: SimpleNamespace(available=5 * GB, total=16 * GB),
        Process=lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=GB)),
    )
    monkeypatch.setattr(memory, "psutil", machine)
    monkeypatch.setattr(memory, "group_limits", lambda: iter(limits))
    assert (memory.available(), memory.total()) == (free, total)
