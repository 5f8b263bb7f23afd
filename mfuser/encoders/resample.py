"""Position tables and patch kernels at other sizes, by plain interpolation as in the released code.

No antialiasing, no pseudo-inverse, no renormalisation. timm and open_clip do use these when they load other sizes, but
the released checkpoints were trained without them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser.encoders.base import VisionEncoder


def resample_positions(table: Tensor, grid: tuple[int, int], prefix: int, mode: str) -> Tensor:
    """Interpolate a position table. The rows of the prefix are kept.

    Args:
        table: (prefix + n*n, C) of a square grid.
        grid: (h, w) of the result.
        prefix: number of rows before those of the patches.
        mode: "bicubic" or "bilinear".

    Returns:
        (prefix + h*w, C). A table of that grid already is returned as it is.

    Raises:
        ValueError: the table is not square.
    """
    rows = len(table) - prefix
    side = round(rows**0.5)
    if side * side != rows:
        raise ValueError(f"A position table of {rows} patches is not square: the weights are another encoder's.")
    if tuple(grid) == (side, side):
        return table
    square = table[prefix:].T.unflatten(-1, (side, side))[None]  # (1, C, n, n)
    resized = _resize(square, grid, mode)[0].flatten(1).T
    return torch.cat([table[:prefix], resized])


def resample_kernel(kernel: Tensor, patch: int, mode: str) -> Tensor:
    """Interpolate a patch kernel. Its sum grows with its area, as released.

    Args:
        kernel: (C, 3, p, p).
        patch: side of the result.
        mode: "bicubic" or "bilinear".

    Returns:
        (C, 3, patch, patch).
    """
    return kernel if kernel.shape[-1] == patch else _resize(kernel, (patch, patch), mode)


def fit_grid(
    state: dict[str, Tensor], kernel: str, positions: str, encoder: VisionEncoder, kernel_mode: str, position_mode: str
) -> dict[str, Tensor]:
    """Bring patch kernel and position table of a state to an encoder's patch and grid.

    What is missing stays missing: the loader names it.

    Args:
        state: tensors by name; changed in place.
        kernel: name of the patch kernel in it.
        positions: name of the position table in it.
        encoder: whose patch and grid are taken.
        kernel_mode: interpolation of the kernel.
        position_mode: interpolation of the table.

    Returns:
        The state itself.
    """
    if kernel in state:
        state[kernel] = resample_kernel(state[kernel], encoder.patch, kernel_mode)
    if positions in state:
        table = state[positions]  # (rows, C) or (1, rows, C)
        resized = resample_positions(table.flatten(0, -2), (encoder.grid, encoder.grid), encoder.prefix, position_mode)
        state[positions] = resized.unflatten(0, (*table.shape[:-2], -1)) if table.ndim > 2 else resized
    return state


def _resize(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    return F.interpolate(x.float(), size=tuple(size), mode=mode, align_corners=False).to(x.dtype)
