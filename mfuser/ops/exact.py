"""The switch from a CPU's fast paths to torch's own operators.

Fast and plain paths compute the same function and round differently. oneDNN's products sum in another order than
torch's (`mfuser.ops.linear`). The compiled scan has an exponential of its own (`mfuser.fusion.scan_kernels.compiled`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_plain: ContextVar[bool] = ContextVar("plain torch", default=False)


@contextmanager
def plain_torch() -> Iterator[None]:
    """While open, in this thread: torch's own `linear` runs, and the chunked scan in place of the compiled one.

    It serves comparisons with values that torch computed. It is slower.
    """
    before = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(before)


def plain() -> bool:
    """True inside `plain_torch`."""
    return _plain.get()
