"""The stages of `python -m train reproduce-nano` in order, each by the function of its kind: `fit-vfm` by `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfuser import config as config_module
from mfuser import presets
from mfuser.weights import files
from train.data.registry import parse
from train.reproduce.recipe import COMMAND_OF, PROTOCOLS, RECIPE, RENDERED, SCALED, UNLABELLED, Protocol
from train.reproduce.stages import Stage
from train.runtime.hardware import MOST_LOADERS, usable_cores
from train.runtime.weights import ENCODERS

if TYPE_CHECKING:
    from train.reproduce.command import ReproduceConfig

# Folders below --out.
TRAINED, SETTLED, CALIBRATED, TAUGHT = "trained", "settled", "calibrated", "taught"
FURTHER, BLENDED, RECALIBRATED, EVERY = "further", "blended", "recalibrated", "every-word"
ENCODER = {"pretrain-text": "text", "pretrain-vlm": "encoder-vlm", "pretrain-vfm": "encoder-vfm"}


@dataclass
class Plan:
    """What is planned so far. weights: folder of the newest whole weights; newest: the stage that made them."""

    config: ReproduceConfig
    stages: dict[str, Stage] = field(default_factory=dict)
    weights: str = TRAINED
    newest: str = ""

    @property
    def out(self) -> Path:
        return self.config.out

    @property
    def preset(self) -> config_module.Preset:
        return presets.get(self.config.preset)

    @property
    def protocol(self) -> Protocol:
        return PROTOCOLS[self.config.protocol]

    def files(self, folder: str) -> tuple[str, ...]:
        """All weights of the preset in a folder."""
        return tuple(f"{folder}/{file}" for file in files.weight_files(self.preset))

    def named(self, kind: str) -> tuple[str, ...]:
        """The planned stages of a kind."""
        return tuple(name for name in self.stages if kind_of(name) == kind)

    def sets(self, names: Sequence[str], labelled: int) -> tuple[list[str], list[str]]:
        """(names with how many images, arguments) of sets of which the first ones must be labelled."""
        arguments = [find(self.config, name) for name in names]
        counts = [count(spec, i < labelled) for i, spec in enumerate(arguments)]
        return [f"{name} ({n} images)" for name, n in zip(names, counts, strict=True)], arguments

    def renewed(self, name: str, folder: str) -> tuple[str, str]:
        """(folder of the newest weights so far, the stage that made them); those of this stage take their place."""
        before = self.weights, self.newest
        self.weights, self.newest = folder, name
        return before


def plan(config: ReproduceConfig) -> dict[str, Stage]:
    """Every stage, in order. Raises ValueError for bad settings, an unknown preset, and data that is not there."""
    if config.scale <= 0:
        raise ValueError(f"--scale must be above 0, got {config.scale}.")
    if config.rendered is not None and RENDERED not in PROTOCOLS[config.protocol].fit:
        raise ValueError(f"--rendered teaches nothing in the protocol {config.protocol!r}: leave it out.")
    planned = Plan(config)
    for name in COMMAND_OF:
        if RECIPE[name] is not None and takes_part(planned.protocol, name):
            planned.stages[name] = KINDS[kind_of(name)](planned, name, scaled(config, name))
    source, before = planned.renewed("collect", planned.preset.name)
    planned.stages["collect"] = Stage(
        "collect",
        "",
        {"preset": planned.preset.name},
        makes=planned.files(planned.preset.name),
        follows=(before,),
        copies=(source, planned.preset.name),
    )
    return planned.stages


def kind_of(name: str) -> str:
    """ "fit-vfm" -> "fit"."""
    return name.partition("-")[0]


def set_of(name: str) -> str:
    """ "pseudo-idd-vfm" -> "idd"."""
    return name.split("-")[1]


def takes_part(protocol: Protocol, name: str) -> bool:
    """Does a protocol have this stage?"""
    if name == "teach-every-word":
        return protocol.every_word
    if kind_of(name) == "pseudo":
        return set_of(name) in protocol.pseudo
    return bool(protocol.pseudo) or (kind_of(name) not in ("further", "blend") and name != "calibrate-blend")


def pretrain(plan: Plan, name: str, settings: dict[str, Any]) -> Stage:
    """An encoder, or the text tower."""
    target = name.removeprefix("pretrain-")
    settings = {"preset": plan.preset.name, **settings, "stage": [target]}
    places = {"device": plan.config.device, "out": plan.out / TRAINED}
    if target != "text":
        settings["data"], places["data"] = plan.sets(plan.protocol.pretrain, labelled=target == "vlm")
    made, leaves = f"{TRAINED}/{ENCODER[name]}.safetensors", f"{TRAINED}/{target}.state.pt"
    return Stage(name, "pretrain", settings, places, (made,), (leaves,), ("pretrain-text",) if target == "vlm" else ())


def fit(plan: Plan, name: str, settings: dict[str, Any]) -> Stage:
    """A stream's decoder on labels."""
    stream, out = name.removeprefix("fit-"), plan.out / TRAINED
    shares = {s: share for s, share in plan.protocol.fit.items() if s != RENDERED or plan.config.rendered is not None}
    settings = {"preset": plan.preset.name, **settings, "streams": [stream]}
    settings["data"], sources = plan.sets(list(shares), labelled=len(shares))
    if len(shares) > 1:
        settings["mix"] = list(shares.values())
    places = {"device": plan.config.device, "out": out, "encoders": out, "data": sources, "resume": True}
    places |= loaders(plan.config, settings)
    places["val"] = [find(plan.config, one) for one in plan.protocol.val]
    made, leaves = of_stream(TRAINED, stream)
    return Stage(name, "fit", settings, places, made, leaves, ("pretrain-vlm", "pretrain-vfm"))


