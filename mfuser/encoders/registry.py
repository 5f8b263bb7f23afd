"""The families of encoders, by the name that a preset gives them."""

from __future__ import annotations

from collections.abc import Callable

from mfuser.encoders.base import VisionEncoder
from mfuser.encoders.dinov2 import DINOv2
from mfuser.encoders.nano import NanoVision, NanoVisionLanguage
from mfuser.encoders.vlm import CLIP, EVA02CLIP, SigLIP

ENCODERS: dict[str, Callable[..., VisionEncoder]] = {
    "nano-vfm": NanoVision,
    "nano-vlm": NanoVisionLanguage,
    "dinov2": DINOv2,
    "eva02-clip": EVA02CLIP,
    "clip": CLIP,
    "siglip": SigLIP,
}
