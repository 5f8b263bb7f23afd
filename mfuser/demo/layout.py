"""The page: inputs on one side, views on the other, events between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio import utils

from mfuser import presets
from mfuser.demo import about, api, grid, inputs, weather_view, wording
from mfuser.demo.guard import Page
from mfuser.demo.handlers import CHOOSE, Handlers
from mfuser.demo.inputs import Inputs
from mfuser.demo.session import Session
from mfuser.demo.uploads import Uploads
from mfuser.demo.weather_view import WeatherView

TITLE = "MFuser: Mamba as a bridge between vision foundation and vision-language models"
HEAD = """<header id="page-head"><h1>MFuser</h1><p>One encoder sees precisely where things are, the other knows what
they are called; small Mamba adapters make them one. The three columns show each alone, and both fused, on the same
photograph.</p></header>"""
COMPUTE = {"concurrency_id": "compute", "concurrency_limit": 1, "api_visibility": "private"}
QUICK = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def build(session: Session, opened: bool = True) -> Page:
    """The page, not launched. opened: analyse the first example now, so that it is shown at once;
    without it the browser asks when it arrives (a GPU that is lent per request cannot be used before)."""
    handlers = Handlers(session)
    first = handlers.opening(inputs.DEFAULT_QUERY) if opened and session.examples else ("", "")
    times = (wording.FILE_CHECK_SECONDS, wording.FILE_SECONDS)
    files = [path for example in session.examples for path in example.files]
    uploads = Uploads(utils.get_upload_folder(), files, session.knows)
    options = {"title": TITLE, "analytics_enabled": False, "delete_cache": times, "fill_width": True}
    with Page(uploads, **options) as page:
        gr.HTML(HEAD, apply_default_css=False)
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=1, min_width=300, elem_id="inputs"):
                asked = inputs.build(session)
            with gr.Column(scale=4, min_width=320, elem_id="views"):
                ran = gr.HTML(first[1] or wording.notice(CHOOSE, "note"), elem_id="ran", apply_default_css=False)
                with gr.Tabs(selected="compare", elem_id="tabs"):
                    with gr.Tab("Compare", id="compare") as compare_tab:
                        matrix = grid.component(first[0], "matrix")
                    weather = weather_view.build()
                    about_tab = about.build(session.preset)
        active = gr.State("compare")
        for tab in (compare_tab, about_tab):
            tab.select(lambda name=tab.id: name, None, active, **QUICK)
        api.build(session)  # before the page's own events, which would take the endpoints' names
        _connect(handlers, asked, weather, matrix, ran, active)
        if session.examples and not opened:
            outputs = [matrix, ran, asked.photo_notice, asked.query_notice]
            page.load(handlers.show, asked.asked, outputs, **COMPUTE)
    return page.queue(default_concurrency_limit=1)


def _connect(
    handlers: Handlers, asked: Inputs, weather: WeatherView, matrix: gr.HTML, ran: gr.HTML, active: gr.State
) -> None:
    outputs = [matrix, ran, asked.photo_notice, asked.query_notice]
    weather_inputs = [active, *asked.settings, *weather.controls, asked.classes]
    weather_outputs = [weather.pictures, weather.notice]

    # Of several quick clicks or changes, the last one is answered.
    latest = {"trigger_mode": "always_last", **COMPUTE}

    def ask(listen: Callable[..., Any], progress: str = "minimal") -> Any:
        """When `listen` fires: the matrix. A cached analysis answers at once, without a veil over the pictures."""
        return listen(handlers.show, asked.asked, outputs, show_progress=progress, show_progress_on=[matrix], **latest)

    def run(listen: Callable[..., Any]) -> None:
        """What needs the network: the matrix, and then the weather if that is what is looked at."""
        ask(listen, "full").then(handlers.sources, asked.photo, weather.source, **QUICK).then(
            handlers.weather, weather_inputs, weather_outputs, show_progress_on=[weather.pictures], **latest
        )

    def forget() -> None:
        return None

    def resolutions(name: str) -> Any:
        preset = presets.get(name)
        low, high = inputs.limits(preset)
        return gr.Slider(low, high, value=preset.resolution, step=preset.divisor)

    # A new photograph ends a click query: its point belonged to the old one.
    previewed = asked.photo.input(handlers.preview, asked.photo, asked.photo, **QUICK)
    run(previewed.then(forget, None, asked.point, **QUICK).then)
    if asked.examples is not None:
        run(asked.examples.select(handlers.pick, None, [asked.photo, asked.point], **QUICK).then)
    ask(asked.photo.select(handlers.click_photo, asked.photo, asked.point, **QUICK).then)
    ask(matrix.click(handlers.click_grid, None, asked.point, **QUICK).then)
    ask(asked.query.submit(forget, None, asked.point, **QUICK).then)
    run(asked.preset.input(resolutions, asked.preset, asked.resolution, **QUICK).then)
    ask(asked.pca.input)
    choose = (handlers.choose_classes, [asked.class_names, asked.preset], [asked.classes, asked.class_notice])
    run(asked.class_names.submit(*choose, **COMPUTE).then)
    run(asked.class_reset.click(lambda: "", None, asked.class_names, **QUICK).then(*choose, **COMPUTE).then)
    for listen in (asked.windows.input, asked.resolution.release, asked.apply.click):
        run(listen)

    weather.tab.select(lambda: "weather", None, active, **QUICK).then(
        handlers.sources, asked.photo, weather.source, **QUICK
    ).then(handlers.weather, weather_inputs, weather_outputs, **latest)
    for control, event in zip(weather.controls, ("input", "release", "submit", "input"), strict=True):
        getattr(control, event)(handlers.weather, weather_inputs, weather_outputs, **latest)
