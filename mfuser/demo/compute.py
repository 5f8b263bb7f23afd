"""The one place that runs networks: on this machine, or on a GPU lent per call where the `spaces` package is there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from mfuser.inference.analysis import Analysis
from mfuser.inference.segmenter import Segmenter

# By preset name. A lent GPU runs its function in a forked process, which sees what is here but is sent only arguments.
SEGMENTERS: dict[str, Segmenter] = {}
LENT = importlib.util.find_spec("spaces") is not None  # a GPU only during a request: nothing can be computed ahead
GPU_SECONDS = {"single": 20, "sliding": 90}

# All networks run in this thread. OpenMP keeps a team of threads for every thread that ever computed; with more of them
# than cores they no longer spin between two operations but sleep, and waking up took a third of an analysis.
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="compute")
T = TypeVar("T")


def alone(function: Callable[..., T], *arguments: object) -> T:
    """function(*arguments), run in the one thread that computes. Raises what it raises."""
    return function(*arguments) if LENT else _THREAD.submit(function, *arguments).result()


def gpu(duration: Callable[..., int]) -> Callable[[Callable], Callable]:
    """Decorator: `spaces.GPU(duration=...)` where that package is installed, nothing elsewhere."""
    if not LENT:
        return lambda function: function
    import spaces

    return spaces.GPU(duration=duration)


def _seconds(
    preset: str, picture: np.ndarray, windows: str, resolution: int | None, classes: tuple[str, ...] | None = None
) -> int:
    return GPU_SECONDS[windows]


@gpu(_seconds)
def run(
    preset: str, picture: np.ndarray, windows: str, resolution: int | None, classes: tuple[str, ...] | None = None
) -> Analysis:
    """Analyse (H, W, 3) uint8 RGB with the registered model of a preset. Raises what `Segmenter.analyse` raises."""
    return SEGMENTERS[preset].analyse(picture, windows=windows, resolution=resolution, classes=classes)


def analyse(
    preset: str,
    picture: np.ndarray,
    windows: str = "single",
    resolution: int | None = None,
    classes: tuple[str, ...] | None = None,
) -> Analysis:
    """`run`, with the text tower of this process bound again: a result from another process comes without one."""
    analysis = alone(run, preset, picture, windows, resolution, classes)

    def encode_text(texts: Sequence[str], stream: str) -> np.ndarray:
        return alone(SEGMENTERS[preset].encode_text, texts, stream)

    analysis.encode_text = encode_text
    return analysis
