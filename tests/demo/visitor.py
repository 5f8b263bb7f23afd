"""A visitor of a running page who speaks HTTP, and sends what no browser would."""

from __future__ import annotations

import json
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

API = "/gradio_api"
META = {"meta": {"_type": "gradio.FileData"}}


class Visitor:
    """Every method returns the whole answer as text, whatever its status; `last` is the last answer's status and
    `seconds` how long it took."""

    def __init__(self, url: str):
        assert url.startswith(("http://127.0.0.1:", "http://[::1]:")), "attacks stay on this machine"
        self.http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self.session = secrets.token_hex(8)
        self.last, self.seconds = 0, 0.0
        self.functions = self.http.get("/config").json()["dependencies"]

    def index(self, name: str, inputs: int | None = None) -> int:
        """Function index of an endpoint or a private handler, by its API name."""
        return next(f["id"] for f in self.functions if f["api_name"] == name and inputs in (None, len(f["inputs"])))

    def upload(self, content: bytes, name: str = "picture.png") -> str:
        """The path that the server gives an upload."""
        return self.http.post(f"{API}/upload", files={"files": (name, content)}).json()[0]

    def post(self, path: str, body: Any) -> str:
        begin = time.perf_counter()
        answer = self.http.post(API + path, content=json.dumps(body), headers={"content-type": "application/json"})
        self.last, self.seconds = answer.status_code, time.perf_counter() - begin
        return answer.text

    def call(self, name: str, *data: Any) -> str:
        """The REST call of an endpoint, and its event stream to the end."""
        text = self.post(f"/call/{name}", {"data": list(data)})
        return self._stream(f"/call/{name}/{json.loads(text)['event_id']}") if self.last == 200 else text

    def call_named(self, name: str, **data: Any) -> str:
        text = self.post(f"/call/v2/{name}", data)
        return self._stream(f"/call/v2/{name}/{json.loads(text)['event_id']}") if self.last == 200 else text

    def run(self, index: int, *data: Any, **more: Any) -> str:
        """The direct call of a function index, outside the queue."""
        return self.post("/run/predict", {"data": list(data), "fn_index": index, "session_hash": self.session, **more})

    def join(self, index: int, *data: Any, **more: Any) -> str:
        """The queue, by function index, as the page asks."""
        session = secrets.token_hex(8)
        text = self.post("/queue/join", {"data": list(data), "fn_index": index, "session_hash": session, **more})
        return self._stream(f"/queue/data?session_hash={session}") if self.last == 200 else text

    def stage(self, event: Any, *settings: Any) -> str:
        """The queue's event "analyse" of the stage, with the data of the event; settings of the tiny model else."""
        data = settings or ("tiny", "single", 64, "")
        return self.join(self.index("analyse_1", 4), *data, event_data=event)

    def raw(self, method: str, target: str, headers: str = "") -> tuple[int, bytes]:
        """Status and body of a request whose address goes out as it stands."""
        host, port = str(self.http.base_url).removeprefix("http://").strip("/").rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
            connection.sendall(head.encode("latin-1"))
            came = b""
            with suppress(ConnectionResetError):  # an address that is too long is not read to its end
                while more := connection.recv(65536):
                    came += more
        status, _, body = came.partition(b"\r\n\r\n")
        return int(status.split()[1]), body

    def file(self, path: str | Path) -> str:
        return self.http.get(f"{API}/file={path}").text

    def _stream(self, path: str) -> str:
        begin, lines = time.perf_counter(), []
        with self.http.stream("GET", API + path) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                if '"process_completed"' in line or (lines[-2:-1] and lines[-2].startswith(("event: c", "event: er"))):
                    break
        self.seconds = time.perf_counter() - begin
        return "\n".join(line for line in lines if "estimation" not in line and "process_starts" not in line)


def message(answer: str) -> dict[str, Any]:
    """The last message to the stage in an answer of the queue."""
    for line in reversed(answer.splitlines()):
        if "process_completed" in line:
            output = json.loads(line.removeprefix("data: "))["output"]
            assert "data" in output, f"no message, but {output}"
            return json.loads(output["data"][0])
    raise AssertionError(f"no answer in {answer[:300]!r}")


def sentence(answer: str) -> str:
    """The "error" of an answer, in whichever form it came; fails when there is none."""
    for line in answer.splitlines():
        text = line.removeprefix("data: ")
        if text.startswith("{"):
            found = json.loads(text)
            found = found.get("output", found)
            if isinstance(found, dict) and isinstance(found.get("error") or found.get("detail"), str):
                return found.get("error") or found["detail"]
    raise AssertionError(f"no sentence in {answer[:300]!r}")
