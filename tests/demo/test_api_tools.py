"""The endpoints as MCP tools, called with the MCP SDK on a real page; and attacked through it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mfuser import images
from mfuser.demo import tools
from mfuser.demo.api import OUTPUTS
from mfuser.demo.uploads import UPLOAD_FIRST
from tests.demo.test_uploads import hostile, shapes

pytest.importorskip("mcp", reason="needs the mcp package: pip install 'gradio[mcp]'")


def use(served, function):
    """The result of `function(session)`, a coroutine, with a session of the MCP SDK."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async def run():
        async with streamablehttp_client(f"{served.url.rstrip('/')}/gradio_api/mcp/") as (read, write, _):
            async with ClientSession(read, write) as session:
                await session.initialize()
                return await function(session)

    with ThreadPoolExecutor(1) as thread:  # the browser of other tests has a running loop in this one
        return thread.submit(asyncio.run, run()).result()


def call(served, name: str, **arguments: Any):
    return use(served, lambda session: session.call_tool(name, arguments))


def data_url(array: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(images.encode(array)).decode()}"


def said(answer) -> str:
    assert answer.isError, answer
    return answer.content[0].text


def test_the_endpoints_are_the_tools_and_describe_themselves(served):
    found = use(served, lambda session: session.list_tools()).tools
    assert {tool.name for tool in found} == set(OUTPUTS)
    for tool in found:
        assert "data URL" in tool.description and len(tool.description) > 200
        assert (
            "image" in tool.inputSchema["required"]
            and "data:image" in tool.inputSchema["properties"]["image"]["format"]
        )


def test_masks_and_scores_are_those_of_the_model(served, street):
    picture = data_url(street)
    vfm, vlm, fused, shares = call(served, "segment", image=picture, preset="tiny", resolution=64).content
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(fused.data))))
    settings = served.session.settings("tiny", "single", 64)
    path = served.folder.path / "same.png"
    expected = served.session.result(images.save(path, street), settings).analysis
    np.testing.assert_array_equal(mask, expected.masks["fused"])
    assert json.loads(shares.text)["fused"] == pytest.approx(expected.shares("fused"))
    label = data_url(expected.masks["fused"])
    (scores,) = call(served, "evaluate", image=picture, label=label, preset="tiny", resolution=64).content
    scores = json.loads(scores.text)
    assert scores["miou"]["fused"] == 1 and scores["accuracy"]["fused"] == 1 and scores["labels"] == "trainIds"
    assert scores["accuracy"]["vlm"] == pytest.approx((expected.masks["vlm"] == expected.masks["fused"]).mean())


def test_no_tool_reads_a_file_of_the_server(served, secret, street):
    served.passes.clear()

    async def attack(session):
        answers = {}
        for kind, path in hostile(served.folder.path, secret).items():
            if kind == "surrogate":  # the SDK cannot send it: see the next test
                continue
            answers[kind] = await session.call_tool("segment", {"image": path, "preset": "tiny"})
            answers[f"label {kind}"] = await session.call_tool(
                "evaluate", {"image": data_url(street), "label": path, "preset": "tiny", "resolution": 64}
            )
        return answers

    for kind, answer in use(served, attack).items():
        assert UPLOAD_FIRST in said(answer), (kind, answer)


def test_what_the_sdk_does_not_send_is_refused_too(visitor, secret):
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    for arguments in (
        {"image": "/\ud800.png"},
        {"image": {"path": str(secret), "meta": {"_type": "gradio.FileData"}}},
        [],
        7,
    ):
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "segment", "arguments": arguments},
        }
        answer = visitor.http.post("/gradio_api/mcp/", content=json.dumps(message), headers=headers)
        assert '"isError":true' in answer.text or '"error"' in answer.text, answer.text[:300]
        assert '"type":"image"' not in answer.text and "Traceback" not in answer.text


def test_file_objects_are_no_arguments(served, secret, street):
    async def attack(session):
        answers = []
        for shape in shapes(str(secret)).values():
            if isinstance(shape, str):
                continue
            answers.append(await session.call_tool("segment", {"image": shape, "preset": "tiny"}))
            for name in ("preset", "windows", "resolution", "classes", "no such argument"):
                answers.append(await session.call_tool("segment", {"image": data_url(street), name: shape}))
        return answers

    for answer in use(served, attack):
        assert str(secret.parent) not in said(answer).split("Failed validating")[0].replace(str(secret), "")


def test_file_objects_are_refused_without_the_schema_as_well(served, secret):
    """What the SDK's own validation refuses today is refused by ours, too."""
    server = served.page.mcp_server_obj
    for shape in shapes(str(secret)).values():
        with pytest.raises(ValueError, match="upload it first|A picture is text"):
            server.convert_strings_to_filedata({"image": shape}, [["image"]])
        if isinstance(shape, dict):
            with pytest.raises(ValueError, match="where text or a number belongs"):
                server.convert_strings_to_filedata({"classes": [shape]}, [["image"]])


def test_nothing_is_written_outside_the_upload_folder(served, street, monkeypatch):
    import gradio.mcp

    monkeypatch.setattr(
        gradio.mcp.processing_utils, "save_base64_to_cache", lambda *_: pytest.fail("written elsewhere")
    )
    before = {path for path in served.folder.path.rglob("*") if path.is_file()}
    assert not call(served, "segment", image=data_url(street), preset="tiny", resolution=64).isError
    assert {path for path in served.folder.path.rglob("*") if path.is_file()} > before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"image": "data:image/png;base64,AAAA"}, "not an image"), ({"image": "data:,x"}, "base64"), ({}, "image")],
)
def test_faults_are_one_sentence(served, arguments, word):
    text = said(call(served, "analyse", **arguments))
    assert word in text and "Traceback" not in text and len(text) < 400


def test_calls_beyond_the_limit_are_refused(served, street, monkeypatch):
    monkeypatch.setattr(tools, "WAITING", 0)
    assert tools.BUSY in said(call(served, "segment", image=data_url(street), preset="tiny", resolution=64))


def test_the_older_transport_is_closed(visitor):
    assert visitor.http.get("/gradio_api/mcp/sse").status_code == 404
