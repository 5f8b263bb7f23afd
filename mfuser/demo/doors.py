"""Before any request reaches Gradio: doors that the page does not need are closed, and no fault leaves in silence."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from gradio import route_utils
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mfuser.demo import wording
from mfuser.demo.storage import Folder, cause
from mfuser.demo.uploads import MAX_BYTES, MEGABYTES, Uploads

logger = logging.getLogger(__name__)

API = "/gradio_api"
# Ways into Gradio that this page does not use. Each takes files, fetches addresses or shows what a session holds.
CLOSED = (
    "component_server",
    "process_recording",
    "proxy=",
    "deep_link",
    "vibe-",
    "undo-vibe-",
    "run-history",
    "stream/",
    "mcp/sse",
    "mcp/messages",
)
MAX_BODY = MAX_BYTES * 3 // 2  # bytes of one request: a picture in base64 and what goes with it
TOO_LARGE = f"The request is too large: one picture of {MEGABYTES} MB is the most."
LONGEST_PATH, LONGEST_QUERY = 2000, 32_000  # characters of an address below /stage
TOO_LONG = "The text is too long: please shorten it."
# Below /stage, what is computed beside the queue: each request holds a thread until its answer begins.
BESIDE = ("words", "zip", "inside", "truth")
MOST_BESIDE = 8  # requests of one name at a time
BUSY = "Too many visitors ask at once: please try again in a moment."
STOPPING = "The page is stopping: please try again when it is back."


class _TooLargeError(Exception):
    """More bytes came than one request may have."""


class Doors:
    """ASGI middleware.

    Args:
        app: what answers.
        uploads: which files a request may name.
        folder: where uploads go; None when it is not ours to restore.
        stopping: is the app on its way out?
    """

    def __init__(self, app: ASGIApp, uploads: Uploads, folder: Folder | None, stopping: Callable[[], bool]):
        self.app, self.uploads, self.folder, self.stopping = app, uploads, folder, stopping
        self._beside: Counter[str] = Counter()  # requests of each name of `BESIDE` that are computed now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            return await refusal(scope, receive, send)
        started, came, lane = False, 0, _lane(_path(scope))

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > MAX_BODY:
                raise _TooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            if not started:
                self._beside[lane] -= 1  # a slow reader of the answer keeps nobody out
            started = True
            await send(message)

        self._beside[lane] += 1
        try:
            await self.app(scope, counted, watched)
        except ClientDisconnect:
            logger.info("a visitor left before the end of a request")
        except Exception as error:
            if started:
                raise
            await _answer_to(error, scope)(scope, receive, send)
        finally:
            if not started:
                self._beside[lane] -= 1

    def _refusal(self, scope: Scope) -> Response | None:
        """An answer without Gradio; None to let the request in."""
        path = _path(scope)
        if path.startswith("/stage/"):
            if len(path) > LONGEST_PATH or len(scope["query_string"]) > LONGEST_QUERY:
                return JSONResponse({"error": TOO_LONG}, 414)
            if (lane := _lane(path)) and self._beside[lane] >= MOST_BESIDE:
                return JSONResponse({"error": BUSY}, 503, {"Retry-After": "2"})
        name = path.removeprefix(API).lstrip("/")
        if path.startswith(API) and name.startswith(CLOSED):
            return PlainTextResponse("This page does not offer that.", 404)
        for start in ("file=", "file/"):
            if name.startswith(start) and not self.uploads.holds(name.removeprefix(start)):
                return JSONResponse({"detail": "File not allowed."}, 403)  # the same for what is there and what is not
        if scope["method"] == "POST":
            if self.stopping():
                return JSONResponse({"error": STOPPING, "detail": STOPPING}, 503)
            length = dict(scope["headers"]).get(b"content-length", b"0")
            if length.isdigit() and int(length) > MAX_BODY:
                return PlainTextResponse(TOO_LARGE, 413)
            if name.startswith("upload") and self.folder is not None:
                try:
                    self.folder.restore()
                except OSError as error:
                    return _answer_to(error, scope)
        return None


def _path(scope: Scope) -> str:
    return scope["path"].removeprefix(scope.get("root_path", ""))


def _lane(path: str) -> str:
    """The name in `BESIDE` that a path asks for; empty for none."""
    name = path.removeprefix("/stage/").partition("/")[0]
    return name if path.startswith("/stage/") and name in BESIDE else ""


def _answer_to(error: Exception, scope: Scope) -> Response:
    if isinstance(error, _TooLargeError):
        return PlainTextResponse(TOO_LARGE, 413)
    if isinstance(error, (KeyError, route_utils.FnIndexInferError)) and _calls(scope):
        return JSONResponse({"error": "There is no function of that name or number: see the API page."}, 404)
    if isinstance(error, TypeError) and _calls(scope):  # an argument by a name that is unknown, or the picture missing
        text = str(error).partition(". Please click")[0].partition(" Please click")[0]
        return JSONResponse({"error": f"{text}: see the API page."}, 400)
    status = 507 if isinstance(error, OSError) and cause(error) else 500
    text = wording.sentence(error)
    if "/upload" in scope["path"]:
        return PlainTextResponse(text, status)  # Gradio's page shows the body of a failed upload as it is
    return JSONResponse({"error": text, "detail": text}, status)


def _calls(scope: Scope) -> bool:
    """Does a request call a function by name or number? What the function itself raises never comes so far."""
    return any(part in scope["path"] for part in ("/call/", "/run/", "/api/", "/queue/join"))


class TidyParser(route_utils.GradioMultiPartParser):
    """Gradio's reader of uploads, which leaves nothing of an upload that was cut, failed or is not asked for.

    Gradio's own one deletes its temporary files for two of its errors only.
    """

    async def parse(self):
        """As Gradio's `parse`. Raises what it raises, after its files were deleted."""
        wanted: list[str] = []
        try:
            form = await super().parse()
            if any(isinstance(value, str) for value in form.getlist("files")):
                raise route_utils.MultiPartException('The field "files" must hold files, not text.')
            wanted = [
                value.file.name for name, value in form.multi_items() if name == "files" and hasattr(value, "file")
            ]
            return form
        finally:
            for file in self._files_to_close_on_error:
                if file.name not in wanted:
                    try:
                        file.close()
                    except OSError:  # the disk is full: what was still to be written is dropped
                        pass
                    Path(file.name).unlink(missing_ok=True)


route_utils.GradioMultiPartParser = TidyParser
