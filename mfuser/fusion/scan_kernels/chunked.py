"""The selective scan in plain torch, with gradients: chunks of steps advance together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser.fusion.scan_kernels.reference import time_steps

# Steps per chunk. On a CPU the two sequential loops (within a chunk, over chunks) balance near sqrt(length); on a GPU a
# step within a chunk launches ten times as many kernels as a step over chunks.
CHUNK = {"cpu": 32, "cuda": 10}


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
    """The scan in plain torch, with gradients. Args and returns as `selective_scan`.

    All chunks advance together. One short pass then carries the states over the chunks.
    """
    x = u.float()
    delta = time_steps(delta, delta_bias, delta_softplus)
    y = _ChunkedScan.apply(x, delta, A.float(), B.float(), C.float())
    if D is not None:
        y = y + D.float()[:, None] * x
    return y.to(u.dtype)


def _chunk(x: Tensor) -> Tensor:
    """(batch, channels, length) -> (chunk, batch, chunks, channels), zero-padded: slice t is step t of every chunk."""
    batch, channels, length = x.shape
    chunk = CHUNK.get(x.device.type, CHUNK["cuda"])
    x = F.pad(x, (0, -length % chunk))
    return x.view(batch, channels, -1, chunk).permute(3, 0, 2, 1).contiguous()


def _unchunk(x: Tensor, length: int) -> Tensor:
    """Inverse of `_chunk`."""
    return x.permute(1, 3, 2, 0).reshape(x.shape[1], x.shape[3], -1)[:, :, :length]


def _carry(state: Tensor, total: Tensor, reverse: bool = False) -> Tensor:
    """State with which each chunk begins, from the chunks' own final states and total decays (batch, chunks, n, d)."""
    chunks = range(state.shape[1])
    chunks = chunks[::-1] if reverse else chunks
    entry = torch.zeros_like(state)
    for c, following in zip(chunks[:-1], chunks[1:], strict=True):
        torch.addcmul(state[:, c], total[:, c], entry[:, c], out=entry[:, following])
    return entry


def _in_float32(function: Callable) -> Callable:
    """Run outside autocast, which would take the products of the recurrence to half precision."""

    @functools.wraps(function)
    def run(ctx, first: Tensor, *rest: Tensor):
        with torch.autocast(first.device.type, enabled=False):
            return function(ctx, first, *rest)

    return run


class _ChunkedScan(torch.autograd.Function):
    """y_t = C_t . h_t, both directions chunked. The states are recomputed in the backward pass, not stored.

    Work tensors are (T, batch, chunks, state, dim): T steps in a chunk, channels innermost so that they vectorise.
    """

    @staticmethod
    @_in_float32
    def forward(ctx, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        ctx.save_for_backward(u, delta, A, B, C)
        c = _chunk(C).unsqueeze(-2)  # (T, b, m, 1, n)
        y = [torch.matmul(c[t], h).squeeze(-2) for t, h, _ in _ChunkedScan.states(u, delta, A, B)]  # T x (b, m, d)
        return _unchunk(torch.stack(y), u.shape[-1])

    @staticmethod
    def states(u: Tensor, delta: Tensor, A: Tensor, B: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yields (t, h_t, decay_t) for t = 0..T-1, each tensor (batch, chunks, state, dim) over all chunks at once."""
        steps, b = _chunk(delta), _chunk(B).unsqueeze(-1)
        du, a = _chunk(delta * u).unsqueeze(-2), A.t().contiguous()
        decay = [(step.unsqueeze(-2) * a).exp_() for step in steps]
        state = b[0] * du[0]
        for t in range(1, len(steps)):  # pass 1: every chunk from zero
            state = torch.addcmul(b[t] * du[t], decay[t], state)
        h = _carry(state, (steps.sum(0).unsqueeze(-2) * a).exp_())
        for t in range(len(steps)):  # pass 2: every chunk from its entry state
            h = torch.addcmul(b[t] * du[t], decay[t], h)
            yield t, h, decay[t]

    @staticmethod
    @_in_float32
    def backward(ctx, dy: Tensor) -> tuple[Tensor, ...]:
        u, delta, A, B, C = ctx.saved_tensors
        length, a = u.shape[-1], A.t().contiguous()
        dy, c = _chunk(dy).unsqueeze(-2), _chunk(C).unsqueeze(-1)
        steps, b = _chunk(delta), _chunk(B).unsqueeze(-2)
        du = _chunk(delta * u)
        h, decay = zip(*[(h, decay) for _, h, decay in _ChunkedScan.states(u, delta, A, B)], strict=True)

        # g_t = dL/dh_t runs backwards in time: g_t = C_t dy_t + decay_{t+1} g_{t+1}. Decays are shifted by one step,
        # so a chunk's last step uses the first decay of the chunk after it.
        first_of_next = F.pad(decay[0][:, 1:], (0, 0, 0, 0, 0, 1))
        shifted = [*decay[1:], first_of_next]
        g = c[-1] * dy[-1]
        for t in reversed(range(len(steps) - 1)):
            g = torch.addcmul(c[t] * dy[t], shifted[t], g)
        total = (steps[1:].sum(0).unsqueeze(-2) * a).exp_() * first_of_next
        g = _carry(g, total, reverse=True)

        dC, dB, d_du, d_delta, dA = [], [], [], [], torch.zeros_like(a)
        entry = F.pad(h[-1][:, :-1], (0, 0, 0, 0, 1, 0))  # state before each chunk's first step
        for t in reversed(range(len(steps))):
            g = torch.addcmul(c[t] * dy[t], shifted[t], g)
            dC.append(torch.matmul(h[t], dy[t].transpose(-1, -2)).squeeze(-1))  # (b, m, n)
            dB.append(torch.matmul(g, du[t].unsqueeze(-1)).squeeze(-1))
            d_du.append(torch.matmul(b[t], g).squeeze(-2))  # (b, m, d)
            d_exponent = g * decay[t] * (h[t - 1] if t else entry)  # dL/d(delta_t A)
            dA += (d_exponent * steps[t].unsqueeze(-2)).sum((0, 1))
            d_delta.append((d_exponent * a).sum(-2))
        dC, dB, d_du, d_delta = (_unchunk(torch.stack(x[::-1]), length) for x in (dC, dB, d_du, d_delta))
        return d_du * delta, d_delta + d_du * u, dA.t(), dB, dC
