"""Speed and memory of the page, measured through its own API as a visitor's browser would use it.

    python -m pytest tests/test_marks.py -m slow -s

prints the table that README quotes. It wants a machine that does nothing else.
"""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import cv2
import pytest
from gradio_client import Client, handle_file
from sklearn.datasets import load_sample_image

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc").is_dir(), reason="peak memory is read from /proc")]

RUNS = 7


@pytest.fixture(scope="module")
def app():
    """The running page: (address, process, seconds from start to first page)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, started = f"http://127.0.0.1:{port}", time.perf_counter()
    process = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT)
    try:
        while True:
            assert process.poll() is None, "the app ended by itself"
            try:
                urllib.request.urlopen(address, timeout=5).read()
                break
            except OSError:
                assert time.perf_counter() - started < 120, "no page after two minutes"
                time.sleep(0.1)
        yield address, process, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(20)


def test_marks(app, tmp_path):
    address, process, start = app
    client = Client(address, verbose=False)
    whole = cv2.resize(load_sample_image("china.jpg"), (1280, 720))
    analyse, query = [], []
    for run in range(RUNS + 1):  # every run another content, so that nothing comes from the cache; the first warms up
        path = tmp_path / f"{run}.png"
        cv2.imwrite(str(path), cv2.convertScaleAbs(whole, beta=run)[..., ::-1])
        picture = handle_file(str(path))
        clock = time.perf_counter()
        client.predict(picture, api_name="/analyse")  # masks, shares and the three feature pictures
        client.predict(picture, x=0.4, y=0.7, api_name="/similarity")  # a point, which all three answer
        client.predict(picture, api_name="/segment")
        analyse.append(time.perf_counter() - clock)
        clock = time.perf_counter()
        client.predict(picture, f"tree {run}", api_name="/similarity")
        query.append(time.perf_counter() - clock)
    memory = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) * 1024 / 1e9
    marks = {
        "nine pictures of a 1280x720 photograph, p50": (statistics.median(analyse[1:]), 3.0, "s"),
        "another text query, p50": (statistics.median(query[1:]), 0.3, "s"),
        "start to first page": (start, 15.0, "s"),
        "peak memory": (memory, 2.5, "GB"),
    }
    for name, (value, mark, unit) in marks.items():
        print(f"| {name} | {value:.2f} {unit} | {mark:g} {unit} |")
    assert all(value <= mark for value, mark, _ in marks.values())
