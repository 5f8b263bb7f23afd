"""The table of stages for one configuration: its settings, and the command line of each stage."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from train.data.registry import parse
from train.reproduce.recipe import LARGEST, PROTOCOLS, RENDERED, STREAMS, Stage, table
from train.reproduce.stages import Stages
from train.runtime.hardware import MOST_LOADERS, usable_cores
from train.runtime.subprocesses import options

if TYPE_CHECKING:
    from train.reproduce.command import ReproduceConfig

FOLDERS = ("out", "weights", "encoders", "start", "before", "after")  # options that are folders below --out
SETS = ("data", "photographs", "val")  # options that are sets below --data-root
ON_DEVICE = ("pretrain", "fit", "calibrate", "pseudo", "teach")  # commands with --device
UNDECIDED = (*FOLDERS, "val", "resume")  # options that do not decide a result


def plan(config: ReproduceConfig) -> Stages:
    """The stages of a configuration. Raises ValueError for bad settings and for data that is not there."""
    if config.scale <= 0:
        raise ValueError(f"--scale must be above 0, got {config.scale}.")
    if config.rendered is not None and RENDERED not in PROTOCOLS[config.protocol].fit:
        raise ValueError(f"--rendered teaches nothing in the protocol {config.protocol!r}: leave it out.")
    rows = [adapted(config, stage) for stage in table(PROTOCOLS[config.protocol], config.preset, bool(config.rendered))]
    return Stages(config.out, rows, {stage.name: settings(config, stage) for stage in rows})


def adapted(config: ReproduceConfig, stage: Stage) -> Stage:
    """A stage for a preset, shortened by --scale, and in the --precision asked for."""
    own = {**({} if stage.command == "blend" else {"preset": config.preset}), **stage.options}
    for key in own.keys() & {"iterations", "warmup"}:
        own[key] = max(1, round(own[key] * config.scale))
    if config.precision != "recipe" and own.get("precision", "float32") != "float32":
        own["precision"] = config.precision
    return replace(stage, options=own)


def settings(config: ReproduceConfig, stage: Stage) -> dict[str, Any]:
    """What decides the result of a stage: its options, and how many images each set has, wherever the sets lie."""
    own = dict(stage.options)
    for option in own.keys() & {"data", "photographs"}:
        own[option] = [*own[option]]
        for i, name in enumerate(own[option]):
            if name == RENDERED or ":" in name:  # else labels that a stage makes
                kind, root = parse(find(config, name))
                labelled = option == "data" and (stage.command != "pretrain" or i == 0)
                own[option][i] = f"{name} ({len(kind.pairs(root, 'train', labelled))} images)"
    return {name: value for name, value in own.items() if name not in UNDECIDED}


def find(config: ReproduceConfig, name: str) -> str:
    """The `--data` argument of a set of the recipe, or of the pseudo labels of a stage."""
    kind, colon, folder = name.partition(":")
    if colon:
        return f"{kind}:{config.data_root / folder}"
    return f"folder:{config.rendered if name == RENDERED else config.out / name}"


def arguments(config: ReproduceConfig, stage: Stage) -> list[str]:
    """The command line of a stage, after `python -m train`."""
    own = dict(stage.options)
    for name in own:
        if name in FOLDERS:
            own[name] = config.out / own[name]
        elif name in SETS:
            own[name] = [find(config, one) for one in own[name]]
    if stage.command in ON_DEVICE:
        own["device"] = config.device
    if stage.command == "fit" and config.parallel > 1:  # its share of the cores, as many as pay
        share = usable_cores() // min(config.parallel, len(STREAMS))
        own.setdefault("workers", max(1, min(MOST_LOADERS, share)))
    return [stage.command, *(word for option in own.items() for word in options(*option))]


def shown(config: ReproduceConfig, stage: Stage) -> str:
    """The command of a stage, as it can be typed."""
    if stage.command == "collect":
        return f"copy {stage.copies} to {config.preset}, at most {LARGEST / 1e6:g} MB"
    return shlex.join(["python", "-m", "train", *arguments(config, stage)])
