"""Texts that teach the text tower: ImageNet's lemmas and definitions, and phrases of the street."""

from __future__ import annotations

import random
from collections.abc import Sequence

from timm.data import ImageNetInfo

from train.texts import wordnet
from train.texts.evaluation_phrases import holds_phrase

# Training phrases of each Cityscapes class. The first is the class name itself. None holds a phrase of the evaluation.
CLASS_PHRASES: dict[str, tuple[str, ...]] = {
    "road": ("road", "street", "roadway", "lane", "the road surface"),
    "sidewalk": ("sidewalk", "footpath", "walkway"),
    "building": ("building", "house", "facade", "office building", "houses"),
    "wall": ("wall", "brick wall", "stone wall", "retaining wall"),
    "fence": ("fence", "railing", "iron fence", "guard rail", "fence posts"),
    "pole": ("pole", "lamp post", "column", "post"),
    "traffic light": ("traffic light", "traffic signal", "stoplight"),
    "traffic sign": ("traffic sign", "road sign", "street sign", "stop sign", "sign board"),
    "vegetation": ("vegetation", "tree", "trees", "bushes", "hedge", "leaves"),
    "terrain": ("terrain", "grass", "lawn", "soil", "ground beside the road"),
    "sky": ("sky", "cloudy sky", "blue sky", "clouds"),
    "person": ("person", "pedestrian", "woman", "child", "people"),
    "rider": ("rider", "cyclist", "person riding a bike", "bicyclist", "motorcyclist"),
    "car": ("car", "cars", "parked car", "sedan", "passenger car", "hatchback"),
    "truck": ("truck", "delivery truck", "heavy goods vehicle", "pickup truck"),
    "bus": ("bus", "city bus", "coach", "double-decker bus"),
    "train": ("train", "tram", "railway carriage", "locomotive"),
    "motorcycle": ("motorcycle", "motorbike", "scooter", "moped"),
    "bicycle": ("bicycle", "bike", "parked bicycle", "push bike"),
}
ADJECTIVES = (
    "red blue white black grey green yellow old new small large parked moving distant wet dirty bright dark tall wide "
    "narrow empty crowded broken wooden metal stone modern"
).split()
TEMPLATES = (
    "{}",
    "a photo of a {}",
    "a picture of the {}",
    "{} in the street",
    "{} beside the road",
    "a {} seen from a car",
    "there is a {} in the scene",
    "a street with a {}",
)
_WORDS = """
    windscreen wheel tyre headlight door window roof balcony chimney branch bench bin mailbox bollard barrier kerb
    crosswalk manhole puddle shadow bridge tunnel billboard umbrella pram dog horse cat bird backpack handbag
    suitcase helmet crane excavator trailer caravan ambulance taxi van minibus tractor river hill mountain field
"""
_EXTRA = (
    *_WORDS.split(),
    "number plate",
    "trunk of a tree",
    "lane marking",
    "parking lot",
    "petrol station",
    "construction site",
    "police car",
    "fire engine",
)


def imagenet_names() -> list[str]:
    """A name of each of ImageNet-1k's 1000 classes, in classifier order.

    It is the first lemma that holds no phrase of the evaluation, or what is left of the first without their words.
    """
    info = ImageNetInfo()
    return [clean_name(info.index_to_description(i).split(", ")) for i in range(info.num_classes())]


def clean_name(lemmas: Sequence[str]) -> str:
    """ "king penguin, Aptenodytes patagonica" -> the second; "electric guitar" -> "electric"."""
    clean = [lemma for lemma in lemmas if not holds_phrase(lemma)]
    return clean[0] if clean else " ".join(w for w in lemmas[0].split() if not holds_phrase(w))


def imagenet_lemmas() -> list[str]:
    """Every lemma of ImageNet-21k's classes, class after class, with repeats."""
    info = ImageNetInfo("imagenet21k")
    described = (info.index_to_description(i, detailed=True).partition(": ")[0] for i in range(info.num_classes()))
    return [lemma.strip() for lemmas in described for lemma in lemmas.split(",")]


def corpus(limit: int = 0) -> list[str]:
    """Distinct training texts; none holds a phrase of the evaluation.

    All street phrases come first, then, shuffled, the lemmas and definitions of ImageNet's classes and WordNet's nouns,
    definitions and examples.

    Args:
        limit: texts at most, 0 for all.

    Raises:
        ValueError: WordNet is not installed.
    """
    nouns = [*(p for phrases in CLASS_PHRASES.values() for p in phrases), *_EXTRA]
    street = [template.format(noun) for noun in nouns for template in TEMPLATES]
    street += [f"{adjective} {noun}" for noun in nouns for adjective in ADJECTIVES]
    info = ImageNetInfo("imagenet21k")
    general = [*imagenet_names(), *imagenet_lemmas(), *wordnet.texts()]
    general += [info.index_to_description(i, detailed=True).partition(": ")[2][:100] for i in range(info.num_classes())]
    rest = sorted(set(general) - set(street) - {""})
    random.Random(0).shuffle(rest)
    texts = [text for text in (*dict.fromkeys(street), *rest) if not holds_phrase(text)]
    return texts[:limit] if limit else texts
