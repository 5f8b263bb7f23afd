"""The stage without a server: what an analysis says and holds, what it never computes again, how words are answered."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from mfuser import images
from mfuser.stage.takeaway import README


def photo_of(parts) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(parts["photo"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


# -- analyse ----------------------------------------------------------------------------------------------------------


def test_messages_say_what_runs_and_end_with_a_token(stage, street_file):
    first, *_, (last, path, ran) = stage.messages(street_file)
    assert "models" in first[0]["status"] and first[0]["request"] == last["request"] == "r"
    assert first[0]["at"] != last["at"], "two equal messages would be one change for the page"
    assert path == street_file and len(last["token"]) >= 20
    assert "128 × 96" in ran and "float32" in ran and "random" in ran
    header, parts = stage.bundle(street_file)
    result = stage.view._results[header["token"]]
    assert header["token"] == last["token"] and header["streams"] == ["vfm", "vlm", "fused"] and "truth" not in parts
    for stream, mask in result.analysis.masks.items():
        assert np.array_equal(parts[f"mask.{stream}"], mask)


def test_an_example_comes_with_its_truth_and_scores(stage, session):
    header, parts = stage.bundle(example=0)
    assert np.array_equal(parts["truth"], session.examples[0].labels) and header["iou"].keys() == {
        "vfm",
        "vlm",
        "fused",
    }


def test_one_pass_for_a_picture_and_its_settings(stage, passes, street_file, tmp_path):
    token = stage.bundle(street_file)[0]["token"]
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(street_file).read_bytes())
    assert stage.bundle(str(copy))[0]["token"] == token, "the same pixels under another name"
    assert stage.bundle(street_file, resolution=0)[0]["token"] == token, "the model's own resolution"
    stage.view.look_for(token, "car")
    stage.view.look_for(token, "sky, road")
    assert passes == [("single", None)]
    stage.bundle(street_file, windows="sliding")
    stage.bundle(street_file, resolution=96)
    assert passes == [("single", None), ("sliding", None), ("single", 96)]


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken", b"\xff\xd8\xff\xe0 broken"])
def test_a_broken_file_is_one_sentence_and_runs_nothing(stage, passes, tmp_path, content):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    said = stage.error(str(path))
    assert passes == [] and any(word in said for word in ("empty", "damaged", "not an image"))
    assert str(tmp_path) not in said and "Something went wrong" not in said


def test_no_picture_and_unknown_settings_are_one_sentence(stage, passes, street_file):
    assert "Choose a photograph" in stage.error()
    assert "mega" in stage.error(street_file, preset="mega")
    assert "double" in stage.error(street_file, windows="double")
    assert "9999" in stage.error(street_file, resolution=9999)
    assert "two names" in stage.error(street_file, classes="car")
    assert "example" in stage.error(example=1) and passes == []


def test_an_unforeseen_error_is_logged_and_the_visitor_sees_no_traceback(stage, street_file, monkeypatch, caplog):
    def explode(*_, **__):
        raise RuntimeError("CUDA error: device-side assert")

    monkeypatch.setattr("mfuser.inference.segmenter.Segmenter._run", explode)
    said = stage.error(street_file)
    assert "CUDA" not in said and "Something went wrong" in said
    assert "device-side assert" in caplog.text and "Traceback" in caplog.text


def test_a_rotated_photograph_is_upright(stage, tmp_path):
    """EXIF says "turn by 90 degrees": the visitor sees it upright, and so counts her clicks."""
    upright = np.full((96, 64, 3), 30, np.uint8)
    upright[64:, :32] = 240  # bright at the lower left of the picture as seen
    exif = Image.Exif()
    exif[274] = 6  # turn clockwise to view
    path = tmp_path / "rotated.png"
    Image.fromarray(np.rot90(upright)).save(path, exif=exif)
    header, parts = stage.bundle(str(path))
    assert header["size"] == [96, 64] and np.abs(photo_of(parts) - upright).mean() < 4
    rows, columns = header["grid"]
    scale = parts["tokens.vlm.scale"]
    tokens = (parts["tokens.vlm"].astype(np.float32) * scale[:, None]).T.reshape(rows, columns, -1)
    similar = tokens @ tokens[int(80.5 / 96 * rows), int(16.5 / 64 * columns)]
    row, column = np.unravel_index(similar.argmax(), similar.shape)
    assert row >= rows * 64 // 96 - 1 and column <= columns // 2, "the patches most like the bright corner lie in it"


def test_a_huge_photograph_is_reduced_and_the_stage_says_so(stage, tmp_path):
    path = tmp_path / "wide.png"
    Image.new("L", (3200, 64), 90).save(path)
    header, _ = stage.bundle(str(path))
    assert header["size"] == [32, 1600] and "3200 × 64" in header["note"] and "1600 × 32" in header["note"]
    assert "3200 × 64" in header["ran_line"]


def test_a_photograph_that_was_not_reduced_has_no_note(stage, street_file):
    assert stage.bundle(street_file)[0]["note"] == ""


def _deep(path: Path) -> np.ndarray:
    values = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    cv2.imwrite(str(path), values)
    return np.repeat(values[..., None] >> 8, 3, -1)


def _saved(mode: str, colour, seen) -> object:
    def make(path: Path) -> np.ndarray:
        Image.new(mode, (64, 64), colour).save(path)
        return np.full((64, 64, 3), seen)

    return make


@pytest.mark.parametrize(
    ("name", "make"),
    [("deep.png", _deep), ("scan.tif", _saved("RGB", (10, 200, 90), (10, 200, 90))),
     ("grey.tif", _saved("L", 77, 77)), ("print.jpg", _saved("CMYK", (0, 200, 200, 0), (255, 55, 55))),
     ("glass.png", _saved("RGBA", (255, 0, 0, 255), (255, 0, 0)))],
)  # fmt: skip
def test_pictures_that_no_browser_shows_are_readable_in_the_bundle(stage, tmp_path, name, make):
    seen = make(tmp_path / name)
    header, parts = stage.bundle(str(tmp_path / name))
    assert header["size"] == [64, 64] and np.abs(photo_of(parts) - seen).mean() < 6
    assert parts["photo"][:3] == b"\xff\xd8\xff", "a JPEG"


# -- words ------------------------------------------------------------------------------------------------------------


def test_words_are_vectors_that_give_the_cosines(stage, street_file):
    header, parts = stage.bundle(street_file)
    found = stage.view.look_for(header["token"], " sky , road,,sky")
    assert found["text"] == "sky, road" and found["note"] == "" and found["vectors"].keys() == {"vlm", "fused"}
    analysis = stage.view._results[header["token"]].analysis
    for stream, vectors in found["vectors"].items():
        scale = parts[f"dense.{stream}.scale"]
        cosines = np.array(vectors) @ (parts[f"dense.{stream}"].astype(np.float32) * scale[:, None])
        texts = analysis.encode_text(["sky", "road"], stream)
        exact = texts @ analysis.dense[stream].reshape(-1, texts.shape[1]).astype(np.float32).T
        assert cosines.shape == exact.shape and np.abs(cosines - exact).mean() <= 0.02


@pytest.mark.parametrize(
    ("text", "texts", "word"),
    [
        ("bus " * 750, 1, "400"),
        (",".join(f"thing {i}" for i in range(12)), 8, "12 texts"),
        ("a b c d e f g h i j k l m n o p q r s", 1, "its end is ignored"),
    ],
)
def test_words_of_no_end_are_cut_and_it_is_said(stage, street_file, text, texts, word):
    found = stage.view.look_for(stage.bundle(street_file)[0]["token"], text)
    assert word in found["note"] and len(found["vectors"]["fused"]) == texts and len(found["text"]) <= 400


def test_words_that_cannot_be_looked_for_are_one_sentence(stage, street_file, monkeypatch, caplog):
    token = stage.bundle(street_file)[0]["token"]
    for empty in ("", "  , ", None):
        assert "empty" in stage.view.look_for(token, empty)["error"]
    assert "choose it again" in stage.view.look_for("gone", "car")["error"]
    monkeypatch.setattr(stage.view._results[token].analysis, "encode_text", lambda *_: 1 / 0)
    assert "Something went wrong" in stage.view.look_for(token, "a lorry")["error"] and "ZeroDivision" in caplog.text


def test_markup_in_words_stays_text(stage, street_file):
    text = "<img src=x onerror=alert(1)> ${1+1}"
    found = stage.view.look_for(stage.bundle(street_file)[0]["token"], text)
    assert found["text"] == text, "the page sets it as text, never as HTML"


def test_a_token_goes_with_its_result(stage, session, street_file):
    token = stage.bundle(street_file)[0]["token"]
    session.cache._kept.clear()
    assert "choose it again" in stage.view.look_for(token, "car")["error"]


# -- what the browser fetches -----------------------------------------------------------------------------------------


@pytest.fixture
def browser(stage) -> TestClient:
    return TestClient(Starlette(routes=[stage.view.routes()]), base_url="http://127.0.0.1")


def test_about_lists_the_examples_without_their_folders(browser, tmp_path):
    answer = browser.get("/stage/about.json")
    (example,) = answer.json()["examples"]
    assert example == {"id": "example", "title": "An example", "alt": "Noise.", "badge": "rendered"}
    assert len(answer.json()["heat"]) == 256 * 6 and str(tmp_path) not in answer.text
    assert "temporary folder" in answer.json()["privacy"]


def test_scripts_of_the_stage_are_served_and_all_they_import(browser):
    waiting, seen = {"app.js"}, set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        answer = browser.get(f"/stage/{name}")
        assert answer.status_code == 200 and "javascript" in answer.headers["content-type"], name
        waiting |= set(re.findall(r'from "\./([\w.]+)"', answer.text)) - seen
    assert "main.js" in seen


def test_an_example_is_fetched_once_it_is_analysed(browser, stage, session, passes):
    assert browser.get("/stage/example/0/bundle").status_code == 404
    stage.view.prepare(0)
    answer = browser.get("/stage/example/0/bundle")
    assert answer.status_code == 200 and answer.content[:4] == b"MFB1" and len(passes) == 1
    assert browser.get(f"/stage/bundle/{answer.headers['x-token']}").content == answer.content
    assert browser.get("/stage/example/0/picture").content == Path(session.examples[0].path).read_bytes()
    thumbnail = browser.get("/stage/example/0/thumbnail").content
    assert cv2.imdecode(np.frombuffer(thumbnail, np.uint8), 1).shape[1] == 208
    assert len(passes) == 1


@pytest.mark.parametrize("name", ["bundle/x", "zip/x", "example/1/picture", "example/7/bundle", "example/0/x", "no.js"])
def test_what_is_not_there_is_404(browser, name):
    assert browser.get(f"/stage/{name}").status_code == 404


@pytest.mark.parametrize("classes", ["", "road, lorry, tree"])
def test_the_zip_holds_what_its_readme_says(browser, stage, classes):
    token = stage.bundle(example=0, classes=classes)[0]["token"]
    answer = browser.get(f"/stage/zip/{token}")
    assert 'filename="mfuser.zip"' in answer.headers["content-disposition"]
    archive, result = zipfile.ZipFile(io.BytesIO(answer.content)), stage.view._results[token]
    analysis = result.analysis
    promised = re.findall(r"^(\S+\.\w+) ", README, re.M)
    expected = {name.replace("STREAM", s) for name in promised for s in analysis.streams} | {"README.txt"}
    assert set(archive.namelist()) == expected
    for stream in analysis.streams:
        mask = cv2.imdecode(np.frombuffer(archive.read(f"mask-{stream}.png"), np.uint8), cv2.IMREAD_UNCHANGED)
        colours = cv2.imdecode(np.frombuffer(archive.read(f"colour-{stream}.png"), np.uint8), 1)[..., ::-1]
        assert np.array_equal(mask, analysis.masks[stream]) and np.array_equal(colours, analysis.palette[mask])
        features = np.load(io.BytesIO(archive.read(f"features-{stream}.npy")))
        assert np.array_equal(features, analysis.tokens[stream])
    rows = list(csv.DictReader(io.StringIO(archive.read("numbers.csv").decode())))
    for stream in analysis.streams:
        shares = {row["class"]: float(row["share"]) for row in rows if row["stream"] == stream and float(row["share"])}
        assert shares == pytest.approx(analysis.shares(stream), abs=1e-6)
    assert any(row["iou"] for row in rows) == (not classes), "the truth is in the trained classes"
    assert json.loads(archive.read("analysis.json"))["ran"]["preset"] == "tiny"
    readme = archive.read("README.txt").decode()
    assert ("'lorry'" in readme) == bool(classes) and ("trainIds" in readme) == (not classes)
    for name in archive.namelist():
        assert str(images.__file__).rsplit("/", 2)[0].encode() not in archive.read(name)
