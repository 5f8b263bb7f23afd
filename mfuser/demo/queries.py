"""What a visitor asks: several texts, or a point of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mfuser.demo.refusals import Refusal
from mfuser.inference.analysis import Analysis

CHARACTERS = 400
TEXTS = 8
EMPTY = "The text query is empty: type what to look for, for example car, or click on the picture."


@dataclass(frozen=True)
class Query:
    """texts: what to look for, or point: (x, y) in 0..1 of width and height. note: what of it was left out."""

    texts: tuple[str, ...] = ()
    point: tuple[float, float] | None = None
    note: str = ""

    def argument(self, analysis: Analysis) -> list[str] | tuple[float, float]:
        """For `Analysis.similarity`: texts, or pixels (x, y)."""
        if self.point is None:
            return list(self.texts)
        height, width = analysis.size
        x, y = self.point
        return (min(x * width, width - 1e-3), min(y * height, height - 1e-3))


def from_text(text: str | None, is_cut: Callable[[str], bool] = lambda text: False) -> Query:
    """Texts separated by commas, without repeats. is_cut: does the text tower ignore the end of a text?

    Too long or too many texts are cut, and `note` says so. Raises Refusal when nothing is left.
    """
    text = " ".join((text or "").split())
    notes = []
    if len(text) > CHARACTERS:
        notes.append(f"The query has {len(text)} characters: only its first {CHARACTERS} are used.")
        text = text[:CHARACTERS]
    texts = list(dict.fromkeys(t for t in (part.strip() for part in text.split(",")) if t))
    if not texts:
        raise Refusal(EMPTY)
    if len(texts) > TEXTS:
        notes.append(f"{len(texts)} texts were given: only the first {TEXTS} are used.")
        texts = texts[:TEXTS]
    if any(is_cut(t) for t in texts):
        notes.append("A text is longer than the text tower reads: its end is ignored.")
    return Query(tuple(texts), note=" ".join(notes))


def from_point(x: float, y: float) -> Query:
    """A point in 0..1 of width and height. Raises Refusal for one outside."""
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise Refusal("The point is outside the picture: click on the picture itself.")
    return Query(point=(float(x), float(y)))
