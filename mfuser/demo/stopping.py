"""The end of the app: on Ctrl+C or a terminate signal, however often they come, in order and at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

from mfuser.demo.storage import Folder


class Stop:
    """What the signals ask for. Before `serving` is set they end the process at once, later `wait` returns.

    Args:
        folder: deleted on the way out; None for none.
    """

    def __init__(self, folder: Folder | None = None):
        self.folder, self.serving, self.asked = folder, False, False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        """Take over SIGINT and SIGTERM. Only the main thread may; elsewhere nothing happens."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._signal) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.folder is not None:
            self.folder.remove()

    def wait(self) -> None:
        """Until a signal asked to stop. (A sleep: a lock could be held by the very code that a signal interrupts.)"""
        while not self.asked:
            time.sleep(0.1)

    def leave(self, status: int) -> NoReturn:
        """Delete the folder and end the process. Threads that still compute are not waited for: a pass of the network
        takes up to a minute, and ending their libraries under them aborts the process."""
        if self.folder is not None:
            self.folder.remove()
        with suppress(Exception):  # a signal may have come in the middle of a print
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)

    def _signal(self, number: int, frame: object) -> None:
        if not self.serving:
            self.leave(128 + number)
        self.asked = True
