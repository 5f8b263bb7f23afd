"""What the drawers below the stage fetch: the inside of the fusion, and the score against a visitor's own labels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mfuser.demo import wording
from mfuser.demo.refusals import Refusal
from mfuser.demo.session import Result, Session
from mfuser.stage import inside, truth

LABEL_MEGABYTES = 16
WAIT = 20.0  # seconds for which a request waits for its turn
PLACES = 6  # requests that wait or run; each holds a thread, and a label map in memory
_PRIVATE = {"Cache-Control": "no-store"}  # a visitor's picture
BUSY = "Others are looking at the same thing now: try again in a few seconds."
GONE = "This picture is no longer kept here: choose it again."


class Drawers:
    """Routes of the drawers. Nothing that they compute is kept.

    Args:
        session: models.
        find: token -> the result of a picture, or None.
    """

    def __init__(self, session: Session, find: Callable[[str], Result | None]):
        self.session, self._find = session, find
        self._turn = threading.Lock()  # one at a time: many requests must not take the memory of many
        self._places = threading.BoundedSemaphore(PLACES)

    def routes(self) -> list[Route]:
        """/inside/{token} (GET) and /truth/{token} (POST of a PNG, ?kind=auto)."""
        return [Route("/inside/{token}", self._inside), Route("/truth/{token}", self._truth, methods=["POST"])]

    def inside(self, token: str) -> bytes:
        """The file of `stage.inside`. Raises Refusal when the picture is gone or too many wait."""
        result = self._result(token)
        with self._alone():
            return inside.encode(self.session.with_layers(result))

    def truth(self, token: str, data: bytes, kind: str) -> bytes:
        """The file of `stage.truth`. Raises Refusal, truth.TruthError or images.ImageError."""
        result = self._result(token)
        with self._alone():
            found = truth.read(data, result.analysis, result.original, kind)
            return truth.encode(result.analysis, found)

    def _inside(self, request: Request) -> Response:
        def make() -> bytes:
            with self._place():
                return self.inside(request.path_params["token"])

        return self._answer(make)

    async def _truth(self, request: Request) -> Response:
        token, kind = request.path_params["token"], request.query_params.get("kind", truth.AUTO)
        try:
            self._result(token)  # before anything is received
            with self._place():
                data = await _body(request)
                return await to_thread.run_sync(self._answer, lambda: self.truth(token, data, kind))
        except Refusal as error:
            return JSONResponse({"error": str(error)}, 400, headers=_PRIVATE)

    def _result(self, token: str) -> Result:
        result = self._find(token)
        if result is None:
            raise Refusal(GONE)
        return result

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Refusal(BUSY)
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=WAIT):
            raise Refusal(BUSY)
        try:
            yield
        finally:
            self._turn.release()

    @staticmethod
    def _answer(make: Callable[[], bytes]) -> Response:
        try:
            return Response(make(), media_type="application/octet-stream", headers=_PRIVATE)
        except Exception as error:
            return JSONResponse({"error": wording.sentence(error)}, 400, headers=_PRIVATE)


async def _body(request: Request) -> bytes:
    """The body of a request. Raises Refusal for more than `LABEL_MEGABYTES`, without reading on."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LABEL_MEGABYTES * 2**20:
            raise Refusal(f"The label map is too large: {LABEL_MEGABYTES} MB are the most.")
    return bytes(data)
