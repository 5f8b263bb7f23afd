"""The bounded cache of results."""

from __future__ import annotations

import threading
import time

import pytest

from mfuser.demo.cache import Cache


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def cache(clock) -> Cache[bytes]:
    return Cache(len, lambda held: 10, seconds=100, clock=lambda: clock[0])


def test_least_recently_used_leaves_first(cache):
    for key in "abc":
        cache.get_or_make(key, lambda: b"xxx")
    cache.get("a")
    cache.get_or_make("d", lambda: b"xxx")
    assert [key in cache for key in "abcd"] == [True, False, True, True]
    assert cache.nbytes == 9


def test_pinned_leaves_last_and_the_newest_always_stays(cache):
    cache.pinned.add("example")
    cache.get_or_make("example", lambda: b"xxxx")
    cache.get_or_make("photo", lambda: b"xxxx")
    cache.get_or_make("other", lambda: b"xxxx")
    assert "example" in cache and "photo" not in cache
    cache.get_or_make("huge", lambda: b"x" * 50)
    assert "huge" in cache and len(cache) == 1


def test_unused_values_are_forgotten_after_their_time(cache, clock):
    cache.pinned.add("example")
    cache.get_or_make("example", lambda: b"x")
    cache.get_or_make("photo", lambda: b"x")
    clock[0] = 60
    assert cache.get("photo") == b"x"
    clock[0] = 159
    assert "photo" in cache
    clock[0] = 160
    assert cache.get("photo") is None and "example" in cache


def test_forgets_without_being_asked():
    cache = Cache(len, lambda held: 10, seconds=0.05)
    cache.get_or_make("photo", lambda: b"x")
    deadline = time.monotonic() + 5
    while cache._kept and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not cache._kept


def test_two_visitors_at_once_cost_one_pass(cache):
    made, inside = [], threading.Event()

    def slow() -> bytes:
        inside.wait(1)
        made.append(1)
        return b"x"

    threads = [threading.Thread(target=cache.get_or_make, args=("a", slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    inside.set()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_failure_is_passed_on_and_not_kept(cache):
    with pytest.raises(ValueError, match="broken"):
        cache.get_or_make("a", lambda: (_ for _ in ()).throw(ValueError("broken")))
    assert cache.get_or_make("a", lambda: b"x") == b"x"
