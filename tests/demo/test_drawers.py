"""What the drawers of the stage fetch from a real page."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mfuser import images
from mfuser.demo import drawers
from mfuser.demo.stage_view import StageView
from mfuser.demo.uploads import Uploads
from mfuser.stage import bundle


@pytest.fixture(scope="module")
def token(served) -> str:
    """Of the example, as its bundle's answer names it, once it is analysed."""
    import httpx

    served.session.result(served.session.examples[0].path, served.session.settings("tiny", "single", 0))

    return httpx.get(f"{served.url.rstrip('/')}/stage/example/0/bundle", timeout=60).headers["x-token"]


@pytest.fixture(scope="module")
def analysis(served):
    result = served.session.result(served.session.examples[0].path, served.session.settings("tiny", "single", 0))
    return served.session.with_layers(result)


def test_inside_is_that_of_the_analysis(visitor, served, token, analysis):
    served.passes.clear()
    header, parts = bundle.decode(visitor.http.get(f"/stage/inside/{token}").content)
    assert len(header["blocks"]) == len(analysis.layers) and len(served.passes) == 1, (
        "looking inside is one pass that keeps the blocks"
    )
    step = header["blocks"][0]["vfm"]["step"]
    assert np.abs(parts["offsets.0.vfm"] * step - analysis.offsets(0)["vfm"]).max() <= step / 2 + 1e-6


def test_truth_is_scored_and_not_kept(visitor, served, token, analysis):
    labels = analysis.masks["fused"]
    answer = visitor.http.post(f"/stage/truth/{token}", content=images.encode(labels))
    header, parts = bundle.decode(answer.content)
    assert {value for value in header["iou"]["fused"] if value is not None} == {1.0}
    np.testing.assert_array_equal(parts["truth"], labels)
    assert answer.headers["cache-control"] == "no-store"
    _, kept = bundle.decode(visitor.http.get(f"/stage/bundle/{token}").content)
    assert not np.array_equal(kept["truth"], labels), "the example's own truth stays"


@pytest.mark.parametrize(
    ("content", "query", "word"),
    [(b"", "", "PNG"), (b"\x89PNG\r\n\x1a\n" + b"0" * 50, "", "pixels"), (b"x", "?kind=<b>", "Unknown kind")],
)
def test_faults_are_sentences(visitor, token, content, query, word):
    answer = visitor.http.post(f"/stage/truth/{token}{query}", content=content)
    assert answer.status_code == 400 and word in answer.json()["error"]


def test_unknown_pictures_and_endless_bodies_are_refused(visitor, token, monkeypatch):
    assert drawers.GONE in visitor.http.get("/stage/inside/guessed").json()["error"]
    assert drawers.GONE in visitor.http.post("/stage/truth/guessed", content=b"x").json()["error"]
    monkeypatch.setattr(drawers, "LABEL_MEGABYTES", 0)
    assert "too large" in visitor.http.post(f"/stage/truth/{token}", content=(b"x" for _ in range(9))).json()["error"]
    assert visitor.http.get(f"/stage/truth/{token}").status_code in (404, 405)


def test_more_requests_than_places_are_refused_at_once(session, monkeypatch):
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    monkeypatch.setattr(drawers, "PLACES", 0)
    result = session.result(session.examples[0].path, session.settings("tiny", "single", 0))
    visit = TestClient(Starlette(routes=drawers.Drawers(session, {"known": result}.get).routes()))
    assert visit.get("/inside/known").json()["error"] == drawers.BUSY
    assert visit.post("/truth/known", content=b"x").json()["error"] == drawers.BUSY


def test_one_at_a_time(session, tmp_path, monkeypatch):
    view = StageView(session, Uploads(tmp_path))
    result = session.result(session.examples[0].path, session.settings("tiny", "single", 0))
    token = view.token(result)
    found = drawers.Drawers(session, {token: result}.get)
    monkeypatch.setattr(drawers, "WAIT", 0.05)
    begun, end = threading.Event(), threading.Event()
    monkeypatch.setattr(drawers.inside, "encode", lambda analysis: (begun.set(), end.wait(10), b"done")[-1])
    first: list[bytes] = []
    thread = threading.Thread(target=lambda: first.append(found.inside(token)))
    thread.start()
    assert begun.wait(10)
    with pytest.raises(drawers.Refusal, match="try again"):
        found.inside(token)
    end.set()
    thread.join()
    assert first == [b"done"] and found.inside(token) == b"done"
