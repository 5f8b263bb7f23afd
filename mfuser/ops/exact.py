"""The switch from a CPU's fast paths to torch's own operators.

Fast and plain compute the same function and differ in rounding: oneDNN's products sum in another order than torch's
(`mfuser.ops.linear`), and the compiled scan has an exponential of its own (`mfuser.fusion.scan_kernels.compiled`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_plain: ContextVar[bool] = ContextVar("plain torch", default=False)


@contextmanager
def plain_torch() -> Iterator[None]:
    """While open, in this thread: products by torch's `linear`, and the chunked scan where the compiled one is valid.

    For comparisons with values that torch computed; slower.
    """
    before = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(before)


def plain() -> bool:
    """True inside `plain_torch`."""
    return _plain.get()
