"""Command line of pre-training: three stages, each resumable and skipped when its output exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from mfuser import presets
from mfuser.loading import MFuser
from mfuser.weights import tensors as tensors_module
from train.data.dataset import name_of, pairs_of
from train.pretrain import text, vfm, vlm
from train.pretrain.crops import find_photographs
from train.runtime.files import require_writable
from train.runtime.hardware import choose_hardware
from train.runtime.training_steps import RunConfig

STAGES = {"text": text, "vlm": vlm, "vfm": vfm}


@dataclass(frozen=True)
class PretrainConfig:
    """Train the encoders of the built-in preset, one stage after the other.

    A stage whose output exists is skipped, and one that was stopped or killed continues: simply give the same command
    again.
    """

    # text: the VLM's text tower, distilled from a sentence encoder. vlm: its vision tower, aligned with that text
    # (needs labels). vfm: the VFM, distilled without labels from a larger picture.
    stage: tuple[Literal["text", "vlm", "vfm", "all"], ...] = ("all",)
    # Whose encoders are trained.
    preset: str = "nano"
    # Photographs, [name:]ROOT[/split]; repeat for several sets. The first must be labelled for the vlm stage.
    data: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    # Folder of encoder-*.safetensors.
    out: Path = Path("runs/nano")
    # Optimizer steps of each stage; 0 for the stage's own (text 4000, vlm 1400, vfm 3000).
    iterations: int = 0
    # Images or phrases per step; 0 for the stage's own (text 512, vlm 32, vfm 48).
    batch: int = 0
    # auto, cpu, cuda or cuda:N.
    device: str = "auto"
    # Of the forward pass; losses and weights are always float32.
    precision: Literal["float32", "bf16"] = "float32"
    # Of weights, data and dropout.
    seed: int = 0
    # Train again although the output exists.
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("iterations", "batch", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(self, name)}.")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stages asked for; raises ValueError or OSError with one sentence for bad input."""
    args = None if argv is None else list(argv)
    run(tyro.cli(PretrainConfig, args=args, prog="python -m train pretrain"))


def run(config: PretrainConfig) -> None:
    """Train every stage whose output is not there. Raises ValueError or OSError for bad input."""
    preset = presets.get(config.preset)
    if preset.vfm.family != "nano-vfm":
        raise ValueError(f"Preset {preset.name!r} has pretrained encoders of its own; only nano's are trained here.")
    device = str(choose_hardware(config.device, config.precision, 0).device)
    stages = []
    for name in STAGES if "all" in config.stage else dict.fromkeys(config.stage):
        target = config.out / STAGES[name].OUTPUT
        if target.exists() and not config.overwrite:
            print(f"{target} exists: stage {name} skipped (--overwrite trains it again)")
        else:
            stages.append(name)
    check_ready(stages, config.data, config.out)
    require_writable(config.out)
    for name in stages:
        stage = STAGES[name]
        target, state = config.out / stage.OUTPUT, config.out / f"{name}.state.pt"
        if config.overwrite:  # once: killed and started again without --overwrite, the new run is resumed
            target.unlink(missing_ok=True)
            state.unlink(missing_ok=True)
        torch.manual_seed(config.seed)
        model = MFuser.from_preset(preset, pretrained=False)
        changes = {"iterations": config.iterations, "batch": config.batch}
        settings: RunConfig = replace(
            stage.CONFIG,
            **{k: v for k, v in changes.items() if v},
            device=device,
            precision="float32" if name == "text" else config.precision,  # bfloat16 blurs the cosines of texts
            seed=config.seed,
            state=state,
        )
        made = {"preset": preset.name, "stage": name, "iterations": str(settings.iterations), "seed": str(config.seed)}
        if name != "text":
            counts = [(name_of(spec, "train")[1], len(pairs_of(spec, "train", labelled=False))) for spec in config.data]
            made["sets"] = ", ".join(f"{title} ({count} images)" for title, count in counts)
        tensors = stage.train(model, list(config.data), config.out, settings)
        bits = {"text": text.bits_of_tower(model), "vlm": model.vlm.stored_bits(), "vfm": model.vfm.stored_bits()}
        tensors_module.save(target, tensors, made, half=True, bits=bits[name])
        state.unlink(missing_ok=True)
        print(f"{target} written")


def check_ready(stages: Sequence[str], data: Sequence[str], out: Path) -> None:
    """Raise ValueError when a stage would miss its input, before an earlier one has run for an hour."""
    if "vlm" in stages and "text" not in stages and not (out / text.OUTPUT).exists():
        raise ValueError(f"Stage vlm needs {out / text.OUTPUT}: run --stage text vlm.")
    if "vlm" in stages:
        find_photographs(data[:1], labelled=True)
    if {"vlm", "vfm"} & set(stages):
        find_photographs(data, labelled=False)
