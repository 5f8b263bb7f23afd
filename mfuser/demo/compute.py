"""The one place that runs networks: on this machine, or on a GPU lent per call where the `spaces` package is there."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from mfuser.demo.refusals import Refusal
from mfuser.inference.analysis import Analysis
from mfuser.inference.segmenter import Segmenter

# By preset name. A lent GPU runs its function in a forked process, which sees what is here but is sent only arguments.
SEGMENTERS: dict[str, Segmenter] = {}
LENT = importlib.util.find_spec("spaces") is not None  # a GPU only during a request: nothing can be computed ahead
GPU_SECONDS = {"single": 20, "sliding": 90}

NICE = 5  # more than that of the process, for passes: where all cores are busy, a text goes first, which takes 30 ms


def _polite() -> None:
    if sys.platform == "linux":  # where threads have a niceness of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + NICE)


# All passes run in this thread. OpenMP keeps a team of threads for every thread that ever computed; with more of them
# than cores they no longer spin between two operations but sleep, and waking up took a third of an analysis.
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="compute", initializer=_polite)
POLL = 0.25  # seconds between two looks whether somebody left
T = TypeVar("T")


def _single() -> None:
    """Let OpenMP start no team for this thread."""
    torch.get_num_threads()  # torch sets its own number at a thread's first use: before ours
    threadpool_limits(1, user_api="openmp")


# Texts of queries have a lane of their own: one thread without a team, so that none waits for a pass.
_TEXTS = ThreadPoolExecutor(1, thread_name_prefix="texts", initializer=_single)


class Cancelled(Refusal):  # noqa: N818  nothing went wrong
    """The visitor for whom a computation ran cancelled it, or left."""


@dataclass(frozen=True)
class Watch:
    """Whoever waits for an analysis.

    Attributes:
        hear: called with each stream that is ready.
        gone: does nobody wait any more?
    """

    hear: Callable[[str], None] = lambda stream: None
    gone: Callable[[], bool] = lambda: False

    def check(self) -> None:
        """Raise Cancelled when nobody waits."""
        if self.gone():
            raise Cancelled("This was cancelled: choose the picture again to run it.")


_NOBODY = Watch()
WATCH: ContextVar[Watch] = ContextVar("watch", default=_NOBODY)  # of the request that this code runs for


def alone(function: Callable[..., T], *arguments: object) -> T:
    """function(*arguments), run in the one thread that computes.

    Raises:
        Cancelled: its turn had not come when nobody waited any more.
        Exception: what the function raises.
    """
    if LENT:
        return function(*arguments)
    watch, future = WATCH.get(), _THREAD.submit(function, *arguments)
    while not wait([future], POLL).done:
        if watch.gone() and future.cancel():
            watch.check()
    return future.result()


def texts(function: Callable[..., T], *arguments: object) -> T:
    """function(*arguments), run in the lane of texts. Raises what it raises."""
    return function(*arguments) if LENT else _TEXTS.submit(function, *arguments).result()


def gpu(duration: Callable[..., int]) -> Callable[[Callable], Callable]:
    """Decorator: `spaces.GPU(duration=...)` where that package is installed, nothing elsewhere."""
    if not LENT:
        return lambda function: function
    import spaces

    return spaces.GPU(duration=duration)


def _seconds(preset: str, picture: np.ndarray, windows: str, *others: object) -> int:
    return GPU_SECONDS[windows]


@gpu(_seconds)
def run(
    preset: str,
    picture: np.ndarray,
    windows: str,
    resolution: int | None,
    classes: tuple[str, ...] | None = None,
    layers: bool = False,
) -> Analysis:
    """`Segmenter.analyse` of the registered model of a preset; the picture is (H, W, 3) uint8 RGB."""
    return SEGMENTERS[preset].analyse(picture, windows, resolution, classes, layers)


def steps(segmenter: Segmenter, watch: Watch, *arguments: Any) -> Analysis:
    """`Segmenter.analyse` that says which stream is ready, and stops when nobody waits any more.

    Args:
        segmenter: of the model.
        watch: who waits.
        *arguments: as for `Segmenter.analyse`.

    Raises:
        Cancelled: nobody waits.
        ValueError: what `Segmenter.analyse` raises.
    """
    watch.check()
    for step in segmenter.steps(*arguments, check=watch.check):
        watch.hear(step.stream)
        if step.analysis is None:
            watch.check()
    return step.analysis


def analyse(
    preset: str,
    picture: np.ndarray,
    windows: str = "single",
    resolution: int | None = None,
    classes: tuple[str, ...] | None = None,
    layers: bool = False,
) -> Analysis:
    """Analyse a picture for the request that this code runs for, see `WATCH`.

    Args:
        preset: whose model is registered in `SEGMENTERS`.
        picture: (H, W, 3) uint8 RGB.
        windows, resolution, classes, layers: as for `Segmenter.analyse`.

    Returns:
        The analysis; its texts are encoded in their own lane.

    Raises:
        Cancelled: nobody waits any more.
        ValueError: what `Segmenter.analyse` raises.
    """
    arguments = (picture, windows, resolution, classes, layers)
    segmenter = SEGMENTERS[preset]
    analysis = alone(run, preset, *arguments) if LENT else alone(steps, segmenter, WATCH.get(), *arguments)
    # Also a result from another process, which comes without a text tower.
    analysis.encode_text = partial(texts, segmenter.encode_text)
    return analysis
