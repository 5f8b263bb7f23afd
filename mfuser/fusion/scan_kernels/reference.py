"""The recurrence of the selective scan, step by step. Every other kernel is compared with it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def time_steps(delta: Tensor, delta_bias: Tensor | None, delta_softplus: bool) -> Tensor:
    """The time steps of the scan in float32.

    Args:
        delta: (batch, dim, length) float.
        delta_bias: (dim,) float or None, added first.
        delta_softplus: apply softplus afterwards.
    """
    delta = delta.float()
    if delta_bias is not None:
        delta = delta + delta_bias.float()[:, None]
    return F.softplus(delta) if delta_softplus else delta


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
    """The recurrence written out, one step at a time. Args and returns as `selective_scan`."""
    x, delta = u.float(), time_steps(delta, delta_bias, delta_softplus)
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, A.float()))
    drive = torch.einsum("bdl,bnl->bdln", delta * x, B.float())
    h = x.new_zeros(x.shape[0], x.shape[1], A.shape[1])  # (batch, dim, state)
    ys = []
    for decay_t, drive_t, c_t in zip(decay.unbind(2), drive.unbind(2), C.float().unbind(2), strict=True):
        h = decay_t * h + drive_t
        ys.append(torch.einsum("bdn,bn->bd", h, c_t))
    y = torch.stack(ys, dim=-1)
    if D is not None:
        y = y + D.float()[:, None] * x
    return y.to(u.dtype)
