"""The page: the stage above, drawers below, events between them."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio import utils

from mfuser import presets
from mfuser.demo import about, api, controls, weather_view, wording
from mfuser.demo.controls import Controls
from mfuser.demo.guard import Page
from mfuser.demo.handlers import Handlers
from mfuser.demo.session import Session
from mfuser.demo.stage_view import StageView
from mfuser.demo.theme import TITLE
from mfuser.demo.uploads import Uploads
from mfuser.demo.weather_view import WeatherView

COMPUTE = {"concurrency_id": "compute", "concurrency_limit": 1, "api_visibility": "private"}
QUICK = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# The stage asks anew, with the settings as they are now.
_AGAIN = "() => { document.dispatchEvent(new CustomEvent('mfuser:again')); }"


def build(session: Session, opened: bool = True) -> Page:
    """The page, not launched.

    Args:
        session: models, results, examples.
        opened: analyse the first example now, so that it is shown at once. A GPU that is lent per request cannot be
            used before a visitor comes: then the browser asks when it arrives.
    """
    files = [path for example in session.examples for path in example.files]
    uploads = Uploads(utils.get_upload_folder(), files, session.knows)
    view = StageView(session, uploads)
    if opened and session.examples:
        view.prepare(0)
    times = (wording.FILE_CHECK_SECONDS, wording.FILE_SECONDS)
    options = {"title": TITLE, "analytics_enabled": False, "delete_cache": times, "fill_width": True}
    with Page(uploads, **options) as page:
        stage, messages = view.build()
        path = gr.State(None)  # of the picture on the stage
        with gr.Accordion("Adverse weather", open=False, elem_id="weather") as weather_drawer:
            weather = weather_view.build()
        with gr.Accordion("Model and settings", open=False, elem_id="settings"):
            chosen = controls.build(session)
            ran = gr.HTML("", elem_id="ran", apply_default_css=False)
        with gr.Accordion("About", open=False, elem_id="about"):
            about.build(session.preset)
        api.build(session)  # before the page's own events, which would take the endpoints' names
        _connect_stage(view, stage, messages, chosen, [path, ran])
        _connect_settings(session, chosen)
        _connect_weather(session, weather, weather_drawer, path, chosen)
    page.stage_routes = view.routes()
    return page.queue(default_concurrency_limit=1)


def _connect_stage(view: StageView, stage: gr.HTML, messages: gr.HTML, chosen: Controls, found: list[Any]) -> None:
    run = stage.analyse(
        view.analyse, chosen.values, [messages, *found], trigger_mode="multiple", show_progress="hidden", **COMPUTE
    )
    stage.cancel(None, None, None, cancels=[run], **QUICK)


def _connect_settings(session: Session, chosen: Controls) -> None:
    handlers = Handlers(session)

    def resolutions(name: str) -> Any:
        preset = presets.get(name)
        low, high = controls.limits(preset)
        return gr.Slider(low, high, value=preset.resolution, step=preset.divisor)

    again = {"fn": None, "js": _AGAIN, "api_visibility": "private"}
    chosen.preset.input(resolutions, chosen.preset, chosen.resolution, **QUICK).then(**again)
    chosen.windows.input(**again)
    chosen.resolution.release(**again)
    choose = (handlers.choose_classes, [chosen.class_names, chosen.preset], [chosen.classes, chosen.class_notice])
    chosen.class_names.submit(*choose, **COMPUTE).success(**again)
    chosen.class_reset.click(lambda: "", None, chosen.class_names, **QUICK).then(*choose, **COMPUTE).success(**again)


def _connect_weather(
    session: Session, weather: WeatherView, drawer: gr.Accordion, path: gr.State, chosen: Controls
) -> None:
    handlers = Handlers(session)
    asked = [path, *chosen.values, *weather.controls]
    shown = [weather.pictures, weather.notice]
    is_open = gr.State(False)
    latest = {"trigger_mode": "always_last", "show_progress_on": [weather.pictures], **COMPUTE}

    def show(opened: bool, *values: Any, progress: gr.Progress = gr.Progress()) -> tuple[Any, str]:  # noqa: B008
        return handlers.weather(*values, progress=progress) if opened else (gr.skip(), gr.skip())

    def forget() -> tuple[str, str]:
        return "", wording.NOTHING

    run = {"fn": show, "inputs": [is_open, *asked], "outputs": shown, **latest}
    drawer.expand(lambda: True, None, is_open, **QUICK).then(**run)
    drawer.collapse(lambda: False, None, is_open, **QUICK)
    # Another picture: what belongs to the one before goes at once.
    path.change(forget, None, shown, **QUICK).then(handlers.sources, path, weather.source, **QUICK).then(**run)
    for control, event in zip(weather.controls, ("input", "change", "change", "input"), strict=True):
        getattr(control, event)(**run)
