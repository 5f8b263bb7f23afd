"""Lets torchvision be imported beside a CPU build of torch.

timm and open_clip import torchvision, whose wheels carry compiled CUDA operators; beside a CPU torch these do not load
and the import stops at `operator torchvision::nms does not exist`. Nothing here calls those operators, so declaring
them is enough. Import this module before timm or open_clip; it does nothing where the compiled operators load.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import torch

_SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # must stay alive: the declarations go with it


def _compiled_operators_load() -> bool:
    """True when torchvision's extension library can be loaded into this torch."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    finder = importlib.machinery.FileFinder(
        str(Path(spec.origin).parent),
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    )
    extension = finder.find_spec("_C")
    if extension is None or extension.origin is None:
        return False
    try:
        torch.ops.load_library(extension.origin)
    except (OSError, RuntimeError):  # built for another torch, or CUDA libraries missing
        return False
    return True


def declare_missing_operators() -> None:
    """Declare torchvision's two operators when its compiled library cannot be loaded. Safe to call again."""
    global _library
    if _library is not None or hasattr(torch.ops.torchvision, "nms") or _compiled_operators_load():
        return
    _library = torch.library.Library("torchvision", "DEF")
    for signature in _SIGNATURES:
        _library.define(signature)


declare_missing_operators()
