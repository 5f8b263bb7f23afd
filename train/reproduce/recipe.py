"""The recipe of the built-in weights as one table: what `python -m train reproduce-nano` runs, with which settings.

Each row is a command of `python -m train`, and its options are those of that command, so `python -m train fit --help`
explains them; what is not named keeps that command's default. To change the recipe, change this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STREAMS = ("fused", "vfm", "vlm")  # the one that takes longest first
WEIGHTS = ("encoder-vfm", "encoder-vlm", "stream-vfm", "stream-vlm", "stream-fused")  # files of a whole folder
LARGEST = 60_000_000  # bytes of all weights

# All three streams alike: what differs between their scores is then what they see; `apart` reaches the fused one alone.
# `Protocol.settings` has the rest.
FIT = {"crop": 384, "apart": 0.5, "lr": 8e-4, "seed": 2023, "precision": "bf16"}

# On from the weights before, with the labels that each stream gives photographs; `mix` are shares of `Protocol.pseudo`.
FURTHER = {
    **{"iterations": 1000, "batch": 24, "lr": 3e-4, "warmup": 60, "mix": (8, 8, 8), "apart": 0.5, "camera": 0.3},
    **{"weather": 0.5, "conditions": ("fog", "rain", "snow", "night", "rain+night"), "precision": "bf16", "seed": 2023},
}

RENDERED = "rendered"  # stands for the folder of --rendered
DAWN = "dawn:dawn_fog"
PHOTOGRAPHS = ("camvid:camvid/train", "idd_lite:idd_lite/train", DAWN)


@dataclass(frozen=True)
class Protocol:
    """Which data teaches what; sets as `name:folder below --data-root`.

    fit: labels of the decoders, with the share of each batch that each set gets (normalised over the sets that are
    there). settings: of the fits. val: scored at the end of each fit. pseudo: options of the stages of pseudo labels,
    in the order in which the further fits get them; empty: no further training. every_word: whether the phrases that
    test words teach in the end.
    """

    fit: Mapping[str, float]
    settings: Mapping[str, Any]
    val: tuple[str, ...] = ()
    pseudo: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    every_word: bool = False


PROTOCOLS = {
    # The paper's setting: labels of one set alone. Photographs of other domains, without labels, are in pre-training.
    "dgss": Protocol(
        fit={"camvid:camvid/train": 1},
        settings={"iterations": 3000, "batch": 8, "warmup": 80, "weather": 0.2},
        val=("camvid:camvid/val", "idd_lite:idd_lite/val"),
    ),
    # Everything that is labelled teaches: there is no validation score of these weights on any of it.
    "shipped": Protocol(
        fit={  # shares as places in a batch of 24
            "camvid:camvid/train": 7,
            "camvid:camvid/val": 2,
            "idd_lite:idd_lite/train": 6,  # 7 groups
            "idd_lite:idd_lite/val": 2,
            RENDERED: 7,  # 19 classes, the only truck, bus, train, motorcycle, bicycle, wall, terrain, traffic light
        },
        settings={"iterations": 1700, "batch": 24, "warmup": 120, "weather": 0.3, "camera": 0.3},
        pseudo={  # resolutions: short sides at which each photograph is seen; 0: the preset's
            "camvid": {"data": ("camvid:camvid/train", "camvid:camvid/val"), "resolutions": (0,)},
            "idd": {"data": ("idd_lite:idd_lite/train", "idd_lite:idd_lite/val"), "resolutions": (0,)},
            "dawn": {"photographs": (DAWN,), "resolutions": (0, 512)},
        },
        every_word=True,
    ),
}


@dataclass(frozen=True)
class Stage:
    """A row of the table; it follows the rows that write what it reads. Files and folders lie below --out.

    name: of the stage. command: of `python -m train`, or "collect". options: of the command. reads: files of other
    stages. writes: files that are all there when it is done. owns: patterns of everything that it leaves. copies:
    folder of the weights that are copied to where it writes, anew each time, and changed there.
    """

    name: str
    command: str
    options: Mapping[str, Any]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    owns: tuple[str, ...]
    copies: str = ""


def weights(folder: str) -> tuple[str, ...]:
    """The files of a whole folder of weights."""
    return tuple(f"{folder}/{name}.safetensors" for name in WEIGHTS)


def table(protocol: Protocol, preset: str = "nano", rendered: bool = True) -> list[Stage]:
    """Every stage of a protocol, in order. rendered: whether there are rendered scenes. The weights end in `preset`."""
    text, encoders = "trained/text.safetensors", weights("trained")[:2]
    rows = [
        # The VLM's text tower: four blocks of a sentence encoder's six; no photographs. bf16 blurs its cosines.
        pretrain("text", {"iterations": 4000, "batch": 512, "precision": "float32"}, (), text),
        # The VLM's vision tower is aligned with that text: labels of the first set, photographs of all. Three times as
        # long it learns that one set's roads by heart, and those of other countries no more.
        pretrain(
            "vlm", {"iterations": 1400, "batch": 32, "precision": "bf16", "data": PHOTOGRAPHS}, (text,), encoders[1]
        ),
        # The VFM learns without labels, from what an ImageNet network sees in a picture twice as large.
        pretrain("vfm", {"iterations": 3000, "batch": 48, "precision": "bf16", "data": PHOTOGRAPHS}, (), encoders[0]),
    ]
    shares = {name: share for name, share in protocol.fit.items() if rendered or name != RENDERED}
    learns = {**FIT, **protocol.settings, "data": tuple(shares), "encoders": "trained", "val": protocol.val}
    if len(shares) > 1:
        learns["mix"] = tuple(shares.values())
    rows += [fit(f"fit-{stream}", stream, learns, encoders, "trained") for stream in STREAMS]
    # Which member of a label group a decoder names, and the temperature of each stream's confidence.
    rows.append(revise("settle", "settle", {"limit": 12, "resolution": 320}, "trained", "settled"))
    calibrate = {"limit": 40, "weather": 0.5, "seed": 0}
    rows.append(revise("calibrate", "calibrate", calibrate, "settled", "calibrated"))
    newest = "calibrated"
    if protocol.pseudo:
        # The class of each pixel of a group, and of what the model is sure of in photographs without labels. Every
        # stream teaches itself: labels by MFuser would hand the single streams a part of what fusion knows.
        for stream in STREAMS:
            for place, own in protocol.pseudo.items():
                out, own = f"pseudo-{place}-{stream}", {"stream": stream, "confidence": 0.8, **own}
                own |= {"weights": newest, "out": out}
                rows.append(Stage(out, "pseudo", own, weights(newest), (f"{out}/pseudo.json",), (f"{out}/*",)))
        for stream in STREAMS:
            labels = tuple(f"pseudo-{place}-{stream}" for place in protocol.pseudo)
            own = {**FURTHER, "data": labels, "start": newest, "encoders": newest, "val": protocol.val}
            reads = (*(f"{folder}/pseudo.json" for folder in labels), *weights(newest))
            rows.append(fit(f"further-{stream}", stream, own, reads, "further"))
        # Half of the way from the weights before: better or level at real points in bad weather than either end.
        own = {"share": 0.5, "before": newest, "after": "further", "out": "blended"}
        reads = (*weights(newest), *weights("further")[2:])
        rows.append(Stage("blend", "blend", own, reads, weights("blended"), ("blended/*",)))
        rows.append(revise("calibrate-blend", "calibrate", calibrate, "blended", "recalibrated"))
        newest = "recalibrated"
    # More words for the text tower; the class embeddings, and with them the decoders, stay where they are.
    rows.append(teach("teach", {"iterations": 350, "limit": 26}, newest, "taught"))
    newest = "taught"
    if protocol.every_word:  # and those of the test's phrases: `words` scores the weights before this stage
        rows.append(
            teach("teach-every-word", {"iterations": 100, "limit": 20, "every_word": True}, newest, "every-word")
        )
        newest = "every-word"
    return [*rows, Stage("collect", "collect", {}, weights(newest), weights(preset), (f"{preset}/*",), newest)]


def pretrain(target: str, options: Mapping[str, Any], reads: tuple[str, ...], makes: str) -> Stage:
    """An encoder, or the text tower."""
    owns = (f"trained/{target}.*", makes)
    return Stage(
        f"pretrain-{target}",
        "pretrain",
        {"stage": (target,), "seed": 0, "out": "trained", **options},
        reads,
        (makes,),
        owns,
    )


def fit(name: str, stream: str, options: Mapping[str, Any], reads: tuple[str, ...], out: str) -> Stage:
    """A stream's decoder. `fit` copies the encoders to a folder that lacks them, so those in "further" are its own."""
    copied = ("further/encoder-*",) if out == "further" else ()
    own = {**options, "streams": (stream,), "resume": True, "out": out}
    return Stage(
        name, "fit", own, reads, (f"{out}/stream-{stream}.safetensors",), (f"{out}/stream-{stream}.*", *copied)
    )


def revise(name: str, command: str, options: Mapping[str, Any], source: str, out: str) -> Stage:
    """Weights that are copied and changed in place."""
    own = {**options, "data": PHOTOGRAPHS[:1], "weights": out}
    return Stage(name, command, own, weights(source), weights(out), (f"{out}/*",), source)


def teach(name: str, options: Mapping[str, Any], source: str, out: str) -> Stage:
    """Weights with more words."""
    own = {"batch": 96, "general": 8_000, "seed": 0, **options, "data": PHOTOGRAPHS[:1], "weights": source}
    return Stage(name, "teach", {**own, "out": out}, weights(source), weights(out), (f"{out}/*",))
