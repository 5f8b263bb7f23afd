"""Texts that teach the text tower, with the class that they name. For weights that `words` is to score, none holds a
phrase of the evaluation."""

from __future__ import annotations

import hashlib
import random

from mfuser.cityscapes import CLASSES
from train.texts import phrases, wordnet
from train.texts.evaluation_phrases import Phrase, holds_phrase, normalise

NOTHING = len(CLASSES)  # label of texts that name nothing of a street
SHARE = 0.4  # of such texts in a batch
TEMPLATES = (*("{}",) * 6, "a {}", "the {}", *phrases.TEMPLATES)
# How often a class's text is a street phrase, a noun, a definition, a part.
SOURCES = (0.4, 0.35, 0.1, 0.15)
FOLDS = 5  # one in so many of WordNet's texts is left out: recipes are chosen by them, not by the evaluation's phrases
MOST = 24  # texts of one class and kind in that choice
Sample = tuple[str, int]


class Sampler:
    """Draws texts with the class that they name, or `NOTHING`.

    Args:
        every_word: also those that hold a phrase of the evaluation or are of the development ones.
    """

    def __init__(self, every_word: bool = False) -> None:
        self.every_word = every_word
        sources = wordnet.nouns(), wordnet.definitions(), wordnet.parts()
        self.street = [list(phrases.CLASS_PHRASES[name]) for name in CLASSES]
        self.nouns, self.definitions, self.parts = ([self._kept(of[name]) for name in CLASSES] for of in sources)
        self.rest = self._kept(sources[0][wordnet.NOTHING])

    def _kept(self, texts: tuple[str, ...]) -> list[str]:
        return [text for text in texts if self.every_word or not is_development(text)]

    def __call__(self, count: int, rng: random.Random) -> list[Sample]:
        """Draw `count` texts."""
        found: list[Sample] = []
        while len(found) < count:
            sample = self._draw(rng)
            if self.may_teach(sample[0]):  # after dressing: a template around a phrase would teach it, too
                found.append(sample)
        return found

    def _draw(self, rng: random.Random) -> Sample:
        if rng.random() < SHARE:
            return dress(rng.choice(self.rest), rng), NOTHING
        label = rng.randrange(len(CLASSES))
        street, nouns, definitions, parts = (
            of[label] for of in (self.street, self.nouns, self.definitions, self.parts)
        )
        chosen = rng.choices((street, nouns, definitions, parts), SOURCES)[0] or street
        if chosen is definitions:
            return rng.choice(definitions), label
        if chosen is parts and rng.random() < 0.5:
            return f"{rng.choice(parts)} of a {rng.choice(street)}", label
        return dress(rng.choice(chosen), rng), label

    def known(self, rest: int, rng: random.Random) -> list[Sample]:
        """Every street phrase, noun and part as it is, and `rest` nouns that name nothing."""
        labels, sources = range(len(CLASSES)), (self.street, self.nouns, self.parts)
        found = [(text, label) for label in labels for of in sources for text in of[label]]
        found += [(text, NOTHING) for text in rng.sample(self.rest, min(rest, len(self.rest)))]
        return [sample for sample in found if self.may_teach(sample[0])]

    def may_teach(self, text: str) -> bool:
        """True for a text without a phrase of the evaluation; with `every_word` for all."""
        return self.every_word or not holds_phrase(text)


def is_development(text: str) -> bool:
    """Does `teach` leave this text out? By a hash of the text, so that it stays when others come or go."""
    return int(hashlib.sha256(normalise(text).encode()).hexdigest(), 16) % FOLDS == 0


def development() -> tuple[Phrase, ...]:
    """Phrases by rule for choosing recipes: nouns, parts and definitions of each class that `teach` leaves out.

    Kinds: synonym, part, region (a definition) and object. None is of the evaluation, nor holds one of its phrases.
    """
    rng, found = random.Random(0), {}

    def choose(texts: tuple[str, ...], most: int) -> list[str]:
        kept = [t for t in texts if is_development(t) and not holds_phrase(t)]
        return rng.sample(kept, min(most, len(kept)))

    for kind, of in (("synonym", wordnet.nouns()), ("part", wordnet.parts()), ("region", wordnet.definitions())):
        for label, name in enumerate(CLASSES):
            for text in choose(of[name], MOST):
                found.setdefault((text, kind), set()).add(label)
    objects = [Phrase(t, "object", frozenset()) for t in choose(wordnet.nouns()[wordnet.NOTHING], 5 * MOST)]
    return *(Phrase(text, kind, frozenset(ids)) for (text, kind), ids in found.items()), *objects


def dress(noun: str, rng: random.Random) -> str:
    """A noun as it is, or in the plural, after an adjective, in a template."""
    if rng.random() < 0.25:
        noun = plural(noun)
    if rng.random() < 0.25:
        noun = f"{rng.choice(phrases.ADJECTIVES)} {noun}"
    return rng.choice(TEMPLATES).format(noun)


def plural(noun: str) -> str:
    """The regular plural of an English noun; of one that ends in "s", the noun itself."""
    if noun.endswith("s"):
        return noun
    if noun.endswith(("x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return noun[:-1] + "ies"
    return noun + "s"
