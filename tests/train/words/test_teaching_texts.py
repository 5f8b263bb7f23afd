"""Texts that teach: sorted into sources, never of the test nor of development, plurals by rule."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mfuser.cityscapes import CLASSES
from train.texts import evaluation_phrases, wordnet
from train.words import teaching_texts


@pytest.fixture
def small_sources(monkeypatch) -> None:
    """A few words instead of WordNet; "tarmac", "trucks" and "guitar" are phrases of the test."""
    nouns = {name: ("tarmac", "jalopy", "truck", *(f"{name} kind {i}" for i in "abcdefgh")) for name in CLASSES}
    nouns[wordnet.NOTHING] = ("teapot", "guitar", *(f"pot {i}" for i in "abcdefgh"))
    monkeypatch.setattr(wordnet, "nouns", lambda: nouns)
    monkeypatch.setattr(
        wordnet, "parts", lambda: {name: ("choke", "axle") if name == "car" else () for name in CLASSES}
    )
    told = {name: (f"a definition of a {name} ago", "a thing of mud") for name in CLASSES}
    monkeypatch.setattr(wordnet, "definitions", lambda: told)


def test_no_text_holds_a_phrase_of_the_test(small_sources):
    samples = teaching_texts.Sampler()(6000, random.Random(0))
    assert not [text for text, _ in samples if evaluation_phrases.holds_phrase(text)]
    labels = Counter(label for _, label in samples)
    assert (
        labels[teaching_texts.NOTHING] == pytest.approx(6000 * teaching_texts.SHARE, rel=0.15)
        and len(labels) == len(CLASSES) + 1
    )
    said = {text for text, _ in samples}
    assert any("jalopies" in text for text in said) and "a definition of a car ago" in said
    assert any(" of a " in text for text in said if "axle" in text or "choke" in text)


def test_with_every_word_the_phrases_teach_too(small_sources):
    every, some = teaching_texts.Sampler(every_word=True), teaching_texts.Sampler()
    said = {text for text, _ in every(6000, random.Random(0))}
    assert any(evaluation_phrases.holds_phrase(text) for text in said)
    known = [{text for text, _ in draw.known(9, random.Random(0))} for draw in (every, some)]
    assert {"tarmac", "truck"} <= known[0] and "tarmac" not in known[1]
    assert any(map(teaching_texts.is_development, every.nouns[0])) and not any(
        map(teaching_texts.is_development, some.nouns[0])
    )


def test_development_never_teaches(small_sources):
    kept = {p.text for p in teaching_texts.development()}
    assert (
        kept and all(map(teaching_texts.is_development, kept)) and not any(map(evaluation_phrases.holds_phrase, kept))
    )
    samples = teaching_texts.Sampler()
    taught = {t for of in (samples.nouns, samples.definitions, samples.parts) for each in of for t in each} | {
        *samples.rest
    }
    assert not kept & taught
    known = samples.known(3, random.Random(0))
    assert sum(label == teaching_texts.NOTHING for _, label in known) == 3 and not kept & {text for text, _ in known}


@pytest.mark.parametrize(
    ("one", "many"), [("car", "cars"), ("bus", "bus"), ("box", "boxes"), ("lorry", "lorries"), ("day", "days")]
)
def test_plurals(one, many):
    assert teaching_texts.plural(one) == many
