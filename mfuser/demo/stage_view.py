"""The stage in the app: its component, what the queue computes for it, and what the browser fetches."""

from __future__ import annotations

import json
import secrets
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from mfuser import images
from mfuser.demo import queries, wording
from mfuser.demo.drawers import Drawers
from mfuser.demo.jobs import Job
from mfuser.demo.refusals import Refusal
from mfuser.demo.session import Result, Session, Settings
from mfuser.demo.uploads import Uploads
from mfuser.inference.segmenter import Segmenter
from mfuser.stage import files, scales
from mfuser.stage.bundle import encode
from mfuser.stage.takeaway import zipped
from mfuser.stage.texts import query

THUMBNAIL = 208  # pixels wide
PULSE = 0.5  # seconds: so soon a cancelled analysis is noticed
READY = {  # what is said when a stream is ready
    "vfm": "VFM is ready, VLM next",
    "vlm": "VFM and VLM are ready, MFuser next",
    "fused": "All three models are ready: preparing the picture",
}
_FRESH = {"Cache-Control": "no-cache"}  # ask whether it changed: a new version of the app brings new scripts
_PRIVATE = {"Cache-Control": "no-store"}  # a visitor's picture
# Runs once, when the component is there. The scripts are modules of their own; this only starts them.
_START = """
const root = ((window.gradio_config && window.gradio_config.root) || window.location.origin).replace(/\\/$/, "");
const base = `${root}/stage/`;
const events = { analyse: 'analyse', cancel: 'cancel' };
const ask = (name, data) => trigger(events[name], data);
import(`${base}app.js`).then((app) => app.start({ element, trigger: ask, upload, base }));
"""
_HEAR = "watch('value', () => document.dispatchEvent(new CustomEvent('mfuser:message', { detail: props.value })));"


