"""The stage's own ways in, attacked over HTTP: data of the event "analyse", and everything below /stage/."""

from __future__ import annotations

import base64
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mfuser import images
from mfuser.demo import doors
from mfuser.demo.stage_view import StageView
from mfuser.demo.uploads import UPLOAD_FIRST
from tests.demo.visitor import META, Visitor, message


@pytest.fixture
def quiet(caplog):
    """Nothing that a visitor sends is an unforeseen error."""
    yield
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


@pytest.fixture
def token(served, visitor, street) -> str:
    return message(visitor.stage({"request": "r", "path": visitor.upload(images.encode(street))}))["token"]


# -- the event --------------------------------------------------------------------------------------------------------


def test_an_upload_and_an_example_are_analysed_and_no_answer_names_a_folder(visitor, served, street, quiet):
    example = served.session.examples[0].path
    path = visitor.upload(images.encode(street))
    for event, size in (({"request": "7", "path": path}, [96, 128]), ({"request": "7", "example": 0}, [64, 96])):
        answer = visitor.stage(event)
        found = message(answer)
        assert found["request"] == "7" and '\\"status\\"' in answer
        assert str(served.folder.path) not in answer and str(example.parent) not in answer
        bundle = visitor.http.get(f"/stage/bundle/{found['token']}")
        assert f'"size":{size}'.replace(" ", "").encode() in bundle.content
        assert str(served.folder.path).encode() not in bundle.content
        assert bundle.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("shape", [lambda p: p, lambda p: {"path": p}, lambda p: {"path": p, **META}])
def test_every_place_that_a_request_may_not_name_gives_the_same_answer(visitor, served, tmp_path, shape, quiet):
    secret = images.save(tmp_path / "secret.png", np.full((64, 96, 3), 137, np.uint8))
    link, loop, folder = (served.folder.path / name for name in ("stage-link.png", "stage-loop.png", "stage-folder"))
    for path, target in ((link, secret), (loop, loop)):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    folder.mkdir(exist_ok=True)
    served.passes.clear()
    places = [
        str(secret), f"{secret}.none", "/etc/shadow", str(link), str(loop), str(folder), str(served.folder.path),
        f"{served.folder.path}/../../{secret.name}", f"{served.folder.path}/no/such.png", "secret.png", "~/x.png",
        f"file://{secret}", "http://127.0.0.1:1/x.png", "http://localhost/x.png", "http://[::1]/x.png",
        "http://169.254.169.254/latest/meta-data/", f"{secret}\0.png", "/" + "a" * 5000 + ".png", "/\ud800.png",
        "/dev/zero",
    ]  # fmt: skip
    for place in places:
        assert message(visitor.stage({"request": "r", "path": shape(place)}))["error"] == UPLOAD_FIRST, place
    assert served.passes == []


def test_what_another_visitor_uploaded_cannot_be_guessed(visitor, served, street, token):
    path = Visitor(served.url).upload(images.encode(street), "mine.png")
    guesses = [path.replace("mine", "other"), path.rsplit("/", 1)[0], f"{served.folder.path}/*/mine.png"]
    for guess in guesses:
        assert message(visitor.stage({"path": guess}))["error"] == UPLOAD_FIRST
    for guess in (token[:-1], token.swapcase(), token + "A", "*", ""):
        for way in ("bundle", "zip"):
            assert visitor.raw("GET", f"/stage/{way}/{guess}")[0] in (307, 404)
    assert len(token) >= 20


@pytest.mark.parametrize(
    "event",
    [
        *({"example": value} for value in (True, False, -1, 1, 10**9, "0", 0.0, float("nan"), [0], {"a": 0}, "")),
        *({"path": value} for value in ([], ["x"], 7, True, 1.5, [[[]]], {"path": []}, {"path": {"path": "x"}}, {})),
        *(None, [], [1], "text", 7, True, {}, {"request": {"path": "/etc/passwd", **META}}, {"path": "/x", **META}),
        {"request": "x" * 1_000_000},
        {"request": ["x" * 1000] * 1000, "path": None},
        {str(number): number for number in range(10_000)},
    ],
    ids=lambda event: str(event)[:40],
)
def test_odd_values_are_one_short_sentence(visitor, event, quiet):
    found = message(visitor.stage(event))
    assert 20 < len(found["error"]) < 250 and "Something went wrong" not in found["error"] and "token" not in found
    assert len(found["request"]) <= 64


def test_data_urls_are_pictures_here_too(visitor, street, quiet):
    url = "data:image/png;base64," + base64.b64encode(images.encode(street)).decode()
    assert "token" in message(visitor.stage({"path": url}))
    for damaged, word in (("data:image/png;base64,AAAA", "not an image"), ("data:image/png;base64,", "empty")):
        assert word in message(visitor.stage({"path": damaged}))["error"]


