"""`python -m train blend`: weights between those before and after further training (WiSE-FT, Wortsman et al. 2022).

Weights that were trained further on other pictures gain there and lose elsewhere; on the line between both lie some
that keep most of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from safetensors import safe_open
from torch import Tensor

from mfuser.weights import tensors as tensors_module
from train.runtime.files import copy_whole, require_writable
from train.runtime.weights import ENCODERS, weights_folder


@dataclass(frozen=True)
class BlendConfig:
    """Weights between two folders of stream-*.safetensors, of which the second was trained on from the first."""

    # Folder of the weights before.
    before: Path | None = None
    # Folder of the weights after.
    after: Path | None = None
    # How far from those before to those after, 0 to 1.
    share: float = 0.5
    # Folder of the new streams; encoders are copied from --after, where it has some, else from --before.
    out: Path = Path("runs/blend")


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(BlendConfig, args=list(argv), prog="python -m train blend")
    if config.before is None or config.after is None:
        raise ValueError("Two folders of weights are needed: pass --before DIR and --after DIR.")
    if not 0 <= config.share <= 1:
        raise ValueError(f"--share must lie between 0 and 1, got {config.share}.")
    before, after = weights_folder(config.before, "--before"), weights_folder(config.after, "--after")
    streams = sorted(path.name for path in after.glob("stream-*.safetensors"))
    if not streams:
        raise ValueError(f"There is no stream-*.safetensors in {after}: name the folder that `fit --start` wrote.")
    if config.out.resolve() in (before.resolve(), after.resolve()):
        raise ValueError(f"{config.out} holds weights to blend: choose another --out.")
    loaded = {name: [tensors_module.load(folder / name) for folder in (before, after)] for name in streams}
    blended = {name: between(old[0], new[0], config.share, name) for name, (old, new) in loaded.items()}
    require_writable(config.out)
    for name, tensors in blended.items():
        metadata = {**loaded[name][0][1], "blend": f"{config.share:g}"}
        tensors_module.save(config.out / name, tensors, metadata, half=is_half(after / name))
        print(f"{config.out / name} written, {config.share:g} of the way from {before} to {after}")
    for name in ENCODERS:
        for folder in (after, before):
            if (folder / name).is_file():
                copy_whole(folder / name, config.out / name)
                break


def is_half(path: Path) -> bool:
    """Does a file of weights hold 16-bit numbers?"""
    with safe_open(path, "pt") as file:
        return any(file.get_slice(name).get_dtype() in ("F16", "BF16") for name in file.keys())  # noqa: SIM118


def between(old: dict[str, Tensor], new: dict[str, Tensor], share: float, what: str = "weights") -> dict[str, Tensor]:
    """Blend two sets of tensors.

    Args:
        old: tensors before.
        new: tensors after, of the same names and shapes.
        share: 0 gives the old ones, 1 the new ones.
        what: their name, for the message.

    Returns:
        Tensors between them, float32; those of whole numbers are the new ones.

    Raises:
        ValueError: the first that differs in name or shape.
    """
    wrong = [n for n in sorted(old.keys() | new.keys()) if n not in old or n not in new or old[n].shape != new[n].shape]
    if wrong:
        raise ValueError(f"{what}: {wrong[0]} is not the same in both folders, so they cannot be blended.")
    return {
        name: t.float().lerp(new[name].float(), share) if t.is_floating_point() else new[name]
        for name, t in old.items()
    }
