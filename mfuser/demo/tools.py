"""The endpoints as MCP tools: Gradio's own server, with the page's rule for files and answers that programs can read.

Gradio's server writes a picture that comes as base64 into a folder of its own, of any size and for ever, and its client
would upload whatever file of this computer a file object names. Here every picture passes `Uploads.accept` first, as in
`guard.Page`, and goes on as a path without "meta", which the client leaves alone; `guard.Page` then checks it again.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
from pathlib import Path
from typing import Any

import gradio.mcp
from gradio_client import utils as client_utils

from mfuser.demo import wording
from mfuser.demo.refusals import Refusal
from mfuser.demo.uploads import refuse_files

AVAILABLE = importlib.util.find_spec("mcp") is not None  # comes with gradio[mcp]
WAITING = 8  # calls at a time; a loopback connection and a place in the queue each
BUSY = "Too many calls are waiting here: try again in a minute."
_FILE_FORMAT = "a data URL (data:image/png;base64,...), or the path that POST /gradio_api/upload answered"


class Tools(gradio.mcp.GradioMCPServer):
    """`GradioMCPServer` for a `guard.Page`."""

    _now = 0

    def create_mcp_server(self) -> Any:
        """As Gradio's, for `WAITING` calls at a time."""
        server = super().create_mcp_server()
        kind = self.types.CallToolRequest
        answer = server.request_handlers[kind]

        async def bounded(request: Any) -> Any:
            if self._now >= WAITING:
                text = self.types.TextContent(type="text", text=BUSY)
                return self.types.ServerResult(self.types.CallToolResult(content=[text], isError=True))
            self._now += 1
            try:
                return await answer(request)
            finally:
                self._now -= 1

        server.request_handlers[kind] = bounded
        return server

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list[list[str | int]]) -> Any:
        """The arguments of a call as the page may have them. Raises ValueError with a sentence."""
        try:
            return {name: self._checked(item, [name] in filedata_positions) for name, item in value.items()}
        except Exception as error:
            raise ValueError(wording.sentence(error)) from None

    def _checked(self, value: Any, picture: bool) -> Any:
        if not picture:
            refuse_files(value)
            return value
        if value is not None and not isinstance(value, str):
            raise Refusal(f"A picture is text here: {_FILE_FORMAT}.")
        path = self.blocks.uploads.accept(value)
        return None if path is None else {"path": path}

    def simplify_filedata_schema(self, schema: dict[str, Any]) -> tuple[dict[str, Any], list[list[str | int]]]:
        """As Gradio's, with what a picture really can be."""
        simple, positions = super().simplify_filedata_schema(schema)
        for (name,) in positions:
            simple["properties"][name]["format"] = _FILE_FORMAT
        return simple, positions

    @property
    def _file_data_tool_description(self) -> str:
        return f" A picture is {_FILE_FORMAT}."

    async def _execute_tool_without_progress(self, job: Any) -> list[Any]:
        """Wait without a thread: waiting ones would take those that the answers need."""
        result = await asyncio.wrap_future(job.future)
        return list(result) if isinstance(result, (list, tuple)) else [result]

    async def _execute_tool_with_progress(self, job: Any, progress_token: str | int) -> list[Any]:
        """As without: the endpoints report no progress."""
        return await self._execute_tool_without_progress(job)

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        """Pictures as PNG, everything else as JSON."""
        return [self._content(item) for item in data]

    def _content(self, item: Any) -> Any:
        if not client_utils.is_file_obj_with_meta(item):
            return self.types.TextContent(type="text", text=json.dumps(item))
        if not self.blocks.uploads.holds(item["path"]):
            raise ValueError("An answer names a file that is not one of the page's.")
        data = base64.b64encode(Path(item["path"]).read_bytes()).decode()
        return self.types.ImageContent(type="image", data=data, mimeType="image/png")


gradio.mcp.GradioMCPServer = Tools
