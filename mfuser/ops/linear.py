"""Linear layers that run oneDNN's float32 product on CPUs in inference.

torch sends float32 products to MKL, which on some CPUs (AMD's with AVX-512 among them) reaches half of oneDNN's rate.
For bfloat16 torch chooses oneDNN itself. `python -m mfuser bench` shows both rates.
"""

from __future__ import annotations

import logging
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.ops.exact import plain

logger = logging.getLogger(__name__)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear. Without gradients, on a CPU, in float32 and outside `exact.plain_torch` it runs by oneDNN.

    Args:
        x: (..., C).
        weight: (M, C).
        bias: (M,) or None.

    Returns:
        (..., M).
    """
    if (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and x.numel() > 0
        and not plain()
        and usable()
    ):
        return _onednn(x, weight, bias)
    return F.linear(x, weight, bias)


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight.contiguous(), bias, "none", [], "")


@lru_cache(maxsize=1)
def usable() -> bool:
    """True when this torch has the operator, which is not public, and it computes the same as F.linear."""
    if not torch.backends.mkldnn.is_available():
        return False
    x, weight, bias = torch.arange(24.0).view(2, 3, 4), torch.arange(20.0).view(5, 4), torch.arange(5.0)
    try:
        right = torch.equal(_onednn(x, weight, bias), F.linear(x, weight, bias))
    except (AttributeError, RuntimeError, TypeError) as error:  # another torch: absent, or with other arguments
        logger.info("products run without oneDNN: %s", error)
        return False
    return right


class Linear(nn.Linear):
    """nn.Linear by way of `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., M)."""
        return linear(x, self.weight, self.bias)


def use_fast_products(model: nn.Module) -> None:
    """Turn every plain nn.Linear into `Linear`, in place. Names, weights and gradients stay as they are."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear
