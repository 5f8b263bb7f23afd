"""Models with the weights that training and evaluation need: the encoders, and only the streams asked for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from mfuser import presets
from mfuser.config import Preset
from mfuser.inference.load import FOREIGN
from mfuser.loading import MFuser
from mfuser.weights import files as weight_files
from mfuser.weights import folder as folder_module
from train.runtime.files import copy_whole

ENCODERS = ("encoder-vfm.safetensors", "encoder-vlm.safetensors")


def load_model(preset: Preset, folder: Path | None, streams: Sequence[str]) -> MFuser:
    """A preset's model in evaluation mode, on the CPU.

    Args:
        preset: which architecture.
        folder: of encoders and streams, or one file in it; None for the preset's own.
        streams: may be others than the preset's own, as `python -m train fit --streams` trains them.

    Raises:
        WeightsError: weights are missing.
    """
    named, own = weights_folder(folder), weight_files.folder_of(preset)
    if named not in (None, own) and not named.is_dir():  # a missing folder of the preset's own is said below
        raise weight_files.WeightsError(
            f"There is no folder {named}: pass --weights DIR, as `python -m train fit` wrote it."
        )
    preset, folder = presets.with_streams(preset, streams), named or own
    files = {} if folder is None else folder_module.stream_files(preset, folder, streams)
    model = load_encoders(preset, folder)
    for stream, path in files.items():
        folder_module.load_stream(model, stream, path)
    return model


def weights_folder(path: Path | None, option: str = "--weights") -> Path | None:
    """The folder that is meant by a path.

    Args:
        path: a folder, a file of weights that `fit` wrote, or None.
        option: what messages call the path.

    Returns:
        The folder, or that of the file; it need not exist. None for None.

    Raises:
        WeightsError: it is any other file.
    """
    if path is None or not path.is_file():
        return path
    if path.suffix.lower() in FOREIGN:
        raise weight_files.WeightsError(
            f"{path} is a checkpoint of the authors: "
            f"python -m mfuser import-official {shlex.quote(str(path))} --out DIR, then {option} DIR."
        )
    if not weight_files.is_ours(path):
        raise weight_files.WeightsError(f"{path} is a file, not a folder of weights: pass {option} DIR.")
    return path.parent


def stream_of(path: Path | None) -> tuple[str, ...]:
    """The stream whose file was given for its folder; nothing for a folder, or a file of an encoder."""
    name = "" if path is None or not path.is_file() else path.stem
    return (name.removeprefix("stream-"),) if name.startswith("stream-") else ()


def load_encoders(preset: Preset, folder: Path | None) -> MFuser:
    """A preset's model with its frozen encoders; all else is random.

    Args:
        preset: which architecture.
        folder: of the encoders. What it lacks of public encoders, or all of them for None, comes from the hub.

    Raises:
        WeightsError: the folder lacks encoders that are nowhere else.
    """
    if has_public_encoders(preset):
        return MFuser.from_preset(preset, pretrained="encoders", weights=folder)
    folder = find_encoders(preset, [folder] if folder else [])
    model = MFuser.from_preset(preset, pretrained=False)
    for name in ("vfm", "vlm"):
        folder_module.load_encoder(model, name, folder)
    return model


def has_public_encoders(preset: Preset) -> bool:
    """True when the encoders are public ones, found by their names and fetched when needed."""
    return preset.vfm.source is not None


def find_encoders(preset: Preset, folders: Sequence[Path]) -> Path:
    """The first folder that holds both encoder files. Raises WeightsError with the way to make them."""
    for folder in folders:
        if all((folder / name).is_file() for name in ENCODERS):
            return folder
    places = " or ".join(map(str, folders)) or "any folder"
    raise weight_files.WeightsError(
        f"No encoders of preset {preset.name!r} in {places}: "
        f"make them with `python -m train pretrain --preset {preset.name}`, or name their folder."
    )


def copy_encoders(source: Path, target: Path) -> None:
    """Copy encoder files that a folder of streams lacks, so that it can be loaded on its own.

    Public encoders lie elsewhere and are not copied.
    """
    for name in ENCODERS:
        if (source / name).exists() and not (target / name).exists():
            copy_whole(source / name, target / name)
