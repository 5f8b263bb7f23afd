"""The real app, started once as a subprocess, and visitors in headless Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mfuser import images
from tests.browser.seen import SHOWN

ROOT = Path(__file__).resolve().parents[2]
MILLISECONDS = 60_000  # the most to wait for one answer, on a busy machine


@pytest.fixture(scope="session")
def url(tmp_path_factory) -> Iterator[str]:
    """The address of a running app: one of the tests' own, or that of MFUSER_PAGE, which saves the start."""
    if running := os.environ.get("MFUSER_PAGE"):
        yield running.rstrip("/")
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port)]
    folder = tmp_path_factory.mktemp("app")
    # One thread: on a machine that is busy with other tests, threads that wait for each other take minutes.
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder / "uploads"), "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        app = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while not _answers(address):
            text = (folder / "log.txt").read_text()
            assert app.poll() is None and time.monotonic() < deadline, f"the app did not start:\n{text}"
            time.sleep(0.2)
        yield address
    finally:
        app.terminate()
        app.wait(30)
    left = [path.name for path in (folder / "uploads").rglob("*") if path.is_file()]
    assert not any("street" not in name for name in left), left  # the page promises that uploads are deleted
    text = (folder / "log.txt").read_text()
    assert "Traceback" not in text, text


@pytest.fixture(scope="session")
def china(tmp_path_factory) -> Path:
    datasets = pytest.importorskip("sklearn.datasets")
    return images.save(tmp_path_factory.mktemp("photo") / "china.png", datasets.load_sample_image("china.jpg"))


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        assert not os.environ.get("CI"), "the page must be tested in CI: install chromium"
        pytest.skip("needs a chromium executable")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, url) -> Iterator[Callable]:
    """Opens the page as a new visitor, who waits for the first picture; options are of a browser's context.

    Afterwards: no request to another host, no error in the console.
    """
    contexts, foreign, complaints = [], [], []

    def opened(link: str = "", address: str = url, **options):
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(MILLISECONDS)
        page.on(
            "request", lambda r: foreign.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None
        )
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address}/#{link}")
        page.wait_for_selector(SHOWN)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert foreign == []
    assert complaints == []


@pytest.fixture
def page(visit):
    """A new visitor with a mouse."""
    return visit()


def _answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=2).status == 200
    except OSError:
        return False
