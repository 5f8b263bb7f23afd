"""How the app comes by its models: built-in weights, a folder, or (for development) random ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from mfuser import presets
from mfuser.demo.refusals import Refusal
from mfuser.inference.load import load
from mfuser.inference.precision import native_precision, usable_device
from mfuser.inference.segmenter import Segmenter
from mfuser.loading import MFuser


def loader(
    opening: str,
    device: str | None = None,
    precision: str | None = None,
    weights: str | Path | None = None,
    random: bool = False,
) -> Callable[[str], Segmenter]:
    """A function preset name -> Segmenter.

    opening: the preset that `weights` and `random` are meant for; every other one uses its own weights. The function
    raises ValueError, with the way out, for a preset, device or weights that cannot be used here.
    """

    def make(name: str) -> Segmenter:
        if name == opening and random:
            torch.manual_seed(0)  # the same pictures at every start
            model = MFuser.from_preset(name, pretrained=False).for_inference()
            place = usable_device(device)
            return Segmenter(model, place, precision or native_precision(place))
        if name == opening and weights is not None:
            return load(name, device, precision, weights)
        status = next(s for s in presets.available() if s["name"] == name)
        if not status["runnable"]:
            raise Refusal(f"{status['title']} cannot run here ({status['why']}). To get it: {status['command']}")
        return load(name, device, precision)

    return make
