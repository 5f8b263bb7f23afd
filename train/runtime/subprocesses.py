"""Commands of this program in processes of their own, which save and end when this process is asked to end."""

from __future__ import annotations

import codecs
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from types import FrameType
from typing import Any

import torch

LAUNCH: tuple[str, ...] = (sys.executable, "-m", "train")
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
REPEATED = ("data", "val", "photographs")  # options that are given once for each value


class Subprocesses(ThreadPoolExecutor):
    """Context of threads of which each may run a command in a process of its own.

    When it is left by Ctrl-C, SIGTERM, SIGHUP or an error, every process gets one SIGTERM, saves and ends, before
    anything else happens. Meanwhile further SIGTERM and SIGHUP change nothing; a second Ctrl-C ends them unsaved.

    Args:
        parallel: largest number of commands at the same time; what a single one prints is shown on the screen too.
        gpus: whether each command sees one GPU, in turn, where this process may use several.
    """

    def __init__(self, parallel: int = 1, gpus: bool = False):
        super().__init__(parallel)
        names = visible_gpus() if gpus else []
        self._gpus: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        for number in range(parallel):
            self._gpus.put({"CUDA_VISIBLE_DEVICES": names[number % len(names)]} if len(names) > 1 else {})
        self._show = parallel == 1
        self._running: set[subprocess.Popen] = set()
        self._ending = False

    def __enter__(self) -> Subprocesses:
        main_thread = threading.current_thread() is threading.main_thread()  # only there can handlers be set
        self._before = {number: signal.signal(number, self._stop) for number in SIGNALS} if main_thread else {}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        try:
            if error is not None:
                self._ending = True
                self._terminate()
            self.shutdown(cancel_futures=error is not None)
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self._ending:
            self._ending = True
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            self._terminate()

    def _terminate(self) -> None:
        for process in list(self._running):
            process.terminate()

    def in_order(self, follows: Mapping[str, Sequence[str]], work: Callable[[str], None]) -> None:
        """Do the work of every name in one of the threads, each when that of the names that it follows is done."""
        sorter = TopologicalSorter({name: set(before) & follows.keys() for name, before in follows.items()})
        sorter.prepare()
        running: dict[Future[None], str] = {}
        while sorter.is_active():
            running |= {self.submit(work, name): name for name in sorter.get_ready()}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                sorter.done(running.pop(future))

    def run(self, what: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Run a command to its end, in one of the threads.

        Args:
            what: what the command is called when it fails.
            command: program and arguments.
            log: file of everything that it prints.
            environment: variables to set, besides those of this process.

        Raises:
            ValueError: it ended with another code than 0; the message has `what` and the last line of the log.
        """
        gpu = self._gpus.get()
        # A session of its own: Ctrl-C reaches it through us alone, and a second signal would not let it save.
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        variables = {**os.environ, **(environment or {}), **gpu}
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        try:
            with subprocess.Popen(command, **streams, env=variables, start_new_session=True) as process:
                self._running.add(process)
                if self._ending:
                    process.terminate()
                with log.open("wb", buffering=0) as file:
                    while chunk := process.stdout.read1():
                        file.write(chunk)
                        if self._show:
                            print(decode(chunk), end="", flush=True)
            self._running.discard(process)
        finally:
            self._gpus.put(gpu)
        if process.returncode:
            raise ValueError(f"{what} ended with code {process.returncode}: {last_line(log) or 'it printed nothing.'}")


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that this process may use."""
    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] if named else [str(number) for number in range(count)]


def last_line(log: Path) -> str:
    """The last line of a log that is not empty; progress bars overwrite their line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def options(name: str, value: Any) -> Iterator[str]:
    """A setting as words of a command line."""
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        yield flag if value else flag.replace("--", "--no-", 1)
    elif isinstance(value, list | tuple) and name in REPEATED:
        yield from (word for one in value for word in (flag, one))
    else:
        yield flag
        yield from map(str, value if isinstance(value, list | tuple) else (value,))