def settle(plan: Plan, name: str, settings: dict[str, Any]) -> Stage:
    """The newest weights, copied and changed in place; so does `calibrate`."""
    target = {"settle": SETTLED, "calibrate": CALIBRATED, "calibrate-blend": RECALIBRATED}[name]
    source, before = plan.renewed(name, target)
    settings = {"preset": plan.preset.name, **settings}
    (settings["data"],), (spec,) = plan.sets([getattr(plan.protocol, kind_of(name))], labelled=1)
    places = {"weights": plan.out / target, "data": spec}
    if kind_of(name) == "calibrate":
        places["device"] = plan.config.device
    follows = (before,) if before else tuple(stage for stage in plan.stages if stage != "pretrain-text")
    return Stage(name, kind_of(name), settings, places, plan.files(target), (), follows, (source, target))


def teach(plan: Plan, name: str, settings: dict[str, Any]) -> Stage:
    """The newest weights with more words."""
    target = TAUGHT if name == "teach" else EVERY
    source, before = plan.renewed(name, target)
    settings = {"preset": plan.preset.name, **settings}
    (settings["data"],), (spec,) = plan.sets([plan.protocol.teach], labelled=1)
    places = {"device": plan.config.device, "weights": plan.out / source, "out": plan.out / target, "data": spec}
    return Stage(name, "teach", settings, places, plan.files(target), (f"{target}/teach.state.pt",), (before,))


def pseudo(plan: Plan, name: str, settings: dict[str, Any]) -> Stage:
    """Labels by one stream of the newest weights."""
    names = plan.protocol.pseudo[set_of(name)]
    settings = {"preset": plan.preset.name, **settings}
    places = {"device": plan.config.device, "weights": plan.out / plan.weights, "out": plan.out / name}
    for option in ("data", "photographs"):
        own = [one for one in names if (one.partition(":")[0] in UNLABELLED) == (option == "photographs")]
        if own:
            settings[option], places[option] = plan.sets(own, labelled=len(own) if option == "data" else 0)
    leaves = (f"{name}/images", f"{name}/labels")
    return Stage(name, "pseudo", settings, places, (f"{name}/pseudo.json",), leaves, (plan.newest,))


def further(plan: Plan, name: str, settings: dict[str, Any]) -> Stage:
    """A stream of the newest weights, trained on with labels of its own."""
    stream, start = name.removeprefix("further-"), plan.out / plan.weights
    labels = tuple(one for one in plan.named("pseudo") if one.endswith(f"-{stream}"))
    settings = {"preset": plan.preset.name, **settings, "streams": [stream], "data": list(labels)}
    places = {"device": plan.config.device, "out": plan.out / FURTHER, "start": start, "encoders": start}
    places |= {"data": [f"folder:{plan.out / one}" for one in labels], "resume": True}
    places |= loaders(plan.config, settings)
    places["val"] = [find(plan.config, one) for one in plan.protocol.val]
    made, leaves = of_stream(FURTHER, stream)
    copied = tuple(f"{FURTHER}/{file}" for file in ENCODERS)  # `fit` leaves those that are there
    return Stage(name, "fit", settings, places, made, (*leaves, *copied), (*labels, plan.newest))


def blend(plan: Plan, name: str, settings: dict[str, Any]) -> Stage:
    """Weights between the newest and those trained on from them."""
    source, before = plan.renewed(name, BLENDED)
    places = {"before": plan.out / source, "after": plan.out / FURTHER, "out": plan.out / BLENDED}
    return Stage(name, "blend", settings, places, plan.files(BLENDED), (), (before, *plan.named("further")))


KINDS: dict[str, Callable[[Plan, str, dict[str, Any]], Stage]] = {
    "pretrain": pretrain,
    "fit": fit,
    "settle": settle,
    "calibrate": settle,
    "teach": teach,
    "pseudo": pseudo,
    "further": further,
    "blend": blend,
}


def loaders(config: ReproduceConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Processes that load data for a fit, where others run beside it: its share of the cores, as many as pay."""
    if config.parallel == 1 or "workers" in settings:
        return {}
    return {"workers": max(1, min(MOST_LOADERS, usable_cores() // min(config.parallel, len(config_module.STREAMS))))}


def of_stream(folder: str, stream: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(weights, further files) that `fit` leaves of a stream."""
    suffixes = ("state.pt", "jsonl", "png")
    return (f"{folder}/stream-{stream}.safetensors",), tuple(f"{folder}/stream-{stream}.{s}" for s in suffixes)


def scaled(config: ReproduceConfig, name: str) -> dict[str, Any]:
    """The recipe's settings of a stage, shortened by --scale and in the --precision asked for."""
    settings = dict(RECIPE[name])
    if kind_of(name) == "fit":
        settings |= PROTOCOLS[config.protocol].settings
    for key in SCALED:
        if key in settings:
            settings[key] = max(1, round(settings[key] * config.scale))
    if config.precision != "recipe" and settings.get("precision", "float32") != "float32":
        settings["precision"] = config.precision
    return settings


def find(config: ReproduceConfig, name: str) -> str:
    """The `--data` argument of a set of the recipe."""
    if name == RENDERED:
        return f"folder:{config.rendered}"
    kind, _, folder = name.partition(":")
    return f"{kind}:{config.data_root / folder}"


def count(spec: str, labelled: bool) -> int:
    """Photographs of a set. Raises ValueError when it is not there, or labels are missing."""
    kind, root = parse(spec)
    return len(kind.pairs(root, "train", labelled))
