"""No request reads a file of the server: a real page on a free port, attacked over HTTP in every way in."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import statistics
from pathlib import Path

import numpy as np
import pytest

from mfuser import images
from mfuser.demo import uploads
from mfuser.demo.uploads import UPLOAD_FIRST, Uploads
from tests.demo.visitor import META, Visitor, message, sentence


def endpoints(visitor: Visitor, picture) -> dict[str, str]:
    """The answers of all four endpoints in every way in, and of the stage."""
    public = {
        "analyse": ["tiny", "single", 64, ""],
        "similarity": ["car", -1, -1, "tiny", "single", 64],
        "segment": ["tiny", "single", 64, ""],
        "weather": ["fog", 1, 0, "tiny", "single", 64, ""],
    }
    answers = {name: visitor.call(name, picture, *rest) for name, rest in public.items()}
    answers["named"] = visitor.call_named("weather", image=picture, severity=1, preset="tiny", resolution=64)
    data = picture["path"] if isinstance(picture, dict) and set(picture) == {"path"} else picture
    answers["stage"] = json.dumps({"error": message(visitor.stage({"request": "r", "path": data}))["error"]})
    return answers


def shapes(path: str) -> dict[str, object]:
    """Ways to write a file object that Gradio's own check lets pass, and ways that it does not."""
    return {
        "no meta": {"path": path},
        "empty meta": {"path": path, "meta": {}},
        "other meta": {"path": path, "meta": {"_type": "x"}},
        "forged meta": {"path": path, **META},
        "stream": {"path": path, "is_stream": True, **META},
        "text": path,
        "nested": {"path": path, "url": {"path": path, **META}},
    }


def test_no_way_in_reads_a_file_of_the_server(visitor, secret, served):
    served.passes.clear()
    for kind, picture in shapes(str(secret)).items():
        for name, answer in endpoints(visitor, picture).items():
            assert sentence(answer) == UPLOAD_FIRST, (kind, name, answer[:200])
    assert served.passes == []


def hostile(folder: Path, secret: Path) -> dict[str, str]:
    link, linked, inside = folder / "link.tif", folder / "linked", folder / "deep" / "inside.png"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    linked.unlink(missing_ok=True)
    linked.symlink_to(secret.parent)
    inside.mkdir(parents=True, exist_ok=True)
    return {
        "plain": str(secret),
        "dots": f"{folder}/{os.path.relpath(secret, folder)}",
        "more dots": f"{folder}/deep/../{os.path.relpath(secret, folder)}",
        "relative": os.path.relpath(secret),
        "link in the upload folder": str(link),
        "linked folder": str(linked / "secret.tif"),
        "file URL": f"file://{secret}",
        "loopback": "http://127.0.0.1:1/secret.png",
        "loopback by name": "http://localhost/secret.png",
        "IPv6 loopback": "http://[::1]/secret.png",
        "link-local": "http://169.254.169.254/latest/meta-data/",
        "ftp": "ftp://127.0.0.1/secret.png",
        "folder": str(secret.parent),
        "upload folder": str(folder),
        "folder inside": str(inside),
        "device": "/dev/zero",
        "process": "/proc/self/environ",
        "zero byte": f"{secret}\0.png",
        "long": "/" + "a" * 5000 + ".png",
        "surrogate": "/\ud800.png",
        "home": "~/secret.png",
        "Windows": "C:\\secret.png",
    }


def test_every_place_gives_one_and_the_same_answer(visitor, secret, served):
    for kind, path in hostile(served.folder.path, secret).items():
        for picture in ({"path": path}, {"path": path, **META}):
            answer = visitor.call("segment", picture, "tiny", "single", 64, "")
            assert sentence(answer) == UPLOAD_FIRST, (kind, answer[:300])


def test_a_file_object_where_text_belongs_fetches_and_reads_nothing(visitor, secret, street):
    path = visitor.upload(images.encode(street))
    for foreign in ({"path": str(secret), **META}, {"path": "http://127.0.0.1:1/x.png", **META}):
        for value in (foreign, [[foreign]], {"a": foreign}):
            answer = visitor.run(visitor.index("resolutions", 1), value)
            assert "where text or a number belongs" in sentence(answer)
        answer = visitor.call("analyse", {"path": path}, foreign)
        assert "where text or a number belongs" in sentence(answer)


