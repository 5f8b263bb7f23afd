"""From a preset's name or a folder of weights to a Segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mfuser import checkpoint, presets
from mfuser.checkpoint import WeightsError
from mfuser.model import MFuser
from mfuser.segmenter import Segmenter, usable_device

FOREIGN = (".pth", ".pt", ".ckpt")  # pickles


def load(
    preset: str | Path = "nano",
    device: str | None = None,
    precision: str | None = None,
    weights: str | Path | None = None,
    classes: Sequence[str] | None = None,
) -> Segmenter:
    """Load a model, ready to analyse images.

    preset: name of a preset, or a folder that `python -m train fit` wrote. device: "cpu", "cuda", ... (default: cuda
    when there is one). precision: "float32" or "bf16" (default: bf16 on devices that compute in it natively).
    weights: such a folder, for a preset given by name (default: the preset's own). classes: only the preset's own list
    for now.

    Raises ValueError with the way out for an unknown preset, folder, device or precision; checkpoint.WeightsError, a
    ValueError, for weights that are missing, damaged or another model's.
    """
    for given in (preset, weights):
        if given is not None and Path(given).suffix.lower() in FOREIGN:
            raise WeightsError(
                f"{given}: this version does not read the authors' checkpoints yet; "
                f"pass a preset's name ({', '.join(presets.PRESETS)}) or a folder that `python -m train fit` wrote."
            )
    if str(preset) in presets.PRESETS:
        built, folder, certain = presets.get(str(preset)), Path(weights) if weights else None, True
    else:
        built, folder, certain = _of_folder(Path(preset), weights)
    if classes is not None and tuple(classes) != built.classes:
        known = len(built.classes)
        raise ValueError(f"Preset {built.name!r} knows its {known} Cityscapes classes only; leave classes out.")
    device = usable_device(device)
    try:
        model = MFuser.from_preset(built, weights=folder)
    except checkpoint.MisfitError as error:
        if certain:
            raise
        raise WeightsError(
            f"{folder} does not say which preset its weights are for, and they do not fit {built.name!r}: "
            "pass the preset's name, and the folder as weights."
        ) from error
    return Segmenter(model.for_inference(), device, precision, folder.resolve().name if folder else "built in")


def _of_folder(folder: Path, weights: str | Path | None) -> tuple[presets.Preset, Path, bool]:
    """Preset of a folder's weights, the folder, and False when the preset is a guess because the files name none."""
    if not folder.is_dir():
        known = ", ".join(presets.PRESETS)
        raise ValueError(f"Unknown preset {str(folder)!r}; choose one of {known}, or a folder of weights that exists.")
    if weights is not None:
        raise ValueError(f"Two folders of weights, {folder} and {weights}: pass one of them.")
    name = checkpoint.preset_name(folder)
    if name is not None and name not in presets.PRESETS:
        known = ", ".join(presets.PRESETS)
        raise WeightsError(f"The weights in {folder} are for preset {name!r}; this version knows {known} only.")
    return presets.get(name or presets.NANO.name), folder, name is not None
