"""The fused selective scan of mamba-ssm."""

from __future__ import annotations

import importlib.util
from functools import lru_cache

from torch import Tensor


@lru_cache(maxsize=1)
def installed() -> bool:
    """True when mamba-ssm is installed; importing it is left to the first call on a CUDA tensor."""
    return all(importlib.util.find_spec(name) is not None for name in ("mamba_ssm", "selective_scan_cuda"))


def scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """mamba-ssm's fused kernel; CUDA tensors only."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    u, delta, B, C = (x.contiguous() for x in (u, delta, B, C))
    D = None if D is None else D.float()
    delta_bias = None if delta_bias is None else delta_bias.float()
    return selective_scan_fn(u, delta, A.float(), B, C, D, None, delta_bias, delta_softplus)
