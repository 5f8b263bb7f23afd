"""The recipe of the built-in weights, in one table: what `python -m train reproduce-nano` runs, with which settings.

Every entry of `RECIPE` is an option of the stage's own command, so `python -m train fit --help` explains them; what is
not named there keeps that command's default. To change the recipe, change this table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mfuser.config import STREAMS

# Sets that get labels of each stream's own, and the short sides at which it sees their pictures; 0: the preset's.
PSEUDO: dict[str, tuple[int, ...]] = {"camvid": (0,), "idd": (0,), "dawn": (0, 512)}

# Stage -> the command that it runs.
COMMAND_OF = {
    "pretrain-text": "pretrain",
    "pretrain-vlm": "pretrain",
    "pretrain-vfm": "pretrain",
    "fit-fused": "fit",
    "fit-vfm": "fit",
    "fit-vlm": "fit",
    "settle": "settle",
    "calibrate": "calibrate",
    **{f"pseudo-{place}-{stream}": "pseudo" for stream in STREAMS for place in PSEUDO},
    "further-fused": "fit",
    "further-vfm": "fit",
    "further-vlm": "fit",
    "blend": "blend",
    "calibrate-blend": "calibrate",
    "teach": "teach",
    "teach-every-word": "teach",
}

# All three streams alike: what differs between their scores is then what they see; `apart` reaches the fused one alone.
# `Protocol.settings` has the rest.
FIT: dict[str, Any] = {"crop": 384, "apart": 0.5, "lr": 8e-4, "seed": 2023, "precision": "bf16"}

# On from the weights before, with the labels that each stream gives photographs; `mix` are shares of `Protocol.pseudo`.
FURTHER: dict[str, Any] = {
    "iterations": 1000,
    "batch": 24,
    "lr": 3e-4,
    "warmup": 60,
    "mix": (8, 8, 8),
    "weather": 0.5,
    "conditions": ("fog", "rain", "snow", "night", "rain+night"),
    "camera": 0.3,
    "apart": 0.5,
    "precision": "bf16",
    "seed": 2023,
}

# None leaves a stage out.
RECIPE: dict[str, dict[str, Any] | None] = {
    # The VLM's text tower: four blocks of a sentence encoder's six; no photographs. bf16 blurs its cosines.
    "pretrain-text": {"iterations": 4000, "batch": 512, "seed": 0, "precision": "float32"},
    # The VLM's vision tower is aligned with that text: labels of the first set, photographs of all. Three times as long
    # it learns that one set's roads by heart, and those of other countries no more.
    "pretrain-vlm": {"iterations": 1400, "batch": 32, "seed": 0, "precision": "bf16"},
    # The VFM learns without labels, from what an ImageNet network sees in a picture twice as large.
    "pretrain-vfm": {"iterations": 3000, "batch": 48, "seed": 0, "precision": "bf16"},
    "fit-fused": {**FIT},
    "fit-vfm": {**FIT},
    "fit-vlm": {**FIT},
    # Which member of a label group a decoder names.
    "settle": {"limit": 12, "resolution": 320},
    # The temperature of each stream's confidence.
    "calibrate": {"limit": 40, "weather": 0.5, "seed": 0},
    # The class of each pixel of a group, and of what the model is sure of in photographs without labels. Every stream
    # teaches itself: labels by MFuser would hand the single streams a part of what fusion knows.
    **{
        f"pseudo-{place}-{stream}": {"stream": stream, "confidence": 0.8, "resolutions": sides}
        for stream in STREAMS
        for place, sides in PSEUDO.items()
    },
    "further-fused": {**FURTHER},
    "further-vfm": {**FURTHER},
    "further-vlm": {**FURTHER},
    # Half of the way from the weights before: better or level at real points in bad weather than either end.
    "blend": {"share": 0.5},
    "calibrate-blend": {"limit": 40, "weather": 0.5, "seed": 0},
    # More words for the text tower; the class embeddings, and with them the decoders, stay where they are.
    "teach": {"iterations": 350, "batch": 96, "general": 8_000, "limit": 26, "seed": 0},
    # And those of the test's phrases: `words` scores the weights before this stage.
    "teach-every-word": {
        "iterations": 100,
        "batch": 96,
        "general": 8_000,
        "limit": 20,
        "seed": 0,
        "every_word": True,
    },
}

SCALED = ("iterations", "warmup")  # what --scale shortens

UNLABELLED = ("dawn",)  # kinds of sets
RENDERED = "rendered"  # stands for the folder of --rendered


@dataclass(frozen=True)
class Protocol:
    """Which data teaches what; sets as `name:folder below --data-root`.

    pretrain: photographs of the encoders; the first set lends its labels to the VLM. fit: labels of the decoders, with
    the share of each batch that each set gets (normalised over the sets that are there). settings: of the fits. val:
    scored at the end of each fit. settle, calibrate, teach: labelled sets of those stages. pseudo: what the stages of
    pseudo labels read, by names of `PSEUDO`, in whose order the further fits get them; those of `UNLABELLED` have no
    labels; empty: no further training. every_word: whether the test's phrases teach in the end.
    """

    pretrain: tuple[str, ...]
    fit: dict[str, float]
    settings: dict[str, Any]
    val: tuple[str, ...]
    settle: str
    calibrate: str
    teach: str
    pseudo: dict[str, tuple[str, ...]] = field(default_factory=dict)
    every_word: bool = False


_PHOTOGRAPHS = ("camvid:camvid/train", "idd_lite:idd_lite/train", "dawn:dawn_fog")

PROTOCOLS: dict[str, Protocol] = {
    # The paper's setting: labels of one set alone. Photographs of other domains, without labels, are in pre-training.
    "dgss": Protocol(
        pretrain=_PHOTOGRAPHS,
        fit={"camvid:camvid/train": 1},
        settings={"iterations": 3000, "batch": 8, "warmup": 80, "weather": 0.2},
        val=("camvid:camvid/val", "idd_lite:idd_lite/val"),
        settle="camvid:camvid/train",
        calibrate="camvid:camvid/train",
        teach="camvid:camvid/train",
    ),
    # Everything that is labelled teaches: there is no validation score of these weights on any of it.
    "shipped": Protocol(
        pretrain=_PHOTOGRAPHS,
        fit={  # shares as places in a batch of 24
            "camvid:camvid/train": 7,
            "camvid:camvid/val": 2,
            "idd_lite:idd_lite/train": 6,  # 7 groups
            "idd_lite:idd_lite/val": 2,
            RENDERED: 7,  # 19 classes, the only truck, bus, train, motorcycle, bicycle, wall, terrain, traffic light
        },
        settings={"iterations": 1700, "batch": 24, "warmup": 120, "weather": 0.3, "camera": 0.3},
        val=(),
        settle="camvid:camvid/train",
        calibrate="camvid:camvid/train",
        teach="camvid:camvid/train",
        pseudo={
            "camvid": ("camvid:camvid/train", "camvid:camvid/val"),
            "idd": ("idd_lite:idd_lite/train", "idd_lite:idd_lite/val"),
            "dawn": ("dawn:dawn_fog",),
        },
        every_word=True,
    ),
}

LARGEST = 60_000_000  # bytes of all weights
