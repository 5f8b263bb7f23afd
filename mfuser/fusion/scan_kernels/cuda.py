"""The fused selective scan of mamba-ssm.

Its compiled extension alone is called: the package's Python side imports language models and what they need.
"""

from __future__ import annotations

import importlib
import logging
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def installed() -> bool:
    """True when mamba-ssm's kernels are installed and can be imported. It imports them: ask for CUDA devices only."""
    return importable("selective_scan_cuda", "mamba-ssm")


def importable(module: str, package: str) -> bool:
    """Whether a compiled module can be imported.

    A module that is there but refuses, as one built for another torch does, is reported by a warning. One that is not
    there is not.

    Args:
        module: name to import.
        package: name to install.
    """
    try:
        importlib.import_module(module)
    except (ImportError, OSError) as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == module):
            reason = " ".join(str(error).split())
            logger.warning(
                "%s cannot be used, so plain torch takes its place: %s (built for another torch? "
                "`pip uninstall %s`, then build it as requirements-gpu.txt says)", package, reason, package
            )  # fmt: skip
        return False
    return True


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
    """The fused kernel of mamba-ssm, for CUDA tensors only. Args and returns as `selective_scan`.

    delta, B and C take the dtype of u.
    """
    u, delta, B, C = (in_rows(x.to(u.dtype)) for x in (u, delta, B, C))
    D = None if D is None else D.float()
    delta_bias = None if delta_bias is None else delta_bias.float()
    return _FusedScan.apply(u, delta, A.float().contiguous(), B, C, D, delta_bias, delta_softplus)


def in_rows(x: Tensor) -> Tensor:
    """A tensor in a layout that the kernel reads.

    That is a contiguous tensor. Without gradients it may also be rows inside a larger tensor that each start at 16
    bytes, as the widest loads need.

    Args:
        x: of any shape.
    """
    unit = 16 // x.element_size()
    apart = all(s % unit == 0 for s in (*x.stride()[:-1], x.storage_offset()))
    return x if x.stride(-1) == 1 and apart and not torch.is_grad_enabled() else x.contiguous()


class _FusedScan(torch.autograd.Function):
    """The extension's two kernels, with one group of B and C for all channels and no gate."""

    @staticmethod
    def forward(ctx: Any, u, delta, A, B, C, D, delta_bias, delta_softplus: bool) -> Tensor:
        import selective_scan_cuda

        B, C = B.unsqueeze(1), C.unsqueeze(1)  # (batch, group, state, length)
        y, states = selective_scan_cuda.fwd(u, delta, A, B, C, D, None, delta_bias, delta_softplus)
        ctx.softplus = delta_softplus
        ctx.save_for_backward(u, delta, A, B, C, D, delta_bias, states)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        import selective_scan_cuda

        u, delta, A, B, C, D, delta_bias, states = ctx.saved_tensors
        du, d_delta, dA, dB, dC, dD, d_bias = selective_scan_cuda.bwd(
            u, delta, A, B, C, D, None, delta_bias, dy.to(u.dtype).contiguous(), states, None, None, ctx.softplus, False
        )
        return du, d_delta, dA, dB.squeeze(1), dC.squeeze(1), dD, d_bias, None