def test_state_of_a_visitor_comes_from_the_server_alone(visitor, served, secret, street):
    """Which picture the drawers are about, whether one is open, the class list: what a client sends is not taken."""
    served.passes.clear()
    upload = visitor.upload(images.encode(street))
    for path in (upload, str(secret), {"path": str(secret), **META}, 7):
        data = [True, path, "tiny", "single", 64, "", ["fog"], 1, 0, "simulated"]
        for function in (f for f in visitor.functions if f["api_name"].startswith("show")):
            answer = visitor.run(function["id"], *data)
            assert visitor.last == 404, "a function of the queue is not called outside it"
            answer = visitor.join(function["id"], *data)
            assert "secret" not in answer and '"success":true' in answer and "Fog" not in answer
        answer = visitor.run(visitor.index("sources", 1), path)
        assert '"visible":false' in answer and "secret" not in answer
    assert served.passes == []


def test_functions_of_the_queue_run_in_the_queue_only(visitor, served, street):
    path = visitor.upload(images.encode(street))
    served.passes.clear()
    for function in served.page.fns.values():
        if function.queue:
            visitor.run(function._id, *[{"path": path, **META}] * len(function.inputs))
            assert visitor.last == 404, function.api_name
    for name in ("analyse", "segment", "weather"):
        visitor.post(f"/run/{name}", {"data": [{"path": path, **META}]})
        assert visitor.last == 404
    assert served.passes == []


def test_what_another_visitor_uploaded_cannot_be_found(served, street):
    """No name is listed, and one holds a hash of the content and of a secret of this installation. Whoever was given a
    path may use it, as the link to a shared document."""
    content = images.encode(street)
    first, second = Visitor(served.url), Visitor(served.url)
    path = Path(first.upload(content, "mine.png"))
    plain = hashlib.sha256(content).hexdigest()
    assert path.parent.name != plain
    for guess in (path.parent, path.parent.parent, path.parent / "*", path.with_name("other.png"), f"{plain}/mine.png"):
        guess = guess if isinstance(guess, Path) else served.folder.path / guess
        assert sentence(second.call("segment", {"path": str(guess)}, "tiny")) == UPLOAD_FIRST
        assert second.http.get(f"/gradio_api/file={guess}").status_code == 403
    assert oct(served.folder.path.stat().st_mode & 0o777) == "0o700"


