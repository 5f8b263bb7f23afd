"""Class scores as probabilities of a temperature, as the page shows them."""

from __future__ import annotations

from torch import Tensor

from mfuser.inference.masks import LOWEST_SCORE


def tempered_logits(scores: Tensor, temperature: float) -> Tensor:
    """Logits whose softmax is S^(1/T) / sum S^(1/T) (temperature scaling, Guo et al. 2017).

    Args:
        scores: class scores S above 0, of any shape.
        temperature: T above 0.

    Returns:
        Logits of the same shape.
    """
    return scores.clamp_min(LOWEST_SCORE).log() / temperature
