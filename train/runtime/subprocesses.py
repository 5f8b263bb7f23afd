"""Commands of this program in processes of their own: their words are kept, and they end when we are asked to."""

from __future__ import annotations

import codecs
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LAUNCH: tuple[str, ...] = (sys.executable, "-m", "train")
ENDS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

REPEATED = ("data", "val", "photographs")  # options that are given once for each value

_running: set[subprocess.Popen] = set()
_ending = threading.Event()  # asked to end: one that starts just then ends at once


class Places:
    """What children that run at the same time take turns on: as many places as children, spread over all GPUs.

    gpus: whether they use GPUs of our choice at all.
    """

    def __init__(self, parallel: int, gpus: bool):
        self._free: queue.Queue[str | None] = queue.Queue()
        names = visible_gpus() if gpus else []
        for number in range(parallel):
            self._free.put(names[number % len(names)] if len(names) > 1 else None)

    @contextmanager
    def take(self) -> Iterator[dict[str, str]]:
        """Wait for a place. Gives the variables with which a child sees that place's GPU alone."""
        place = self._free.get()
        try:
            yield {} if place is None else {"CUDA_VISIBLE_DEVICES": place}
        finally:
            self._free.put(place)


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that this process may use."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] if named else [str(number) for number in range(count)]


@contextmanager
def ending_all() -> Iterator[None]:
    """When this process is asked to end, or fails, its children save and end as well."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, stop) for number in ENDS} if main_thread else {}
    try:
        yield
    except BaseException:
        _end_all()
        raise
    finally:
        _ending.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def side_by_side(parallel: int) -> Iterator[ThreadPoolExecutor]:
    """Threads of which each may run a child. When this process is asked to end, or one of them fails, all children save
    and end, also one that a thread starts just then; what they leave is there when this is over."""
    with ending_all(), ThreadPoolExecutor(max(1, parallel)) as pool:
        try:
            yield pool
        except BaseException:
            _end_all()  # before the pool waits for its threads
            raise


def _end_all() -> None:
    _ending.set()
    for process in list(_running):
        process.terminate()


def run_child(
    what: str, command: Sequence[str], log: Path, show: bool = False, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command to its end. Its words go to `log`, and with `show` to the screen as well.

    Raises ValueError, naming `what` with the last words, when it ends with another code than 0.
    """
    # A session of its own: Ctrl-C reaches it through us alone, and a second signal would not let it save.
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    process = subprocess.Popen(command, **streams, env=environment, start_new_session=True)
    _running.add(process)
    if _ending.is_set():
        process.terminate()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        with log.open("w", encoding="utf-8") as file:
            while chunk := process.stdout.read1(65536):
                words = decoder.decode(chunk)
                for target in (file, sys.stdout) if show else (file,):
                    target.write(words)
                    target.flush()
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        process.stdout.close()
        _running.discard(process)
    if code:
        raise ValueError(f"{what} ended with code {code}: {last_words(log) or 'it said nothing.'}")


def last_words(log: Path) -> str:
    """The last line of a log that says anything; progress bars overwrite their line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8").replace("\r", "\n").splitlines()]
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
