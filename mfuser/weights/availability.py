"""Which presets run here: the weights at hand, and the command that gets the others."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path
from typing import Any

from mfuser import hub
from mfuser.config import EncoderConfig, Preset
from mfuser.weights.files import WeightsError, folder_of, load_metadata, weight_files

OFFICIAL = ("eva02-clip-l", "clip-l", "siglip-l")  # vision-language encoders of the authors' checkpoints
CHECKPOINTS = (
    "iter_20000.pth is a checkpoint of the authors' release, https://github.com/devinxzhang/MFuser, as its training "
    "writes it"
)


def status(preset: Preset) -> dict[str, Any]:
    """Whether a preset runs here.

    Args:
        preset: any preset.

    Returns:
        {"name", "title", "runnable", "why", "command"}. `why` says what is missing and `command` what gets it; both are
        None when nothing is missing.
    """
    if (folder := folder_of(preset)) is None:  # made by tests and experiments; its weights are always passed
        return {"name": preset.name, "title": preset.title, "runnable": True, "why": None, "command": None}
    missing = [name for name in weight_files(preset) if not (folder / name).is_file()]
    encoders = {"encoder-vfm.safetensors": preset.vfm, "encoder-vlm.safetensors": preset.vlm}
    missing = [n for n in missing if n not in encoders or not _found(encoders[n], folder)]
    why = command = None
    if missing:
        why = f"missing in {folder.name}/: {', '.join(missing)}"
        command = f"git checkout -- assets/{folder.name}" if preset.weights else runnable_command(preset, folder)
        if is_official(preset) and "stream-fused.safetensors" in missing:
            why += f"; {CHECKPOINTS}"
    elif (command := vocabulary_command(preset, folder)) is not None:
        why = "missing: the vocabulary of its class names"
    return {"name": preset.name, "title": preset.title, "runnable": why is None, "why": why, "command": command}


def _found(encoder: EncoderConfig, folder: Path) -> bool:
    return encoder.source is not None and hub.find(encoder.source, folder) is not None


def runnable_command(preset: Preset, folder: Path) -> str:
    """The command that makes a preset of public encoders runnable. The authors' checkpoints hold the encoders too.

    Args:
        preset: of public encoders.
        folder: where its weights are looked for.
    """
    vlm = preset.name.partition("+")[2]
    streams = [n for n in weight_files(preset) if n.startswith("stream-") and not (folder / n).is_file()]
    if is_official(preset) and streams:
        return f"python -m mfuser import-official iter_20000.pth --vlm {vlm} --out {shlex.quote(str(folder))}"
    commands = [e.source.command for e in (preset.vfm, preset.vlm) if e.source and not _found(e, folder)]
    if streams:
        commands.append(f"python -m train fit --preset {preset.name} --data DATA --out {shlex.quote(str(folder))}")
    return " && ".join(commands)


def vocabulary_command(preset: Preset, folder: Path) -> str | None:
    """The command that gets the vocabulary of a preset's class names.

    Args:
        preset: any preset.
        folder: of its weights.

    Returns:
        None where the vocabulary is here, or where a stream in the folder holds the token ids of the names.
    """
    source = preset.vlm.vocabulary
    if source is None or _holds_class_ids(preset, folder):
        return None
    lacking = [] if importlib.util.find_spec("tokenizers") else ["pip install tokenizers"]
    lacking += [] if hub.find(source) else [source.command]
    return " && ".join(lacking) or None


def _holds_class_ids(preset: Preset, folder: Path) -> bool:
    files = [path for s in preset.streams if (path := folder / f"stream-{s}.safetensors").is_file()]
    try:
        return any("class_ids" in load_metadata(path) for path in files)
    except WeightsError:  # a damaged file, which loading reports
        return False


def is_official(preset: Preset) -> bool:
    """True for a preset for which the authors released a checkpoint."""
    return preset.name.partition("+")[2] in OFFICIAL


def training_command(preset: Preset, stream: str) -> str:
    """The command that trains the decoder of one more stream.

    It writes into WEIGHTS, the folder that holds the preset's stream-fused file.

    Args:
        preset: any preset.
        stream: "vfm", "vlm" or "fused".
    """
    return f"python -m train fit --streams {stream} --preset {preset.name} --data DATA --out WEIGHTS"
