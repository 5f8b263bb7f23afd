"""Matrices and kernels in few bits: every row as small integers and one scale.

That takes a half or a quarter of the size of float16 on disk.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE, INTEGERS = "@scale", {8: "@int8", 4: "@int4"}


def pack(name: str, matrix: Tensor, bits: int) -> dict[str, Tensor]:
    """Entries of a file that stand for a matrix of floats.

    A row's scale is its largest magnitude / (2 ^ (bits - 1) - 1), and its values are rounded to integers of the scale.
    Packing what was unpacked gives the same bytes.

    Args:
        name: of the matrix.
        matrix: (N, C) float, C even for 4 bits. With 8 bits it may be a convolution's kernel (N, C, k, k) too.
        bits: 4 or 8.

    Returns:
        `name@int8` (N, C) int8, or `name@int4` (N, C / 2) uint8 with two columns in a byte; and `name@scale` (N, 1)
        float16, (N, 1, 1, 1) for a kernel.
    """
    most = 2 ** (bits - 1) - 1
    matrix = matrix.detach().float().cpu()
    scale = (matrix.abs().amax(tuple(range(1, matrix.ndim)), keepdim=True) / most).half()
    steps = (matrix / torch.where(scale > 0, scale, 1).float()).round().clamp(-most, most).to(torch.int8)
    if bits == 4:
        steps = (steps + 8).to(torch.uint8)
        steps = steps[:, 0::2] | steps[:, 1::2] << 4
    return {name + INTEGERS[bits]: steps.contiguous(), name + SCALE: scale}


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Restore the packed matrices of a file.

    Args:
        tensors: of the file by name.

    Returns:
        The tensors, with every packed matrix as float32 under its own name. Entries that are no whole pair of integers
        and scale stay as they are.
    """
    found = dict(tensors)
    for key, tensor in tensors.items():
        name, sign, kind = key.rpartition("@")
        if sign + kind in INTEGERS.values() and name + SCALE in tensors:
            if sign + kind == INTEGERS[4]:
                tensor = torch.stack([tensor & 15, tensor >> 4], dim=-1).flatten(1).to(torch.int8) - 8
            found[name] = tensor.float() * found.pop(name + SCALE).float()
            del found[key]
    return found


def rounded(tensors: Mapping[str, Tensor], bits: Mapping[str, int]) -> dict[str, Tensor]:
    """The values that a file would return for some matrices.

    Args:
        tensors: by name.
        bits: {name: 4 or 8} of the matrices.
    """
    return {name: unpack(pack(name, tensors[name], count))[name] for name, count in bits.items()}