def test_a_request_of_no_end_is_refused_and_the_next_one_is_served(visitor, token):
    body = {"fn_index": visitor.index("analyse_1", 4), "session_hash": "x", "data": ["tiny", "single", 64, ""]}
    visitor.post("/queue/join", {**body, "event_data": {"path": "x" * (doors.MAX_BODY + 1)}})
    assert visitor.last == 413
    nested = '{"data":[],"fn_index":4,"session_hash":"x","event_data":' + "[" * 100_000 + "]" * 100_000 + "}"
    answer = visitor.http.post("/gradio_api/queue/join", content=nested, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert "error" in message(visitor.stage({}))


def test_the_class_list_comes_from_the_server_alone(visitor, street):
    event = {"path": visitor.upload(images.encode(street))}
    for sent in ("road, zebra", {"path": "/etc/passwd", **META}, ["x"], 7):
        token = message(visitor.stage(event, "tiny", "single", 64, sent))["token"]
        assert b'"sidewalk"' in visitor.http.get(f"/stage/bundle/{token}").content


@pytest.mark.parametrize(
    "settings", [("mega", "single", 64, ""), ("tiny", "double", 64, ""), ("tiny", "single", 1e9, ""),
                 ("tiny", "single", "64", ""), ("tiny", "single", [64], ""), (None, None, None, None),
                 ({"path": "/etc/passwd"}, "single", 64, ""), ("x" * 1_000_000, "single", 64, "")],
    ids=lambda settings: str(settings)[:40],
)  # fmt: skip
def test_odd_settings_are_one_short_sentence(visitor, street, settings, quiet):
    answer = visitor.stage({"path": visitor.upload(images.encode(street))}, *settings)
    assert '"process_completed"' in answer and "error" in answer and "Something went wrong" not in answer
    assert len(answer) < 3000 and "Traceback" not in answer


# -- the routes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["/stage/../config", "/stage/%2e%2e/config", "/stage/%2e%2e%2fconfig", "/stage/..%2f..%2fetc%2fpasswd",
     "/stage//etc/passwd", "/stage/%2fetc%2fpasswd", "/stage/package.json", "/stage/stage.html", "/stage/no.js",
     "/stage/%ff", "/stage/%00", "/stage/app.js%00", "/stage/bundle/x", "/stage/bundle/..", "/stage/bundle/%ff%fe",
     "/stage/zip/x", "/stage/zip/%00", "/stage/example/1/picture", "/stage/example/-1/picture",
     "/stage/example/0.0/picture", "/stage/example/%30%2f%2e%2e/picture", "/stage/example/0/etc",
     "/stage/example/99999999999999999999/bundle", "/stage/example/x/thumbnail"],
)  # fmt: skip
def test_what_is_not_there_is_404(visitor, target, quiet):
    status, body = visitor.raw("GET", target)
    assert status == 404 and body in (b"", b'{"detail":"Not Found"}', b"Not Found")


def test_endless_addresses_are_refused(visitor, token, quiet):
    for target in (
        f"/stage/example/{'9' * 5000}/picture",
        f"/stage/bundle/{'x' * 5000}",
        f"/stage/words/{token}?text={'x' * 40_000}",
    ):
        assert visitor.raw("GET", target)[0] == 414
    status, body = visitor.raw("GET", f"/stage/words/{token}?text={'a' * 1_000_000}")
    assert 400 <= status < 500 and len(body) < 300


@pytest.mark.parametrize("query", ["", "text=", "txet=car", "text=,,", "text=%20"])
def test_words_without_a_text_say_so(visitor, token, query, quiet):
    assert "empty" in visitor.http.get(f"/stage/words/{token}?{query}").json()["error"]


@pytest.mark.parametrize(
    "text", ["%ff%fe%80", "%ed%a0%80", "%00", "%F0%9F%98%80", "%3Cimg%20src=x%20onerror=alert(1)%3E"]
)
def test_words_of_odd_bytes_are_texts(visitor, token, text, quiet):
    answer = visitor.http.get(f"/stage/words/{token}?text={text}")
    said = answer.json()
    assert answer.status_code == 200 and "error" not in said
    if said["vectors"]:
        assert np.isfinite(np.array(said["vectors"]["fused"])).all()
    else:
        assert "unknown" in said["note"].lower() or "no word" in said["note"].lower(), said["note"]
    assert answer.headers["content-type"] == "application/json", "no browser takes it for a page"


def test_words_of_a_picture_that_is_not_kept_say_so(visitor):
    assert "choose it again" in visitor.http.get("/stage/words/nothing?text=car").json()["error"]


@pytest.mark.parametrize(
    "way", ["about.json", "app.js", "bundle/{}", "words/{}?text=car", "zip/{}", "example/0/picture"]
)
def test_only_get_and_head_are_answered(visitor, token, way):
    target = "/stage/" + way.format(token)
    assert visitor.http.head(target).status_code == 200 and visitor.http.head(target).content == b""
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert visitor.http.request(method, target, content=b"x").status_code == 405


def test_more_words_than_are_computed_at_a_time_are_sent_away_and_the_page_goes_on(visitor, served, token, monkeypatch):
    release, entered = threading.Event(), []
    monkeypatch.setattr(StageView, "look_for", lambda *_: entered.append(1) or release.wait(20) and {"vectors": {}})

    def ask(_):
        return Visitor(served.url).http.get(f"/stage/words/{token}?text=car")

    with ThreadPoolExecutor(doors.MOST_BESIDE) as pool:
        waiting = [pool.submit(ask, i) for i in range(doors.MOST_BESIDE)]
        deadline = time.monotonic() + 20
        while len(entered) < doors.MOST_BESIDE and time.monotonic() < deadline:
            time.sleep(0.02)
        refused = ask(0)
        assert refused.status_code == 503 and refused.json()["error"] == doors.BUSY
        assert visitor.http.get("/stage/about.json").status_code == 200
        assert visitor.http.get(f"/stage/bundle/{token}").status_code == 200
        release.set()
        assert [w.result().status_code for w in waiting] == [200] * doors.MOST_BESIDE
    assert ask(0).status_code == 200 and len(entered) == doors.MOST_BESIDE + 1
