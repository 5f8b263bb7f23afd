"""The forward pass of one stream in training, and its blocks computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mfuser.config import encoders_of
from mfuser.loading import MFuser


class StreamPass(nn.Module):
    """The forward pass of one stream as a module, for wrappers that average gradients."""

    def __init__(self, model: MFuser, stream: str):
        super().__init__()
        self.model, self.stream = model, stream

    def forward(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """Run the stream.

        Args:
            pixels: (B, 3, H, W) float RGB 0..255, or (B, 2, 3, H, W), one view for the VFM and one for the VLM.

        Returns:
            Class logits, mask logits, and the logits of the alignment loss, as `compute_losses` takes them.
        """
        views = pixels if pixels.dim() == 4 else dict(zip(encoders_of(self.stream), pixels.unbind(1), strict=True))
        out = self.model(views, self.stream)
        scores = None if out.score_map is None else self.model.alignment_logits(out.score_map)
        return out.class_logits, out.mask_logits, scores


def checkpoint_blocks(model: MFuser) -> None:
    """Gradient checkpointing: recompute the encoders' blocks and the adapters instead of keeping their activations.

    Values and gradients stay the same. Without gradients (a stream alone, evaluation) they run as before.
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
