"""Results kept for a while: bounded in memory and in time, so that nothing of a visitor stays for ever."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
SECONDS = 3600.0  # after its last use; the privacy line on the page states it


@dataclass
class _Kept(Generic[T]):
    value: T
    used: float


class Cache(Generic[T]):
    """Least recently used goes first when the limit is exceeded; anything unused for `seconds` goes anyway.

    Pinned keys (the bundled examples) leave only to make room. Safe to use from several threads.

    Args:
        size: bytes of a value. They are counted anew at every use, as a value may grow while it is kept.
        limit: bytes held now -> bytes that may be held.
        seconds: age after the last use at which a value goes.
        least: values, the latest used, that stay whatever their size.
        clock: seconds, for tests.
        forget: called with `seconds` whenever values may have gone by age, for what is kept beside them.
    """

    def __init__(
        self,
        size: Callable[[T], int],
        limit: Callable[[int], int],
        seconds: float = SECONDS,
        least: int = 1,
        clock: Callable[[], float] = time.monotonic,
        forget: Callable[[float], None] = lambda seconds: None,
    ):
        self.size, self.limit, self.seconds, self.least, self.clock = size, limit, seconds, least, clock
        self.forget = forget
        self.pinned: set[Hashable] = set()
        self._kept: OrderedDict[Hashable, _Kept[T]] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}  # one for each key: different values may be made side by side
        self._timer: threading.Timer | None = None

    def get(self, key: Hashable) -> T | None:
        """The value, now the most recently used one; None when it is not (or no longer) here."""
        with self._lock:
            self._purge()
            kept = self._kept.get(key)
            if kept is None:
                return None
            kept.used = self.clock()
            self._kept.move_to_end(key)
            self._fit()
            return kept.value

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value, made at most once even when two visitors ask at the same time. What `make` raises is passed on."""
        value = self.get(key)
        if value is None:
            with self._lock:
                making = self._making.setdefault(key, threading.Lock())
            with making:
                value = self.get(key)
                if value is None:
                    try:
                        value = make()
                        self._put(key, value)
                    finally:
                        with self._lock:
                            self._making.pop(key, None)
        return value

    def shrink(self) -> None:
        """Drop what the limit no longer allows."""
        with self._lock:
            self._fit()

    @property
    def nbytes(self) -> int:
        """Memory that the kept values take, with what they gathered since."""
        with self._lock:
            return self._held()

    def __len__(self) -> int:
        with self._lock:
            self._purge()
            return len(self._kept)

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            self._purge()
            return key in self._kept

    def _put(self, key: Hashable, value: T) -> None:
        with self._lock:
            self._kept[key] = _Kept(value, self.clock())
            self._purge()
            self._fit()
            self._schedule()

    def _held(self) -> int:
        return sum(self.size(kept.value) for kept in self._kept.values())

    def _fit(self) -> None:
        held = self._held()
        limit = self.limit(held)
        # Unpinned ones first, oldest first; the latest stay, or nothing large could ever be shown.
        for old in sorted(list(self._kept)[: -self.least], key=lambda k: k in self.pinned):
            if held <= limit:
                break
            held -= self.size(self._kept.pop(old).value)

    def _purge(self) -> None:
        limit = self.clock() - self.seconds
        for key in [k for k, kept in self._kept.items() if kept.used <= limit and k not in self.pinned]:
            del self._kept[key]

    def _schedule(self) -> None:
        """Purge without a visitor, too: otherwise the last picture of the day would stay until the next visit."""
        if self._timer is None and any(key not in self.pinned for key in self._kept):
            self._timer = threading.Timer(min(60.0, self.seconds), self._tick)
            self._timer.daemon = True
            self._timer.start()

    def _tick(self) -> None:
        self.forget(self.seconds)
        with self._lock:
            self._timer = None
            self._purge()
            self._schedule()
