"""Flags of app.py: one sentence and exit status 2 for what cannot work."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[2] / "app.py"


@pytest.fixture(scope="module")
def app():
    spec = importlib.util.spec_from_file_location("app", APP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--preset", "mega"], "Unknown preset 'mega'; choose one of nano"),
        (["--device", "abacus", "--random-weights"], "abacus"),
        (["--precision", "int3"], "invalid choice: 'int3'"),
        (["--port", "none"], "invalid int value: 'none'"),
        (["--port", "99999"], "port 99999 is out of range"),
        (["--weights", "/no/such/folder"], "/no/such/folder"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_wrong_flags_are_one_sentence(app, monkeypatch, capsys, flags, sentence):
    monkeypatch.setattr(sys, "argv", ["app.py", *flags])
    monkeypatch.setattr("mfuser.demo.compute.SEGMENTERS", {})
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("app.py: ") and sentence in message
    assert message.count("\n") == 1


def test_a_taken_port_is_one_sentence(app, monkeypatch, capsys, session):
    from mfuser.demo import layout, serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        page = layout.build(session)
        with pytest.raises(ValueError, match="cannot serve on 127.0.0.1.*choose another --port"):
            serve.start(page, session, "127.0.0.1", taken.getsockname()[1])


def test_the_page_fetches_nothing_and_tells_no_one(session):
    from mfuser.demo import api, guard, layout, serve
    from mfuser.demo.theme import CSS, theme

    page = layout.build(session)
    assert not page.analytics_enabled and page.delete_cache == (600, 3600)
    assert "url(" not in CSS and "@import" not in CSS
    assert theme()._stylesheets == []
    assert serve.LAUNCH["share"] is False and serve.LAUNCH["run_history"] is False
    assert isinstance(page, guard.Page) and not page.api_open
    shown = {f.api_name for f in page.fns.values() if f.api_visibility == "public"}
    assert shown == set(api.OUTPUTS)
    lanes = {f.concurrency_id: f.concurrency_limit for f in page.fns.values() if f.queue}
    assert lanes.pop("queries") > 1, "queries of analysed pictures wait for no pass"
    assert set(lanes.values()) <= {1, "default"}
