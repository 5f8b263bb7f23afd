"""The selective scan of Mamba, and the dispatch to its kernels.

For each channel d and state n, with h_0 = 0 (Gu and Dao 2023, "Mamba", equation 2 with zero-order-hold A and Euler B):

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t          y_t = C_t . h_t + D u_t

All kernels share one signature and compute the same function. `selective_scan` picks the fastest that is valid:

| where                             | kernel     | file                        |
|-----------------------------------|------------|-----------------------------|
| CUDA with mamba-ssm               | "cuda"     | `scan_kernels/cuda.py`      |
| CPU with numba, without gradients | "compiled" | `scan_kernels/compiled.py`  |
| everywhere else                   | "chunked"  | `scan_kernels/chunked.py`   |
| on request, for comparisons       | "reference"| `scan_kernels/reference.py` |
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from mfuser.fusion.scan_kernels import chunked, compiled, cuda, reference
from mfuser.ops.exact import plain

logger = logging.getLogger(__name__)

selective_scan_reference = reference.scan
KERNELS: dict[str, Callable[..., Tensor]] = {
    "reference": reference.scan,
    "chunked": chunked.scan,
    "compiled": compiled.scan,
    "cuda": cuda.scan,
}


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    kernel: str | None = None,
) -> Tensor:
    """Selective scan over the last axis. The recurrence runs in float32 whatever the input dtype.

    Args:
        u: (batch, dim, length) float, the input.
        delta: (batch, dim, length) float, the time steps.
        A: (dim, state) float, negative.
        B: (batch, state, length) float.
        C: (batch, state, length) float.
        D: (dim,) float or None, the skip connection.
        delta_bias: (dim,) float or None, added to delta first.
        delta_softplus: apply softplus to delta after its bias.
        kernel: "reference", "chunked" (plain torch), "compiled" (CPU without gradients, numba), "cuda" (mamba-ssm),
            or None for the fastest valid one ("chunked" on a CPU inside `exact.plain_torch`).

    Returns:
        (batch, dim, length), dtype of u.

    Raises:
        ValueError: unknown kernel, or one that cannot run here.
    """
    # The dispatch: the kernel that was asked for, or the fastest valid one; then what it needs is checked.
    arguments = (u, delta, A, B, C, D, delta_bias)
    grad = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in arguments)
    name = kernel or running_kernel(u.device, grad)
    if name not in KERNELS:
        raise ValueError(f"Unknown scan kernel {name!r}; choose one of {', '.join(KERNELS)}.")
    if name == "cuda" and not (u.is_cuda and cuda.installed()):
        raise ValueError("The cuda scan kernel needs mamba-ssm (requirements-gpu.txt) and tensors on a CUDA device.")
    if name == "compiled" and (grad or u.device.type != "cpu" or not compiled.installed()):
        raise ValueError("The compiled scan kernel needs numba, tensors on the CPU, and no gradients.")
    return KERNELS[name](*arguments, delta_softplus)


def running_kernel(device: torch.device, grad: bool = False) -> str:
    """Name of the kernel that `selective_scan` runs by default.

    It is `fastest_kernel`, with two exceptions on CPUs. It is "chunked" inside `exact.plain_torch`. It is "chunked" as
    well where the compiled kernel does not work; numba is imported to find out.

    Args:
        device: of the tensors.
        grad: whether gradients are needed.
    """
    if device.type == "cpu" and plain():
        return "chunked"
    name = fastest_kernel(device, grad)
    return "chunked" if name == "compiled" and not compiled.ready() else name


@lru_cache(maxsize=16)
def fastest_kernel(device: torch.device, grad: bool = False) -> str:
    """Name of the fastest kernel that is valid; each choice is logged once.

    Args:
        device: of the tensors.
        grad: whether gradients are needed.
    """
    name = "chunked"
    if device.type == "cuda" and cuda.installed():
        name = "cuda"
    elif device.type == "cpu" and not grad and compiled.installed():
        name = "compiled"
    logger.info("selective scan on %s%s: %s kernel", device, " with gradients" if grad else "", name)
    return name
