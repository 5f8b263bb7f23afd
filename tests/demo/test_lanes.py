"""Progress, cancel, and the lane of cached work: by events and counters, not by the clock."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from mfuser import images
from mfuser.demo import compute, stage_view
from mfuser.demo.endpoints import Endpoints
from mfuser.demo.jobs import Job
from mfuser.demo.session import Session, Settings
from mfuser.demo.stage_view import StageView
from mfuser.demo.uploads import Uploads
from mfuser.inference.segmenter import Segmenter

SETTINGS = Settings("tiny", resolution=64)
CHOSEN = ("tiny", "single", 64, "")


@pytest.fixture
def view(session: Session, tmp_path) -> StageView:
    return StageView(session, Uploads(tmp_path))


@pytest.fixture
def held():
    """Holds the thread that computes, as somebody's pass does; `busy` says that it does."""
    release, busy = threading.Event(), threading.Event()
    future = compute._THREAD.submit(lambda: (busy.set(), release.wait(60)))
    assert busy.wait(60)
    yield release
    release.set()
    future.result()


def asked(path: str, request: str = "1") -> SimpleNamespace:
    return SimpleNamespace(path=path, request=request)


def messages(answers) -> list[dict]:
    return [json.loads(first) for first, *_ in answers if isinstance(first, str)]


def test_the_stage_hears_of_each_stream_and_ends_with_a_bundle(view, street_file):
    said = messages(view.analyse(*CHOSEN, asked(street_file)))
    statuses = [m["status"] for m in said if "status" in m]
    assert [s for s in statuses if s in stage_view.READY.values()] == list(stage_view.READY.values())
    assert said[-1]["token"] and all(m["request"] == "1" for m in said)


@pytest.mark.parametrize("stream", ["vfm", "vlm"])
def test_who_cancels_frees_the_thread_between_two_streams(view, session, street_file, monkeypatch, stream: str):
    run, go_on = [], threading.Event()
    features = type(session.segmenter("tiny").model).features

    def counted(model, embedded, name, *others):
        run.append(name)
        found = features(model, embedded, name, *others)
        if name == stream:
            go_on.wait(60)
        return found

    monkeypatch.setattr(type(session.segmenter("tiny").model), "features", counted)
    monkeypatch.setattr(stage_view, "PULSE", 0.02)
    answers = view.analyse(*CHOSEN, asked(street_file))
    while stream not in run:
        next(answers)
    answers.close()  # what Gradio does when a visitor cancels or leaves
    go_on.set()
    assert compute.alone(lambda: "free") == "free"
    assert run[-1] == stream and len(session.cache) == 0


def test_between_two_answers_the_stage_can_be_cancelled_while_it_waits(view, street_file, passes, monkeypatch, held):
    monkeypatch.setattr(stage_view, "PULSE", 0.02)
    monkeypatch.setattr(compute, "POLL", 0.02)
    answers = view.analyse(*CHOSEN, asked(street_file))
    for _ in range(3):
        next(answers)
    answers.close()
    held.set()
    compute.alone(lambda: None)
    assert passes == []


def test_a_call_whose_client_left_ends_too(session, street_file, passes):
    left = threading.Event()
    left.set()

    def call() -> None:
        compute.WATCH.set(compute.Watch(gone=left.is_set))
        session.result(street_file, SETTINGS)

    job = Job(call)
    with pytest.raises(compute.Cancelled):
        job.result()
    assert passes == [] and len(session.cache) == 0
    assert session.result(street_file, SETTINGS).analysis.masks, "the next visitor gets an answer"


def test_the_page_knows_which_client_left():
    from mfuser.demo.guard import Page

    page = Page()
    page._queue.event_ids_to_events = {"a": SimpleNamespace(alive=True), "b": SimpleNamespace(alive=False)}
    assert [page.left(event) for event in ("a", "b", "c", None)] == [False, True, False, False]


def test_over_http_a_client_that_leaves_ends_its_computation(served, visitor, street, held):
    served.passes.clear()
    path = {"path": visitor.upload(images.encode(street))}
    event = json.loads(visitor.post("/call/segment", {"data": [path, "tiny", "single", 64]}))["event_id"]
    with visitor.http.stream("GET", f"/gradio_api/call/segment/{event}"):
        queue = served.page._queue
        until(lambda: event in queue.event_ids_to_events)
    until(lambda: event not in queue.event_ids_to_events, "it ended while somebody else's pass went on")
    held.set()
    compute.alone(lambda: None)
    assert served.passes == []


def until(true, why: str = "") -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


# -- the lane of cached work ------------------------------------------------------------------------------------------


def test_words_of_an_analysed_picture_wait_for_no_pass(view, session, street_file, held_later):
    token = view.token(session.result(street_file, SETTINGS))
    held_later()
    client = TestClient(view.routes())
    answers: list[dict] = []
    thread = threading.Thread(target=lambda: answers.append(client.get(f"/stage/words/{token}?text=car").json()))
    thread.start()
    thread.join(60)
    assert answers and set(answers[0]["vectors"]) == {"vlm", "fused"}


@pytest.mark.parametrize("query", [{"query": "car"}, {"query": "", "x": 0.2, "y": 0.3}])
def test_similarity_of_an_analysed_picture_waits_for_no_pass(session, street_file, held_later, query):
    session.result(street_file, SETTINGS)
    held_later()
    answers: list[tuple] = []
    ask = Endpoints(session).similarity
    thread = threading.Thread(target=lambda: answers.append(ask(street_file, preset="tiny", resolution=64, **query)))
    thread.start()
    thread.join(60)
    assert answers and "fused" in answers[0][0]["maps"]


@pytest.fixture
def held_later(request):
    """A function that holds the thread that computes, and the model's lock, until the test ends."""
    release = threading.Event()
    futures = []

    def hold() -> None:
        busy = threading.Event()

        def work() -> None:
            with compute.SEGMENTERS["tiny"]._lock:
                busy.set()
                release.wait(120)

        futures.append(compute._THREAD.submit(work))
        assert busy.wait(60)

    yield hold
    release.set()
    for future in futures:
        future.result()


def test_texts_compute_in_one_thread_and_leave_the_others_as_they_are():
    before = compute.alone(torch.get_num_threads)
    assert compute.texts(torch.get_num_threads) == 1
    assert compute.alone(torch.get_num_threads) == before == torch.get_num_threads()


def test_a_text_is_read_once_for_a_picture(view, session, street_file, monkeypatch):
    read, encode = [], Segmenter.encode_text
    monkeypatch.setattr(Segmenter, "encode_text", lambda self, t, s: read.append((*t, s)) or encode(self, t, s))
    token = view.token(session.result(street_file, SETTINGS))
    first, again = (view.look_for(token, "car, bus") for _ in range(2))
    assert first == again and read == [("car", "bus", "vlm"), ("car", "bus", "fused")]


def test_a_bundle_is_made_once(view, session, street_file, monkeypatch):
    made, inside, encode = [], threading.Event(), stage_view.encode

    def slow(*arguments):
        made.append(1)
        inside.wait(60)
        return encode(*arguments)

    monkeypatch.setattr(stage_view, "encode", slow)
    result = session.result(street_file, SETTINGS)
    threads = [threading.Thread(target=view.bundle, args=(result,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    inside.set()
    for thread in threads:
        thread.join()
    assert made == [1] and isinstance(result.bundle[1]["vlm"], np.ndarray)
