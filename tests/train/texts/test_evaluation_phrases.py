"""The phrases of the evaluation: enough of them, of known classes, and none that training knows."""

from __future__ import annotations

from collections import Counter

import pytest

from mfuser.cityscapes import CLASSES
from train.texts import evaluation_phrases, phrases, wordnet


@pytest.fixture
def corpus(monkeypatch) -> list[str]:
    """All training texts of the text stage; WordNet, which need not be installed, is a few of its texts."""
    monkeypatch.setattr(wordnet, "texts", lambda: ["he parked on the tarmac", "a skyscraper", "an inn for horses"])
    return phrases.corpus()


def test_there_are_enough_and_none_twice():
    found = evaluation_phrases.load()
    texts = [evaluation_phrases.normalise(p.text) for p in found]
    assert len(found) >= 220 and [t for t, n in Counter(texts).items() if n > 1] == []
    assert sum(" " in t for t in texts) >= 70
    counts = Counter(p.kind for p in found)
    assert set(counts) == set(evaluation_phrases.KINDS) and counts["synonym"] >= 100 and counts["object"] >= 50
    assert set().union(*(p.classes for p in found)) == set(range(len(CLASSES))), "every class is asked for"
    assert all((p.kind == "object") == (not p.classes) for p in found)


def test_no_training_text_holds_one(corpus):
    taught = [*corpus, *phrases.imagenet_names(), *(p for texts in phrases.CLASS_PHRASES.values() for p in texts)]
    assert not [text for text in taught if evaluation_phrases.holds_phrase(text)]
    assert len(corpus) > 40_000 and {"windshield", "an inn for horses", "red tree"} <= set(corpus)
    assert phrases.corpus(limit=9) == corpus[:9]


@pytest.mark.parametrize(
    ("text", "same"),
    [("A Tram-Car", "tram car"), ("the  sky.", "sky"), ("another car", "another car"), ("an ox", "ox")],
)
def test_spelling_makes_no_other_phrase(text, same):
    assert evaluation_phrases.normalise(text) == same


def test_a_phrase_inside_a_text_is_found_as_whole_words():
    assert evaluation_phrases.holds_phrase("a photo of a Skyscraper") and evaluation_phrases.holds_phrase(
        "old pine tree"
    )
    assert evaluation_phrases.holds_phrase("the pine-tree beside a tent") and not evaluation_phrases.holds_phrase(
        "the pine table"
    )
    assert not evaluation_phrases.holds_phrase("autos") and not evaluation_phrases.holds_phrase("")


def test_a_faulty_line_is_named(tmp_path, monkeypatch):
    for line in ("synonym lamp: light", "synonym road", "object road: sofa", "word road: street", "synonym nothing: x"):
        (tmp_path / "evaluation_phrases.txt").write_text(f"# title\n{line}\n")
        monkeypatch.setattr(evaluation_phrases, "FILE", tmp_path / "evaluation_phrases.txt")
        evaluation_phrases.load.cache_clear()
        with pytest.raises(ValueError, match="Line 2 of evaluation_phrases.txt"):
            evaluation_phrases.load()
    monkeypatch.undo()
    evaluation_phrases.load.cache_clear()
