"""Commands of this program in processes of their own: their words are kept, and they end when we are asked to."""

from __future__ import annotations

import codecs
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LAUNCH: tuple[str, ...] = (sys.executable, "-m", "train")
ENDS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

REPEATED = ("data", "val", "photographs")  # options that are given once for each value

_running: set[subprocess.Popen] = set()


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
        for process in list(_running):
            process.terminate()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
