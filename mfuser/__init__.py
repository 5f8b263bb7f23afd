"""MFuser: Mamba as a bridge between a vision foundation model and a vision-language model (CVPR 2025), for people.

>>> import mfuser
>>> analysis = mfuser.load("nano").analyse("street.jpg")
>>> analysis.masks["fused"], analysis.similarity("car", stream="fused")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfuser import presets, weather
    from mfuser.inference.load import load
    from mfuser.inference.segmenter import Segmenter
    from mfuser.loading import MFuser

__all__ = ["MFuser", "Segmenter", "load", "presets", "weather"]

# Loaded when first asked for: torch, timm and open_clip take seconds, which `mfuser.weather` or `--help` need not wait.
_HOMES = {"MFuser": "mfuser.loading", "Segmenter": "mfuser.inference.segmenter", "load": "mfuser.inference.load"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"mfuser.{name}")
    raise AttributeError(f"module 'mfuser' has no attribute {name!r}")
