"""From a preset's name or a folder of weights to a Segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mfuser import config, presets
from mfuser.inference import open_vocabulary
from mfuser.inference.precision import native_precision, usable_device
from mfuser.inference.segmenter import Segmenter
from mfuser.loading import MFuser
from mfuser.weights import availability, files
from mfuser.weights.files import WeightsError

FOREIGN = (".pth", ".pt", ".ckpt")  # checkpoints of the authors


def load(
    preset: str | Path = "nano",
    device: str | None = None,
    precision: str | None = None,
    weights: str | Path | None = None,
    classes: Sequence[str] | None = None,
) -> Segmenter:
    """Load a model that is ready to analyse images.

    Args:
        preset: one of
            - the name of a preset;
            - a folder that `python -m train fit` or `python -m mfuser import-official` wrote, or a file in it;
            - a checkpoint of the authors (.pth). Its vision-language model is recognised.
        device: "cpu", "cuda", "cuda:1", ...; None takes CUDA when there is one.
        precision: "float32" or "bf16"; None takes bf16 where the device computes in it natively.
        weights: such a folder or checkpoint, for a preset given by name; None takes the preset's own weights.
        classes: 2 to 40 class names in place of the trained ones (experimental, see
            `mfuser.inference.open_vocabulary`).

    Raises:
        ValueError: an unknown preset, folder, device or precision. The message names the way out.
        WeightsError: weights that are missing, damaged, or another model's. It is a ValueError.
    """
    by_name, preset_is_stated = str(preset) in presets.PRESETS, True
    checkpoint_file = _checkpoint(preset, weights)
    if by_name:
        built = presets.get(str(preset))
        folder = _folder(Path(weights)) if weights and checkpoint_file is None else None
    elif checkpoint_file is None:
        built, folder, preset_is_stated = _of_folder(_folder(Path(preset)), weights)
    if checkpoint_file is not None:
        return _official(checkpoint_file, str(preset) if by_name else None, device, precision, classes)
    if classes is not None:
        open_vocabulary.check(classes, built.classes)  # before gigabytes are read
    device = usable_device(device)
    precision = precision or native_precision(device)
    try:
        model = MFuser.from_preset(built, weights=folder)
    except files.MisfitError as error:
        if preset_is_stated:
            raise
        raise WeightsError(
            f"{folder} does not say which preset its weights are for, and they do not fit {built.name!r}: "
            "pass the preset's name, and the folder as weights."
        ) from error
    name = folder.resolve().name if folder else "built in"
    return Segmenter(model.for_inference(), device, precision, name, classes, folder or files.folder_of(built))


def _checkpoint(preset: str | Path, weights: str | Path | None) -> Path | None:
    """The authors' checkpoint among the arguments, or None. Raises ValueError for two sources of weights."""
    found = [Path(p) for p in (preset, weights) if p is not None and Path(p).suffix.lower() in FOREIGN]
    if found and Path(preset) in found and weights is not None:
        raise ValueError(f"Two sources of weights, {preset} and {weights}: pass one of them.")
    return found[0] if found else None


def _official(
    path: Path, name: str | None, device: str | None, precision: str | None, classes: Sequence[str] | None
) -> Segmenter:
    vlm = None
    if name is not None and (vlm := name.partition("+")[2]) not in availability.OFFICIAL:
        known = ", ".join(f"dinov2-l+{v}" for v in availability.OFFICIAL)
        raise ValueError(f"{path} is a checkpoint of the authors, for one of {known}: not for preset {name!r}.")
    device = usable_device(device)
    precision = precision or native_precision(device)
    model = MFuser.from_official(path, vlm)
    return Segmenter(model.for_inference(), device, precision, path.name, classes)


def _folder(path: Path) -> Path:
    """The folder itself, or the folder of a file that belongs in one. Raises WeightsError for any other file."""
    if path.is_file() and not files.is_ours(path):
        raise WeightsError(f"{path} is a file, not a folder of weights: pass the folder, or a checkpoint (.pth).")
    return path.parent if path.is_file() else path


def _of_folder(folder: Path, weights: str | Path | None) -> tuple[config.Preset, Path, bool]:
    """Preset of a folder's weights, the folder, and whether its files state that preset. Else the preset is a guess."""
    if not folder.is_dir():
        known = ", ".join(presets.PRESETS)
        raise ValueError(
            f"Unknown preset {str(folder)!r}; choose one of {known}, or a folder of weights that exists, "
            "or a checkpoint of the authors (.pth)."
        )
    if weights is not None:
        raise ValueError(f"Two folders of weights, {folder} and {weights}: pass one of them.")
    name = files.preset_name(folder)
    if name is not None and name not in presets.PRESETS:
        known = ", ".join(presets.PRESETS)
        raise WeightsError(f"The weights in {folder} are for preset {name!r}; this version knows {known} only.")
    return presets.get(name or presets.NANO.name), folder, name is not None