class StageView:
    """Answers of the stage.

    Args:
        session: models, results, examples.
        uploads: which files a request may name.
    """

    def __init__(self, session: Session, uploads: Uploads):
        self.session, self.uploads = session, uploads
        self._results: weakref.WeakValueDictionary[str, Result] = weakref.WeakValueDictionary()
        self._thumbnails: dict[Any, bytes] = {}  # of examples alone
        self._lock = threading.Lock()

    # -- components ---------------------------------------------------------------------------------------------------

    def build(self) -> tuple[gr.HTML, gr.HTML]:
        """The stage, with the events "analyse" and "cancel", and the component that carries messages to it."""
        stage = gr.HTML(files.fragment(), elem_id="stage", js_on_load=_START, apply_default_css=False)
        return stage, gr.HTML("", js_on_load=_HEAR, visible="hidden", elem_id="stage-messages", apply_default_css=False)

    # -- what the queue computes --------------------------------------------------------------------------------------

    def analyse(
        self, preset: str, windows: str, resolution: float, classes: str, event: gr.EventData
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Messages to the stage (JSON), the path of the picture for the other views, and what ran.

        Each message has "request" and one of "status" (a sentence), "token" (of a bundle) or "error" (a sentence).
        """
        request = str(getattr(event, "request", ""))[:64]

        def message(path: Any = gr.skip(), ran: Any = gr.skip(), **content: Any) -> tuple[Any, Any, Any]:  # noqa: B008
            return json.dumps({"request": request, "at": secrets.token_hex(4), **content}), path, ran

        job = None
        try:
            path = self.path_of(event)
            settings = self.session.settings(preset, windows, resolution, classes)
            yield message(status="Waiting for the models")
            job = Job(self.session.result, path, settings)
            for stream in job.news(PULSE):
                # Without news as well: only between two answers does Gradio notice that a visitor cancelled or left.
                yield message(status=READY[stream]) if stream else (gr.skip(),) * 3
            result = job.result()
            yield message(path, wording.what_ran(result.analysis, result.original), token=self.token(result))
        except Exception as error:
            yield message(error=wording.sentence(error))
        finally:
            if job is not None:
                job.leave()

    def prepare(self, index: int) -> None:
        """Analyse an example ahead of its first visitor, with the page's own settings."""
        self.bundle(self.session.result(self.session.examples[index].path, Settings(self.session.preset)))

    def path_of(self, event: gr.EventData) -> str:
        """The picture that a request names. Raises Refusal for one that it may not name."""
        example, path = (getattr(event, name, None) for name in ("example", "path"))
        if example is not None:
            return str(self.example(example).path)
        accepted = self.uploads.accept(path)
        if accepted is None:
            raise Refusal("Choose a photograph, or one of the examples, to begin.")
        return accepted

    def example(self, index: Any) -> Any:
        """The example of an index. Raises Refusal when there is none."""
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(self.session.examples):
            raise Refusal("There is no such example here: choose one of the pictures shown.")
        return self.session.examples[index]

    # -- words --------------------------------------------------------------------------------------------------------

    def look_for(self, token: str, text: str) -> dict[str, Any]:
        """Vectors of a text query for a bundle: {"text", "vectors", "note"}, or {"error": a sentence}.

        Runs beside the queue, in the lane of texts: a query of an analysed picture never waits for somebody's pass.
        """
        try:
            result = self._results.get(token)
            if result is None:
                raise Refusal("This picture is no longer kept here: choose it again.")
            asked = queries.from_text(text, self._segmenter(result).is_cut)
            bases = self.bundle(result)[1]
            known = self.scales(result)
            found = query(", ".join(asked.texts), result.analysis.embed, asked.texts, bases, known)
            return {**found, "note": " ".join(filter(None, (found["note"], asked.note)))}
        except Exception as error:
            return {"error": wording.sentence(error)}

    # -- what the browser fetches -------------------------------------------------------------------------------------

    def token(self, result: Result) -> str:
        """A name of a result that cannot be guessed; it is forgotten with the result."""
        with self._lock:
            if result.token is None:
                result.token = secrets.token_urlsafe(16)
            self._results[result.token] = result
        return result.token

    def bundle(self, result: Result) -> tuple[bytes, dict]:
        """The encoded bundle of a result and its text bases, made once."""
        with result.lock:
            if result.bundle is None:
                note = wording.reduced(result.original, result.analysis.size)
                extra = {"note": note, "scales": scales.header(self.scales(result))}
                made = encode(result.analysis, result.labels, extra)
                result.bundle = (made.data, made.text_bases)
            return result.bundle

    def scales(self, result: Result) -> scales.Scales | None:
        """The scale of similarity that was measured for the model of a result, None without one."""
        return scales.read(self._segmenter(result).folder)

    def _segmenter(self, result: Result) -> Segmenter:
        return self.session.segmenter(result.analysis.ran["preset"])

    def routes(self) -> Mount:
        """Everything below /stage/."""
        static = files.static_files()

        def file(request: Request) -> Response:
            name = request.path_params["name"]
            if name not in static:
                return Response(status_code=404)
            return FileResponse(static[name], headers=_FRESH)

        def about(request: Request) -> Response:
            entries = [
                {"id": e.path.stem, "title": e.title, "alt": e.alt, "badge": "rendered"} for e in self.session.examples
            ]
            return JSONResponse({"examples": entries, "heat": files.heat(), "privacy": wording.PRIVACY}, headers=_FRESH)

        def bundle(request: Request) -> Response:
            result = self._results.get(request.path_params["token"])
            return Response(status_code=404) if result is None else self._answer(result, _PRIVATE)

        def words(request: Request) -> Response:
            text = request.query_params.get("text", "")
            return JSONResponse(self.look_for(request.path_params["token"], text), headers=_PRIVATE)

        def takeaway(request: Request) -> Response:
            result = self._results.get(request.path_params["token"])
            if result is None:
                return Response(status_code=404)
            headers = {**_PRIVATE, "Content-Disposition": 'attachment; filename="mfuser.zip"'}
            return Response(zipped(result.analysis, result.labels), media_type="application/zip", headers=headers)

        def example(request: Request) -> Response:
            try:
                found = self.example(request.path_params["index"])
            except Refusal:
                return Response(status_code=404)
            kind = request.path_params["kind"]
            if kind == "picture":
                return FileResponse(found.path, headers=_FRESH)
            if kind == "thumbnail":
                return Response(self._thumbnail(found.path), media_type="image/jpeg", headers=_FRESH)
            ready = self.session.ready(found.path, Settings(self.session.preset)) if kind == "bundle" else None
            return Response(status_code=404) if ready is None else self._answer(ready, _FRESH)

        return Mount(
            "/stage",
            routes=[
                Route("/about.json", about),
                Route("/bundle/{token}", bundle),
                Route("/words/{token}", words),
                Route("/zip/{token}", takeaway),
                Route("/example/{index:int}/{kind}", example),
                *Drawers(self.session, self._results.get).routes(),
                Route("/{name}", file),
            ],
        )

    def _answer(self, result: Result, headers: dict[str, str]) -> Response:
        headers = {**headers, "X-Token": self.token(result)}
        return Response(self.bundle(result)[0], media_type="application/octet-stream", headers=headers)

    def _thumbnail(self, path: Any) -> bytes:
        if path not in self._thumbnails:
            picture = images.load(path)
            height, width = picture.shape[:2]
            small = images.resize(picture, max(1, round(THUMBNAIL * height / width)), THUMBNAIL)
            self._thumbnails[path] = images.encode(small, ".jpg", 80)
        return self._thumbnails[path]
