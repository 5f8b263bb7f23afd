"""The phrases of `evaluation_phrases.txt`, with which `python -m train words` scores, and the rule that keeps them out
of training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mfuser.cityscapes import CLASSES

FILE = Path(__file__).with_name("evaluation_phrases.txt")
NOTHING = "nothing"
KINDS = ("synonym", "plural", "adjective", "part", "region", "object")
_ARTICLES = re.compile(r"^(?:a|an|the) ")


@dataclass(frozen=True)
class Phrase:
    """A phrase to look for.

    Args:
        text: the phrase.
        kind: one of `KINDS`.
        classes: train ids that it should find; none for what is in no picture of a street.
    """

    text: str
    kind: str
    classes: frozenset[int]


@lru_cache(maxsize=1)
def load() -> tuple[Phrase, ...]:
    """All phrases of the file. Raises ValueError naming a line that cannot be read."""
    found: list[Phrase] = []
    for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        head, _, texts = line.partition(": ")
        kind, _, names = head.partition(" ")
        classes = names.split("|") if names != NOTHING else []
        if kind not in KINDS or not set(classes) <= set(CLASSES) or not texts or (kind == "object") == bool(classes):
            raise ValueError(f"Line {number} of {FILE.name} is no `KIND CLASSES: phrase; phrase`: {line!r}.")
        ids = frozenset(map(CLASSES.index, classes))
        found += [Phrase(text.strip(), kind, ids) for text in texts.split(";")]
    return tuple(found)


def normalise(text: str) -> str:
    """What makes texts the same: lower case, hyphens and white space as one space, no stop, no article in front."""
    plain = " ".join(text.lower().replace("-", " ").replace(".", " ").split())
    return _ARTICLES.sub("", plain)


@lru_cache(maxsize=1)
def held_out() -> frozenset[str]:
    """Normalised phrases, which no training text may be."""
    return frozenset(normalise(phrase.text) for phrase in load())


def holds_phrase(text: str) -> bool:
    """Is a phrase of the evaluation in this text, as whole words? "a photo of a skyscraper" teaches "skyscraper"."""
    words, held = normalise(text).split(), held_out()
    return any(" ".join(words[i:j]) in held for i in range(len(words)) for j in range(i + 1, len(words) + 1))
