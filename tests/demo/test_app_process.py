"""app.py as a process of its own: how it starts on odd machines, and how it ends.

Each test starts the app anew. One runs always, the others with `-m slow`.
"""

from __future__ import annotations

import base64
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from mfuser import images
from tests.demo.visitor import Visitor, sentence

TINY_APP = Path(__file__).parent / "tiny_app.py"
PICTURE = images.encode(np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8))


class App:
    """A running app. `url`: what it printed. `temporary`: where it makes its folder."""

    def __init__(self, folder: Path, host: str, seconds: float, environment: dict[str, str]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.temporary, self.log = folder / "temporary", folder / "log.txt"
        self.temporary.mkdir(exist_ok=True)
        names = ("GRADIO_TEMP_DIR", "no_proxy", "NO_PROXY")
        kept = {name: value for name, value in os.environ.items() if name not in names}
        environment = {**kept, "OMP_NUM_THREADS": "1", "TMPDIR": str(self.temporary), **environment}
        command = [sys.executable, str(TINY_APP), str(seconds), "--host", host, "--port", str(port)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        deadline = time.monotonic() + 120
        while "local URL" not in self.log.read_text():
            text = self.log.read_text()
            assert self.process.poll() is None and time.monotonic() < deadline, f"the app did not start:\n{text}"
            time.sleep(0.1)
        self.url = self.log.read_text().split("local URL:")[1].split()[0]

    def ended(self, seconds: float = 20) -> int:
        status = self.process.wait(seconds)
        assert "Traceback" not in self.log.read_text(), self.log.read_text()
        return status

    def pictures(self) -> list[Path]:
        return [path for path in self.temporary.rglob("*") if path.is_file()]


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., App]]:
    apps: list[App] = []

    def started(host: str = "127.0.0.1", seconds: float = 0, **environment: str) -> App:
        apps.append(App(tmp_path, host, seconds, environment))
        return apps[-1]

    yield started
    for app in apps:
        if app.process.poll() is None:
            app.process.kill()
            app.process.wait()


def test_starts_behind_a_proxy_and_beside_a_foreign_temporary_folder(start, tmp_path):
    """http_proxy without no_proxy; and Gradio's common folder cannot be used, as when another user made it."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "temporary" / "gradio").write_text("not yours")
    proxy = "http://127.0.0.1:9"
    app = start(http_proxy=proxy, https_proxy=proxy, HTTP_PROXY=proxy, all_proxy=proxy)
    visitor = Visitor(app.url)
    path = Path(visitor.upload(PICTURE))
    assert path.is_relative_to(app.temporary) and f"-{os.getuid()}-{app.process.pid}-" in str(path)
    assert "event: complete" in visitor.call("segment", {"path": str(path)})
    app.process.terminate()
    assert app.ended() == 0
    assert app.pictures() == [tmp_path / "temporary" / "gradio"]


@pytest.mark.slow
@pytest.mark.parametrize("host", ["::1", "::"])
def test_serves_ipv6_and_prints_an_address_that_opens(start, host):
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    app = start(host)
    assert app.url.startswith("http://[::1]:")
    assert httpx.get(app.url, trust_env=False).status_code == 200
    assert "event: complete" in Visitor(app.url).call("segment", {"path": Visitor(app.url).upload(PICTURE)})
    app.process.terminate()
    assert app.ended() == 0


@pytest.mark.slow
def test_terminated_in_mid_request_it_tells_the_client_and_is_gone(start):
    app = start(seconds=30)
    visitors, answers = [Visitor(app.url) for _ in range(3)], []
    path = visitors[0].upload(PICTURE)
    asked = [
        lambda: visitors[0].call("segment", {"path": path}),
        lambda: visitors[1].call("analyse", {"path": path}),  # waits in the queue
        lambda: visitors[2].stage({"request": "r", "path": path}),
    ]
    threads = [threading.Thread(target=lambda ask=ask: answers.append(ask())) for ask in asked]
    for thread in threads:
        thread.start()
    time.sleep(3)
    begin = time.monotonic()
    app.process.terminate()
    assert app.ended() == 0
    assert time.monotonic() - begin < 3
    for thread in threads:
        thread.join()
    assert len(answers) == 3 and all("stopping" in sentence(answer) for answer in answers)
    assert app.pictures() == []


@pytest.mark.slow
def test_interrupted_twice_and_then_terminated_it_ends_in_order(start):
    app = start(seconds=30)
    visitor = Visitor(app.url)
    path = visitor.upload(PICTURE)
    visitor.post("/call/segment", {"data": [{"path": path}]})
    time.sleep(1)
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        app.process.send_signal(number)
        time.sleep(0.05)
    assert app.ended() == 0
    assert app.pictures() == [] and "terminate called" not in app.log.read_text()


@pytest.mark.slow
def test_interrupted_while_it_starts_it_leaves_nothing(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment.pop("GRADIO_TEMP_DIR", None)
    command = [sys.executable, str(TINY_APP), "0", "--port", "1024"]
    app = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("mfuser-*")):
        assert app.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)  # now it loads its model
    app.send_signal(signal.SIGINT)
    _, said = app.communicate(timeout=20)
    assert app.returncode == 130 and "Traceback" not in said and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_a_killed_app_left_is_deleted_by_the_next_one(start):
    first = start()
    Visitor(first.url).upload(PICTURE, "killed.png")
    second = start()
    path = Path(Visitor(second.url).upload(PICTURE, "alive.png"))
    first.process.kill()
    first.process.wait()
    assert any(p.name == "killed.png" for p in first.pictures())
    start()
    assert path.is_file() and not any(p.name == "killed.png" for p in first.pictures())


@pytest.mark.slow
def test_a_full_disk_is_named_and_leaves_no_part(start):
    """A limit on the size of files stands for the full disk: writing fails in the same place, half way."""
    app = start()
    visitor = Visitor(app.url)
    before = set(app.pictures())
    resource.prlimit(app.process.pid, resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    answer = visitor.http.post("/gradio_api/upload", files={"files": ("a.png", PICTURE)})
    assert answer.status_code == 507 and "not allowed" in answer.text and str(app.temporary) not in answer.text
    picture = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
    assert "cannot store pictures" in sentence(visitor.call("segment", picture))
    assert set(app.pictures()) == before
    resource.prlimit(app.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert "event: complete" in visitor.call("segment", picture)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False
