"""`Analysis.ran`: what ran, on what, in which time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mfuser import config
from mfuser.fusion.selective_scan import running_kernel
from mfuser.inference.windows import STRIDE, window_places
from mfuser.model import MFuserNetwork
from mfuser.weights import availability


def run_record(
    model: MFuserNetwork, device: torch.device, size: tuple[int, int], encoding: dict[str, float], decoding: dict
) -> dict[str, Any]:
    """The entries about the model and its time.

    Args:
        model: the network.
        device: where it ran.
        size: (height, width) that the network saw.
        encoding: milliseconds of "embed vfm", "embed vlm" and of each stream's blocks, see `Encoded`.
        decoding: milliseconds of each stream from there to its scores.
    """
    ms = encoding
    return {
        "preset": model.preset.name,
        "encoders": {"vfm": model.preset.vfm.title, "vlm": model.preset.vlm.title},
        "device": str(device),
        "scan_kernel": running_kernel(device),
        "input_size": size,
        "milliseconds": {
            "vfm": ms["embed vfm"] + ms["vfm"] + decoding["vfm"],
            "vlm": ms["embed vlm"] + ms["vlm"] + decoding["vlm"],
            "fused": ms["embed vfm"] + ms["embed vlm"] + ms["fused"] + decoding["fused"],
        },
        "training": {s: availability.training_command(model.preset, s) for s in config.STREAMS if s not in model.heads},
        "parameters": dict(model.count_parameters()),
    }


def window_layout(windows: str, pixels: Tensor) -> dict[str, Any]:
    """The entries about the passes that made the masks.

    Args:
        windows: "single" or "sliding".
        pixels: (..., height, width), what the windows slide over.
    """
    if windows == "single":
        return {"windows": windows}
    height, width = pixels.shape[-2:]
    places = list(window_places(height, width))
    layout = {"image_size": (height, width), "count": len(places), "window_size": places[0][2:], "stride": STRIDE}
    return {"windows": windows, "window_layout": layout}
