"""The selective scan for CPUs, compiled by numba at the first call; values only, no gradients."""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger(__name__)

LOG2E = 1.4426950408889634
SMALL = 500_000  # values of u below which a second thread costs more than it brings
_lock = threading.Lock()


@lru_cache(maxsize=1)
def installed() -> bool:
    """True when numba is there; importing it is left to the first scan."""
    return importlib.util.find_spec("numba") is not None


@lru_cache(maxsize=1)
def ready() -> bool:
    """Import numba and compile the scan.

    Returns:
        False, with a warning, when numba is installed but refuses to work, for example beside a newer numpy.
    """
    try:
        function()
    except ImportError as error:
        logger.warning("numba cannot be used, so the scan runs in plain torch: %s", " ".join(str(error).split()))
        return False
    return True


def scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    states: Tensor | None = None,
) -> Tensor:
    """The scan for CPU tensors that need no gradient. Args and returns as `selective_scan`.

    It reads rows (batch, length, dim): u and delta cost no copy when they are transposes of such tensors in float32.

    Args:
        states: from `no_states`. They hold where the sequence before this one ended. They are changed in place to
            where this one ends.
    """
    run, dim = function(), u.shape[1]
    missing = -dim % 16

    def rows(x: Tensor) -> Tensor:
        """(batch, channels, length) -> (batch, length, channels), contiguous float32."""
        return x.detach().transpose(1, 2).float().contiguous()

    def channels(x: Tensor | None) -> Tensor:
        return F.pad(u.new_zeros(dim, dtype=torch.float32) if x is None else x.detach().float(), (0, missing))

    x, steps, b, c = rows(u), rows(delta), rows(B), rows(C)
    if missing:
        x, steps = F.pad(x, (0, missing)), F.pad(steps, (0, missing))
    batch, length, padded = x.shape
    a = F.pad(A.detach().float() * LOG2E, (0, 0, 0, missing))  # the kernel's exponential has base 2
    a = a.view(padded // 16, 16, -1).transpose(1, 2).contiguous()
    y, h = torch.empty_like(x), no_states(batch, dim, a.shape[1]) if states is None else states
    arrays = [t.numpy() for t in (x, steps, a, b, c, channels(D), channels(delta_bias))]

    def part(first: int, last: int) -> None:
        run(*arrays, delta_softplus, h.numpy(), y.numpy(), first, last)

    spread(part, len(h), 1 if x.numel() < SMALL else torch.get_num_threads())
    return y[..., :dim].transpose(1, 2).to(u.dtype)


def no_states(batch: int, dim: int, state: int) -> Tensor:
    """States of a sequence that has not begun: zeros, sixteen channels side by side.

    Args:
        batch: number of sequences.
        dim: number of channels.
        state: states per channel.

    Returns:
        (batch * dim / 16, state, 16) float32, dim rounded up to a multiple of 16.
    """
    return torch.zeros(batch * (dim + -dim % 16) // 16, state, 16)


def spread(part: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call part(first, last) over 0..count, in one equal part per thread. The first part runs right here.

    Args:
        part: takes the bounds of a range.
        count: end of the whole range.
        threads: most threads.
    """
    threads = min(threads, count)
    bounds = [count * i // threads for i in range(threads + 1)]
    others = [_pool(threads - 1).submit(part, *ends) for ends in zip(bounds[1:-1], bounds[2:], strict=True)]
    part(*bounds[:2])
    for other in others:
        other.result()


@lru_cache(maxsize=4)
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="scan")


def function() -> Callable[..., None]:
    """The compiled function; the first call in a process imports numba and compiles or reads its cache."""
    with _lock:
        return _function()


@lru_cache(maxsize=1)
def _function() -> Callable[..., None]:
    started = time.perf_counter()
    from mfuser.fusion.scan_kernels import vectorised

    compiled, where = _compile(vectorised.scan, vectorised.SIGNATURE)
    how = "read from" if from_cache(compiled) else "compiled into"
    logger.info("scan %s %s in %.1f s", how, where, time.perf_counter() - started)
    return compiled


def from_cache(function: Callable) -> bool:
    """True when numba read the function from its cache instead of compiling it."""
    return bool(sum(function.stats.cache_hits.values()))


def _compile(scan: Callable, signature: object) -> tuple[Callable, str]:
    """The compiled function and where its cache is: __pycache__ or the user's cache folder, as numba chooses, else a
    private folder for temporary files, else nowhere."""
    import numba

    options = {"nogil": True, "error_model": "numpy"}
    try:
        compiled = numba.njit(signature, cache=True, **options)(scan)
    except RuntimeError as error:  # numba's word for "none of these folders can be written"
        if "cannot cache" not in str(error):
            raise
        folder = private_folder()
        if folder is None:
            return numba.njit(signature, **options)(scan), "memory"
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
        try:
            compiled = numba.njit(signature, cache=True, **options)(scan)
        finally:
            numba.config.CACHE_DIR = before
    return compiled, compiled.stats.cache_path


def private_folder() -> Path | None:
    """A folder for temporary files that only this user can write, because what lies there is executed.

    Returns:
        Its path, or None when there is no such folder.
    """
    user = os.getuid() if hasattr(os, "getuid") else "own"
    folder = Path(tempfile.gettempdir()) / f"mfuser-numba-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return None
    foreign = hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022)
    return None if foreign or folder.is_symlink() else folder
