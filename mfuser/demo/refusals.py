"""Errors whose sentence a visitor may read. Everything else is a fault of ours: its text stays in the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mfuser.hub import MissingError
from mfuser.images import ImageError
from mfuser.stage.truth import TruthError
from mfuser.weights.files import WeightsError


class Refusal(ValueError):
    """Something that was asked for and cannot be done; the message is one sentence for the person who asked."""


OWN = (Refusal, ImageError, TruthError, WeightsError, MissingError)


@contextmanager
def refusals() -> Iterator[None]:
    """Around the checks of what a visitor chose: a ValueError of theirs becomes a Refusal.

    It never goes around a computation, whose ValueErrors are faults of ours.

    Raises:
        Refusal: for any ValueError raised inside, with the same sentence.
    """
    try:
        yield
    except OWN:
        raise
    except ValueError as error:
        raise Refusal(str(error)) from error
