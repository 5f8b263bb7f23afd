"""The endpoints that study a model, asked with the real gradio_client."""

from __future__ import annotations

import gradio_client
import numpy as np
import pytest
from PIL import Image

from mfuser import images, weather
from mfuser.demo.api import OUTPUTS
from mfuser.demo.uploads import UPLOAD_FIRST
from mfuser.pictures import visualize
from tests.demo.test_uploads import hostile, shapes
from tests.demo.visitor import sentence

TINY = {"preset": "tiny", "resolution": 64}


@pytest.fixture(scope="module")
def client(served) -> gradio_client.Client:
    return gradio_client.Client(served.url, verbose=False)


@pytest.fixture
def photo(street_file):
    return gradio_client.handle_file(street_file)


@pytest.fixture
def analysis(served, street_file):
    result = served.session.result(street_file, served.session.settings("tiny", "single", 64))
    return served.session.with_layers(result)


def test_endpoints_are_documented_and_need_pictures_alone(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {f"/{name}" for name in OUTPUTS}
    for name, endpoint in endpoints.items():
        assert len(endpoint["description"]) > 80, name
        needed = [p["parameter_name"] for p in endpoint["parameters"] if not p["parameter_has_default"]]
        assert needed == (["image", "label"] if name == "/evaluate" else ["image"])


def test_inside_tells_how_far_patches_are_moved(client, photo, analysis):
    answer, vfm, vlm = client.predict(photo, block=1, x=0.3, y=0.9, **TINY, api_name="/inside")
    assert len(answer["blocks"]) == len(analysis.layers) and answer["block"] == 1
    exact = analysis.offsets(0)["vlm"]
    np.testing.assert_allclose(answer["maps"]["vlm"], exact, atol=1e-4)
    row, column = int(0.9 * exact.shape[0]), int(0.3 * exact.shape[1])
    assert answer["blocks"][0]["vlm"]["patch"] == pytest.approx(float(exact[row, column]), rel=1e-5)
    assert answer["blocks"][0]["vlm"]["median"] == pytest.approx(float(np.median(exact)), rel=1e-5)
    texts = analysis.text() / np.linalg.norm(analysis.text(), axis=-1, keepdims=True)
    np.testing.assert_allclose(answer["class_cosines"]["after"], texts @ texts.T, atol=2e-4)
    assert Image.open(vfm).size == Image.open(vlm).size == (128, 96)
    last, *_ = client.predict(photo, **TINY, api_name="/inside")
    assert last["block"] == len(analysis.layers) and last["blocks"][0]["vfm"]["patch"] is None


@pytest.mark.parametrize(
    ("asked", "word"), [({"block": 99}, "There is no block 99"), ({"x": 3, "y": 0.5}, "outside the picture")]
)
def test_inside_refuses_what_is_not_there(client, photo, asked, word):
    with pytest.raises(Exception, match=word):
        client.predict(photo, **asked, **TINY, api_name="/inside")


def test_evaluate_scores_every_stream(client, photo, analysis, tmp_path):
    labels = analysis.masks["vlm"].copy()
    labels[:10] = 255
    label = gradio_client.handle_file(str(images.save(tmp_path / "label.png", labels)))
    answer = client.predict(photo, label, **TINY, api_name="/evaluate")
    assert answer["labels"] == "trainIds" and "trainIds" in answer["sentence"]
    assert answer["miou"]["vlm"] == 1 and set(answer["iou"]["vlm"].values()) == {1}
    for stream, mask in analysis.masks.items():
        assert answer["miou"][stream] == pytest.approx(visualize.agreement(mask, labels))
        assert answer["accuracy"][stream] == pytest.approx((mask == labels)[10:].mean())


def test_evaluate_says_what_is_wrong_with_labels(client, photo, street, tmp_path):
    small = gradio_client.handle_file(str(images.save(tmp_path / "small.png", street[:50, :, 0])))
    with pytest.raises(Exception, match="128 x 50 pixels, its picture 128 x 96"):
        client.predict(photo, small, **TINY, api_name="/evaluate")
    with pytest.raises(Exception, match="none of Cityscapes"):
        client.predict(photo, photo, **TINY, api_name="/evaluate")


def test_sweep_compares_with_the_models_own_clear_mask(client, photo, analysis, served):
    kept = len(served.session.cache)
    answer = client.predict(photo, "Fog, rain+night", "1,4", 3, **TINY, api_name="/sweep")
    assert answer["measure"] == "consistency" and answer["clear_miou"] is None
    assert {name: list(row) for name, row in answer["retention"].items()} == {
        "fog": ["1", "4"],
        "rain+night": ["1", "4"],
    }
    assert len(served.session.cache) == kept, "a sweep of one visitor drives out nobody's picture"
    foggy = weather.apply(analysis.image, "fog", severity=4, seed=3)
    seen = served.session.segmenter("tiny").analyse(foggy, resolution=64)
    for stream, mask in seen.masks.items():
        expected = visualize.agreement(mask, analysis.masks[stream])
        assert answer["retention"]["fog"]["4"][stream] == pytest.approx(expected)
    cells = [cell["fused"] for row in answer["retention"].values() for cell in row.values()]
    assert answer["mean"]["fused"] == pytest.approx(np.mean(cells))


def test_sweep_of_an_example_is_a_share_of_its_clear_miou(client, served):
    example = gradio_client.handle_file(str(served.session.examples[0].path))
    answer = client.predict(example, "snow", "2", **TINY, api_name="/sweep")
    result = served.session.result(served.session.examples[0].path, served.session.settings("tiny", "single", 64))
    clear = visualize.agreement(result.analysis.masks["fused"], result.labels)
    assert "mIoU" in answer["measure"] and answer["clear_miou"]["fused"] == pytest.approx(clear)
    snowy = weather.apply(result.analysis.image, "snow", severity=2, seed=0)
    mask = served.session.segmenter("tiny").analyse(snowy, resolution=64).masks["fused"]
    expected = visualize.agreement(mask, result.labels) / clear if clear else None
    assert answer["retention"]["snow"]["2"]["fused"] == (pytest.approx(expected) if clear else None)


@pytest.mark.parametrize(
    ("conditions", "severities", "word"),
    [
        ("hail", "1", "hail"),
        ("fog", "9", "9"),
        ("fog", "light", "not a whole number"),
        ("", "1", "empty"),
        ("fog,rain,snow,night,fog+night", "1,2,3,4,5", "20 are the most"),
    ],
)
def test_sweeps_that_cannot_be_are_refused_before_any_pass(client, photo, served, conditions, severities, word):
    served.passes.clear()
    with pytest.raises(Exception, match=word):
        client.predict(photo, conditions, severities, **TINY, api_name="/sweep")
    assert served.passes == []


def test_no_endpoint_reads_a_file_of_the_server(visitor, secret, served, street):
    served.passes.clear()
    mine = {"path": visitor.upload(images.encode(street))}
    places = [*shapes(str(secret)).values(), *({"path": path} for path in hostile(served.folder.path, secret).values())]
    for place in places:
        for name in ("inside", "sweep"):
            assert sentence(visitor.call(name, place)) == UPLOAD_FIRST, (name, place)
        assert sentence(visitor.call("evaluate", place, mine)) == UPLOAD_FIRST, place
        assert sentence(visitor.call("evaluate", mine, place)) == UPLOAD_FIRST, place
        assert sentence(visitor.call_named("evaluate", image=mine, label=place)) == UPLOAD_FIRST, place
    assert served.passes == []


def test_a_file_object_is_no_text(visitor, secret, street):
    mine = {"path": visitor.upload(images.encode(street))}
    for shape in shapes(str(secret)).values():
        if isinstance(shape, dict):
            assert "where text or a number belongs" in sentence(visitor.call("sweep", mine, shape))
            assert "where text or a number belongs" in sentence(visitor.call("evaluate", mine, mine, shape))
