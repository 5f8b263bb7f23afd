"""A computation that its caller watches, and can leave."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Generic, TypeVar

from mfuser.demo import compute

T = TypeVar("T")


class Job(Generic[T]):
    """function(*arguments) in a thread of its own, which waits while `compute` computes.

    Args:
        function: what to run. Analyses inside it say which stream is ready, and end when `leave` was called.
        *arguments: for the function.
    """

    def __init__(self, function: Callable[..., T], *arguments: object):
        self._ready: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._left = threading.Event()
        self._found: Future[T] = Future()
        watch = compute.Watch(self._ready.put, self._left.is_set)

        def run() -> None:
            compute.WATCH.set(watch)
            try:
                self._found.set_result(function(*arguments))
            except BaseException as error:
                self._found.set_exception(error)
            finally:
                self._ready.put(None)

        threading.Thread(target=contextvars.copy_context().run, args=(run,), name="job", daemon=True).start()

    def news(self, seconds: float) -> Iterator[str]:
        """Each stream as it is ready, and "" after `seconds` without news, until the function has ended."""
        while True:
            try:
                stream = self._ready.get(timeout=seconds)
            except queue.Empty:
                yield ""
                continue
            if stream is None:
                return
            yield stream

    def result(self) -> T:
        """What the function returned, or raised."""
        return self._found.result()

    def leave(self) -> None:
        """Nobody waits any more: the computation ends between two streams, blocks or windows."""
        self._left.set()
