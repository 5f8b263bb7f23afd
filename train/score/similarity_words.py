"""Phrases for the scale of similarity, in two halves that can judge each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfuser.cityscapes import CLASSES
from train.data.groups import LabelGroups
from train.texts import evaluation_phrases

ABSENT = evaluation_phrases.FILE.with_name("absent.txt")
KINDS = ("class", "synonym", "plural")  # of phrases that may be present


@dataclass(frozen=True)
class Words:
    """T phrases.

    Attributes:
        texts: the phrases.
        classes: train ids of each, none for what no street has.
        half: (T,) bool, every other phrase of each kind.
    """

    texts: tuple[str, ...]
    classes: tuple[frozenset[int], ...]
    half: np.ndarray

    @property
    def absent(self) -> np.ndarray:
        """(T,) bool: in no picture of a street."""
        return np.array([not ids for ids in self.classes])

    def wanted(self, groups: LabelGroups) -> np.ndarray:
        """Groups that a phrase names, (T, G) bool.

        A group that lumps classes together is named by its representative alone: a "vehicle" is mostly no bus.
        """
        return np.array([[one in ids for one in groups.representatives] for ids in self.classes])


def read_words() -> Words:
    """Class names, synonyms and plurals of `phrases.txt`, its objects, and `absent.txt`."""
    entries = [(name, frozenset([i])) for i, name in enumerate(CLASSES)]
    entries += [(p.text, p.classes) for p in evaluation_phrases.load() if p.kind in KINDS]
    nothing = [p.text for p in evaluation_phrases.load() if not p.classes]
    for line in ABSENT.read_text(encoding="utf-8").splitlines():
        nothing += [] if line.startswith("#") else [text.strip() for text in line.split(";")]
    every = [(text, ids) for part in (entries, [(t, frozenset()) for t in nothing]) for text, ids in part]
    alternate = [i % 2 == 0 for part in (entries, nothing) for i in range(len(part))]
    return Words(tuple(t for t, _ in every), tuple(ids for _, ids in every), np.array(alternate))
