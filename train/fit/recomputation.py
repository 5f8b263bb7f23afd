"""Gradient checkpointing: a block's activations are computed again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from mfuser.loading import MFuser


def checkpoint_blocks(model: MFuser) -> None:
    """Make the encoders' blocks and the adapters of a model recompute; values and gradients stay the same.

    Without gradients (a stream alone, evaluation) they run as before.
    """
    for encoder in (model.vfm, model.vlm):
        encoder.block = recomputed(encoder.block)
    if any(True for _ in model.fusion.parameters()):
        model.fusion.forward = recomputed(model.fusion.forward)


def recomputed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, keeping its arguments alone for the backward pass."""

    def call(*args: Any) -> Any:
        if not torch.is_grad_enabled():
            return function(*args)
        return checkpoint(function, *args, use_reentrant=False)

    return call
