"""The files of a folder of weights: their names, their metadata, and what is wrong with them. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

from mfuser import hub
from mfuser.config import Preset

CHECKSUM = "sha256"  # entry of the metadata: of names, types, shapes and bytes of all tensors (`tensors.checksum`)


class WeightsError(ValueError):
    """Weights are missing, unreadable, or do not fit the model; the message says which and what to do."""


class MisfitError(WeightsError):
    """Weights are those of another model: keys or shapes differ."""


def load_metadata(path: str | Path) -> dict[str, str]:
    """Metadata of a safetensors file, without its checksum. The tensors are not read.

    Args:
        path: of the file.

    Raises:
        WeightsError: it is missing or damaged.
    """
    with open_file(Path(path), "numpy") as file:
        return {key: value for key, value in (file.metadata() or {}).items() if key != CHECKSUM}


@contextmanager
def open_file(path: Path, framework: str = "pt") -> Iterator[safe_open]:
    """A safetensors file, open for reading.

    Args:
        path: of the file.
        framework: "pt" or "numpy", what its tensors become.

    Raises:
        WeightsError: it is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(f"No weights at {path}; pass a folder that `python -m train fit` wrote, or a preset's name.")
    try:
        with safe_open(path, framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error}); fetch or train it again.") from error


def is_ours(path: Path) -> bool:
    """True for the path of a file that belongs in a folder of weights."""
    return path.suffix == ".safetensors" and path.name.startswith(("encoder-", "stream-"))


def preset_name(folder: Path) -> str | None:
    """The preset that the files of a folder state in their metadata.

    Args:
        folder: of weights.

    Returns:
        None when no file states one.

    Raises:
        WeightsError: the files contradict each other.
    """
    stated: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors")):
        if is_ours(path) and (name := load_metadata(path).get("preset")):
            stated.setdefault(name, path.name)
    if len(stated) > 1:
        (one, first), (two, second), *_ = stated.items()
        raise WeightsError(f"{folder} mixes weights: {first} is for preset {one!r}, {second} for {two!r}.")
    return next(iter(stated), None)


def folder_of(preset: Preset) -> Path | None:
    """The folder where a preset's weights are looked for.

    Args:
        preset: any preset.

    Returns:
        The built-in folder, or for public encoders the preset's own in the user's folder (`hub.home`). None for a
        preset with neither.
    """
    return hub.home() / preset.name if preset.weights is None and preset.vfm.source else preset.weights


def weight_files(preset: Preset) -> list[str]:
    """File names in a preset's folder of weights: the two encoders, then one file per stream."""
    return ["encoder-vfm.safetensors", "encoder-vlm.safetensors", *(f"stream-{s}.safetensors" for s in preset.streams)]
