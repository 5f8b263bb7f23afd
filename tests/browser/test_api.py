"""The page's documented endpoints, asked as a program asks them; they want no browser."""

from __future__ import annotations

import base64
from pathlib import Path

import gradio_client
import httpx
import numpy as np
import pytest
from PIL import Image

from mfuser.demo.api import OUTPUTS


def test_documented_endpoints_answer(url, china):
    api = gradio_client.Client(url, verbose=False)
    endpoints = api.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {f"/{name}" for name in OUTPUTS}
    assert all(len(endpoint["description"]) > 80 for endpoint in endpoints.values())
    photo = gradio_client.handle_file(china)
    summary, *features = api.predict(photo, api_name="/analyse")
    assert summary["size"] == [427, 640] and set(summary["shares"]) == {"vfm", "vlm", "fused"}
    assert [Image.open(path).size for path in features] == [(640, 427)] * 3
    answer, nothing, *heat = api.predict(photo, "car", api_name="/similarity")
    grid = np.array(answer["maps"]["fused"])
    assert nothing is None and len(heat) == 2 and np.abs(grid).max() <= 1
    *_, scores = api.predict(photo, "rain+night", 2, 1, api_name="/weather")
    assert 0 <= scores["consistency"]["fused"] <= 1 and scores["miou"] is None and "rain" in scores["parameters"]
    with pytest.raises(Exception, match="Unknown weather 'hail'"):
        api.predict(photo, "hail", api_name="/weather")


def test_a_picture_without_an_upload_answers_over_plain_http(url, china):
    """A data URL works; a path of this computer, which is also the server, does not."""
    data = f"data:image/png;base64,{base64.b64encode(china.read_bytes()).decode()}"
    assert "event: complete" in ask(url, data)
    for path in (str(china), str(Path(__file__).parents[2] / "assets" / "screenshots" / "compare.png")):
        for picture in (path, {"path": path}):
            answer = ask(url, picture)
            assert "event: error" in answer and "upload it first" in answer


def ask(url: str, picture: object) -> str:
    """What /segment answers to a picture alone."""
    place = f"{url}/gradio_api/call/segment"
    event = httpx.post(place, json={"data": [picture]}, timeout=60).json()["event_id"]
    return httpx.get(f"{place}/{event}", timeout=60).text
