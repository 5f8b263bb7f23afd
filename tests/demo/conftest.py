"""A session over the tiny random model, which counts the passes of its network."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mfuser import images, presets
from mfuser.config import Preset
from mfuser.demo import compute
from mfuser.demo.examples import Example, Rendered
from mfuser.demo.session import Session
from mfuser.demo.stopping import Stop
from mfuser.demo.storage import Folder
from mfuser.inference.segmenter import Segmenter
from mfuser.loading import MFuser
from mfuser.stage import bundle
from tests.demo.visitor import Visitor


@pytest.fixture
def street() -> np.ndarray:
    """(96, 128, 3) uint8: a bright left and a dark right half, a red block at the upper left, with a little noise."""
    picture = np.full((96, 128, 3), 40, np.uint8)
    picture[:, :64] = 200
    picture[8:40, 8:40] = (220, 30, 30)
    return (picture + np.random.default_rng(0).integers(0, 12, picture.shape)).astype(np.uint8)


@pytest.fixture
def street_file(tmp_path: Path, street: np.ndarray) -> str:
    return str(images.save(tmp_path / "street.png", street))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A picture of the server that no visitor uploaded, outside every folder of the page, under a suffix that no
    browser shows."""
    folder = tmp_path / "private"
    folder.mkdir()
    return images.save(folder / "secret.png", np.full((64, 96, 3), 137, np.uint8)).rename(folder / "secret.tif")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """One entry (windows, resolution) for every pass of a network."""
    return counted(monkeypatch)


@pytest.fixture
def session(monkeypatch, tiny_preset, tiny_model, passes, tmp_path) -> Session:
    """Preset "tiny" with one labelled example."""
    return tiny_session(monkeypatch, tiny_preset, tiny_model, tmp_path)


class Stage:
    """The stage's view without a server: `tmp_path` of the test is the upload folder."""

    def __init__(self, session: Session, folder: Path):
        from mfuser.demo.stage_view import StageView
        from mfuser.demo.uploads import Uploads

        files = [file for example in session.examples for file in example.files]
        self.session, self.view = session, StageView(session, Uploads(folder, files, session.knows))

    def messages(self, path=None, example=None, preset="tiny", windows="single", resolution=64, classes="") -> list:
        """[(message, path for the other views, what ran)] of an analysis."""
        import gradio as gr

        event = gr.EventData(None, {"request": "r", "example": example, "path": path})
        found = self.view.analyse(preset, windows, resolution, classes, event)
        return [(json.loads(text), path, ran) for text, path, ran in found]

    def bundle(self, *args, **options) -> tuple[dict, dict]:
        """Header, with "token", "path" and "ran_line" beside, and parts of what an analysis ends with."""
        message, path, ran = self.messages(*args, **options)[-1]
        assert "token" in message, message
        header, parts = bundle.decode(self.view.bundle(self.view._results[message["token"]])[0])
        return {**header, "token": message["token"], "path": path, "ran_line": ran}, parts

    def error(self, *args, **options) -> str:
        message, path, ran = self.messages(*args, **options)[-1]
        assert path == ran == {"__type__": "update"}, "the other views stay as they are"
        return message["error"]


@pytest.fixture
def stage(session, tmp_path) -> Stage:
    return Stage(session, tmp_path)


@pytest.fixture(scope="session")
def served(tiny_preset, tiny_model, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """The whole page over the tiny model, launched on a free port with a temporary folder as the app makes it."""
    from mfuser.demo import layout, serve

    place = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(place / "temporary"))
        passes, session = counted(monkeypatch), tiny_session(monkeypatch, tiny_preset, tiny_model, place)
        stop = Stop(Folder.create())
        page = layout.build(session)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        url = serve.start(page, session, "127.0.0.1", port, stop)
        yield SimpleNamespace(page=page, url=url, session=session, passes=passes, folder=stop.folder, stop=stop)
        page.close(verbose=False)
        stop.folder.remove()


@pytest.fixture
def visitor(served) -> Visitor:
    return Visitor(served.url)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    calls: list[tuple] = []
    steps = Segmenter.steps

    def counting(self, image, windows="single", resolution=None, *arguments, **options):
        calls.append((windows, resolution))
        return steps(self, image, windows, resolution, *arguments, **options)

    monkeypatch.setattr(Segmenter, "steps", counting)
    return calls


def tiny_session(monkeypatch: pytest.MonkeyPatch, preset: Preset, model: MFuser, folder: Path) -> Session:
    monkeypatch.setitem(presets.PRESETS, "tiny", preset)
    monkeypatch.setattr(compute, "SEGMENTERS", {})
    picture = np.random.default_rng(1).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    labels = np.zeros((64, 96), np.uint8)
    labels[:20] = 10
    path = images.save(folder / "example.png", picture)
    foggy = images.save(folder / "foggy.png", picture // 2 + 100)
    weather = {"fog": Rendered(foggy, "visibility 90 m")}
    example = Example(path, "An example", "Noise.", labels, weather)
    return Session(lambda name: Segmenter(model, precision="float32"), "tiny", [example])