def test_huge_and_empty_values_are_one_sentence(visitor, secret):
    picture = {"path": str(secret)}
    for value in ([], {}, [picture], [picture] * 20_000, {"path": []}, {"path": {"path": "x"}}, 7, True, [[[[]]]]):
        answer = visitor.call("segment", value, "tiny", "single", 64, "")
        assert 0 < len(sentence(answer)) < 300, value
    assert "8 values" in sentence(visitor.call("weather", *[picture] * 9))
    assert "values" in sentence(visitor.join(visitor.index("show", 10)))
    assert "values" in sentence(visitor.run(visitor.index("sources", 1)))
    visitor.post("/call/segment", {"data": ["x" * (uploads.MAX_BYTES * 3 // 2 + 1000)]})
    assert visitor.last == 413


def test_not_there_and_not_allowed_take_the_same_time(visitor, secret):
    """Medians of the same request for a file that exists, for one that does not, and of one that is deep in folders
    that do not exist. The rule looks at the text alone, which `test_the_disk_is_not_asked` shows exactly."""
    paths = [str(secret), str(secret) + ".none", "/no/such/folder/at/all/x.png", "/etc/shadow"]
    times: dict[str, list[float]] = {path: [] for path in paths}
    for _ in range(25):
        for path in paths:
            visitor.stage({"path": path})
            times[path].append(visitor.seconds)
    medians = {path: statistics.median(taken) for path, taken in times.items()}
    print({Path(p).name: f"{1000 * m:.2f} ms" for p, m in medians.items()})
    assert max(medians.values()) < 1.5 * min(medians.values()) + 0.002


def test_the_disk_is_not_asked_about_a_path_outside(tmp_path, secret, monkeypatch):
    rule = Uploads(tmp_path / "uploads")

    def asked(*_, **__):
        raise AssertionError("the disk was asked")

    for name in ("stat", "lstat", "open", "readlink", "access", "scandir"):
        monkeypatch.setattr(os, name, asked)
    try:
        for path in (str(secret), "/no/such/file.png", f"{tmp_path}/uploads/../private/secret.tif"):
            with pytest.raises(uploads.Refusal, match="upload it first"):
                rule.accept({"path": path})
            assert not rule.holds(path)
    finally:
        monkeypatch.undo()


def test_the_file_route_answers_alike_for_what_is_there_and_what_is_not(visitor, secret, street):
    answers = {visitor.file(p) for p in (secret, f"{secret}.none", "/etc/shadow", "http://127.0.0.1:1/a.png", "x.png")}
    assert len(answers) == 1
    path = visitor.upload(images.encode(street))
    assert len(visitor.http.get(f"/gradio_api/file={path}").content) == len(images.encode(street))


@pytest.mark.parametrize(
    "door",
    ["component_server", "process_recording", "vibe-edit", "vibe-code", "deep_link?session_hash=x",
     "proxy=http://127.0.0.1/", "stream/x", "run-history/connect", "mcp/sse", "mcp/messages/?session_id=1"],
)  # fmt: skip
def test_ways_that_the_page_does_not_need_are_closed(visitor, door):
    for ask in (visitor.http.get, visitor.http.post):
        answer = ask(f"/gradio_api/{door}")
        assert answer.status_code == 404 and "does not offer" in answer.text


def test_data_urls_and_base64_are_pictures(visitor, street):
    text = base64.b64encode(images.encode(street)).decode()
    url = f"data:image/png;base64,{text}"
    for picture in (url, text, {"url": url}, {"path": None, "url": url}, {"path": url, **META}):
        answer = visitor.call("analyse", picture, "tiny", "single", 64, "")
        assert '"size": [96, 128]' in answer, answer[:300]
    jpeg = base64.b64encode(images.encode(street, ".jpg")).decode()
    assert '"size": [96, 128]' in visitor.call("analyse", jpeg, "tiny", "single", 64, "")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("data:image/png;base64,", "empty"),
        ("data:image/png,%89PNG", "base64"),
        ("data:image/png;base64,@@@", "damaged"),
        ("data:image/png;base64,AAAA", "not an image"),
        ("data:text/html;base64,PGI+aGk8L2I+", "not an image"),
        ("data:", "base64"),
        ("A" * 200, "not an image"),
    ],
)
def test_damaged_data_are_one_sentence(visitor, text, word):
    said = sentence(visitor.call("segment", text, "tiny", "single", 64, ""))
    assert word in said and "/" not in said.replace("image/png", "")


def test_a_picture_alone_is_enough(visitor, street):
    path = visitor.upload(images.encode(street))
    for name in ("analyse", "similarity", "segment", "weather"):
        answer = visitor.call(name, {"path": path, **META})
        assert "event: complete" in answer, answer[:300]
        assert "event: complete" in visitor.call(name, {"path": path}, *[None] * 3)
    assert "event: complete" in visitor.call_named("weather", image={"path": path})


def test_a_plain_server_path_says_upload_it_first(visitor, secret):
    said = sentence(visitor.call("weather", str(secret), "fog", 1, 0, "tiny", "single", 64, ""))
    assert "upload it first" in said and "handle_file" in said and str(secret.parent) not in said


def test_examples_are_named_by_their_path_and_nothing_beside_them_is(visitor, served):
    example = served.session.examples[0].path
    answer = visitor.call("analyse", {"path": str(example)}, "tiny", "single", 64, "")
    assert '"size": [64, 96]' in answer
    beside = images.save(example.with_name("beside.png"), np.zeros((64, 96, 3), np.uint8))
    assert sentence(visitor.call("analyse", {"path": str(beside)}, "tiny", "single", 64, "")) == UPLOAD_FIRST


def test_a_deleted_upload_is_answered_from_its_result_while_that_is_kept(visitor, street, served):
    path = visitor.upload(images.encode(street))
    assert "event: complete" in visitor.call("segment", {"path": path}, "tiny", "single", 64, "")
    Path(path).unlink()
    served.passes.clear()
    assert "event: complete" in visitor.call("segment", {"path": path}, "tiny", "single", 64, "")
    assert served.passes == []


def test_no_sentence_names_a_folder_of_the_server(visitor, served):
    for content in (b"", b"no picture", b"\x89PNG\r\n\x1a\n broken", b"\xff\xd8\xff\xe0 broken"):
        said = sentence(visitor.call("segment", {"path": visitor.upload(content)}, "tiny", "single", 64, ""))
        assert str(served.folder.path) not in said and any(w in said for w in ("empty", "damaged", "not an image"))


def test_wrong_values_are_one_sentence_without_pythons_words(visitor, street, caplog):
    path = {"path": visitor.upload(images.encode(street))}
    for data in (["car", "left"], ["car", 0, "here"], ["car", float("nan"), 0]):
        said = sentence(visitor.call("similarity", path, *data, *[-1, "tiny", "single", 64][len(data) - 2 :]))
        assert not any(word in said for word in ("invalid literal", "float", "Error", "Something went wrong"))
