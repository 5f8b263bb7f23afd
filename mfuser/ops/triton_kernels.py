"""Triton's versions of the steps in `mfuser.ops.fused_steps`, which documents shapes and meanings. Needs Triton.

Each reads every tensor in its own dtype, computes in float32, and writes the dtype of its first tensor. `gated_rms`
writes the dtype of its gate.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _rotate(x, table, out, tokens, width, sb, sn, head: tl.constexpr, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)  # one token: all its heads side by side
    place = row % tokens
    c = tl.arange(0, block)
    inside = c < width
    values = tl.load(x + (row // tokens) * sb + place * sn + c, mask=inside, other=0.0).to(tl.float32)
    angle = table + place * 2 * head + c % head  # sines of a head's channels, then cosines
    sine, cosine = tl.load(angle, mask=inside, other=0.0), tl.load(angle + head, mask=inside, other=0.0)
    even, odd = tl.split(tl.reshape(values, (block // 2, 2)))
    turned = tl.reshape(tl.join(-odd, even), (block,))
    tl.store(out + row * width + c, (values * cosine + turned * sine).to(out.dtype.element_ty), mask=inside)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """See `fused_steps.rotate_plain`."""
    b, n, heads, head = x.shape
    x = x if x.stride(-1) == 1 and x.stride(-2) == head else x.contiguous()
    out = torch.empty((b, n, heads, head), dtype=x.dtype, device=x.device)
    width = heads * head
    block = triton.next_power_of_2(width)
    _rotate[(b * n,)](x, table.float(), out, n, width, x.stride(0), x.stride(1), head, block, num_warps=4)
    return out


@triton.jit
def _gated_norm(x, weight, bias, out, sn, real, padded, eps, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, block)
    stored = i < padded  # a multiple of 8: wide loads; what lies in the padding is masked afterwards
    gate = tl.load(x + row * sn + i, mask=stored, other=0.0).to(tl.float32)
    value = tl.load(x + row * sn + padded + i, mask=stored, other=0.0).to(tl.float32)
    inside = i < real
    y = tl.where(inside, gate / (1 + tl.exp(-gate)) * value, 0.0)
    mean = tl.sum(y, 0) / real
    centred = tl.where(inside, y - mean, 0.0)
    scale = 1 / tl.sqrt(tl.sum(centred * centred, 0) / real + eps)
    w = tl.load(weight + i, mask=stored, other=0.0).to(tl.float32)
    b = tl.load(bias + i, mask=stored, other=0.0).to(tl.float32)
    y = centred * scale * w + tl.where(inside, b, 0.0)
    tl.store(out + row * padded + i, y.to(out.dtype.element_ty), mask=stored)


def gated_norm(x: Tensor, weight: Tensor, bias: Tensor, real: int, eps: float) -> Tensor:
    """See `fused_steps.gated_norm_plain`."""
    x, padded = x.contiguous(), len(weight)
    out = torch.empty((*x.shape[:-1], padded), dtype=x.dtype, device=x.device)
    rows, block = out.numel() // padded, triton.next_power_of_2(padded)
    _gated_norm[(rows,)](x, weight, bias, out, 2 * padded, real, padded, eps, block, num_warps=8)
    return out


@triton.jit
def _conv_silu(
    x, weight, out, channels, length, sb, sc, sn, ob, oc, on,
    taps: tl.constexpr, many: tl.constexpr, long: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(2).to(tl.int64)
    c, n = tl.program_id(0) * many + tl.arange(0, many), tl.program_id(1) * long + tl.arange(0, long)
    real = c < channels
    total = tl.zeros((many, long), tl.float32)
    for tap in tl.static_range(taps):
        at = n + tap - (taps - 1)
        inside = real[:, None] & ((at >= 0) & (at < length))[None, :]
        read = tl.load(x + batch * sb + c[:, None] * sc + at[None, :] * sn, mask=inside, other=0.0)
        share = tl.load(weight + c * taps + tap, mask=real, other=0.0).to(tl.float32)
        total += read.to(tl.float32) * share[:, None]
    target = out + batch * ob + c[:, None] * oc + n[None, :] * on
    tl.store(
        target, (total / (1 + tl.exp(-total))).to(out.dtype.element_ty), mask=real[:, None] & (n < length)[None, :]
    )


def conv_silu(x: Tensor, weight: Tensor) -> Tensor:
    """See `fused_steps.conv_silu_plain`."""
    b, channels, length = x.shape
    out = torch.empty_like(x)  # the same layout
    many, long = (32, 128) if x.stride(2) == 1 else (128, 32)  # long reads along what lies side by side
    _conv_silu[(triton.cdiv(channels, many), triton.cdiv(length, long), b)](
        x, weight.contiguous(), out, channels, length, *x.stride(), *out.stride(), weight.shape[-1], many, long,
        num_warps=4,
    )  # fmt: skip
    return out


@triton.jit
def _gated_rms(
    y, z, out, batches, first, length, width, sb, sc, zb, zn, eps, block: tl.constexpr, tokens: tl.constexpr
):
    batch = tl.program_id(1).to(tl.int64)
    n, c = tl.program_id(0) * tokens + tl.arange(0, tokens), tl.arange(0, block)
    here = (n < length)[None, :] & (c < width)[:, None]
    scanned = tl.load(y + batch * sb + c[:, None] * sc + n[None, :], mask=here, other=0.0).to(tl.float32)
    scale = 1 / tl.sqrt(tl.sum(scanned * scanned, 0) / width + eps)  # (tokens,)
    rows = tl.trans(scanned * scale[None, :])  # (tokens, block): channels side by side from here on
    there = (n < length)[:, None] & (c < width)[None, :]
    gate = tl.load(z + batch * zb + n[:, None] * zn + c[None, :], mask=there, other=0.0).to(tl.float32)
    gated = rows * gate / (1 + tl.exp(-gate))
    row = tl.where(n < first, batch * first + n, batches * first + batch * (length - first) + n - first)
    tl.store(out + row[:, None] * width + c[None, :], gated.to(out.dtype.element_ty), mask=there)


def gated_rms(y: Tensor, z: Tensor, eps: float, first: int) -> Tensor:
    """See `fused_steps.gated_rms_plain`."""
    b, width, length = y.shape
    y = y if y.stride(-1) == 1 else y.contiguous()
    z = z if z.stride(-1) == 1 else z.contiguous()
    out = torch.empty((b * length, width), dtype=z.dtype, device=z.device)
    block, tokens = triton.next_power_of_2(width), 16
    _gated_rms[(triton.cdiv(length, tokens), b)](
        y, z, out, b, first, length, width, y.stride(0), y.stride(1), z.stride(0), z.stride(1), eps, block, tokens,
        num_warps=8,
    )  # fmt: skip
    return out


@triton.jit
def _sample(
    value, offsets, logits, reference, sizes, out, queries, cells, heads, width, sv,
    levels: tl.constexpr, points: tl.constexpr, block: tl.constexpr, channels: tl.constexpr,
):  # fmt: skip
    batch, head = (tl.program_id(1) // heads).to(tl.int64), tl.program_id(1) % heads
    q, c = tl.program_id(0) * block + tl.arange(0, block), tl.arange(0, channels)
    inside, real = q < queries, c < width
    place = ((batch * queries + q) * heads + head) * levels * points  # of a query's logits; offsets have two each
    top = tl.full((block,), float("-inf"), tl.float32)
    for i in tl.static_range(levels * points):
        top = tl.maximum(top, tl.load(logits + place + i, mask=inside, other=0.0).to(tl.float32))
    total = tl.zeros((block,), tl.float32)
    for i in tl.static_range(levels * points):
        total += tl.exp(tl.load(logits + place + i, mask=inside, other=0.0).to(tl.float32) - top)
    at_x = tl.load(reference + 2 * q, mask=inside, other=0.0)
    at_y = tl.load(reference + 2 * q + 1, mask=inside, other=0.0)
    maps = value + batch * cells * sv + head * width
    mixed = tl.zeros((block, channels), tl.float32)
    for level in tl.static_range(levels):
        h, w = tl.load(sizes + 3 * level), tl.load(sizes + 3 * level + 1)
        start = tl.load(sizes + 3 * level + 2)
        for point in tl.static_range(points):
            i = level * points + point
            share = tl.exp(tl.load(logits + place + i, mask=inside, other=0.0).to(tl.float32) - top) / total
            x = at_x * w + tl.load(offsets + 2 * (place + i), mask=inside, other=0.0).to(tl.float32) - 0.5
            y = at_y * h + tl.load(offsets + 2 * (place + i) + 1, mask=inside, other=0.0).to(tl.float32) - 0.5
            left, above = tl.floor(x), tl.floor(y)
            for corner in tl.static_range(4):
                column, row = left + corner % 2, above + corner // 2
                near = share * (1 - tl.abs(x - column)) * (1 - tl.abs(y - row))
                within = inside & (column >= 0) & (column < w) & (row >= 0) & (row < h)
                cell = tl.where(within, start + row.to(tl.int32) * w + column.to(tl.int32), 0)
                read = tl.load(maps + cell[:, None] * sv + c[None, :], mask=within[:, None] & real[None, :], other=0.0)
                mixed += near[:, None] * read.to(tl.float32)
    target = out + ((batch * queries + q)[:, None] * heads + head) * width + c[None, :]
    tl.store(target, mixed.to(out.dtype.element_ty), mask=inside[:, None] & real[None, :])


@lru_cache(maxsize=16)
def _places(sizes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """Height, width and first cell of each level, (levels, 3) int32."""
    starts = (sum(h * w for h, w in sizes[:i]) for i in range(len(sizes)))
    return torch.tensor([(h, w, s) for (h, w), s in zip(sizes, starts, strict=True)], dtype=torch.int32, device=device)


def sample(
    value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor, sizes: list[tuple[int, int]], heads: int
) -> Tensor:
    """See `mfuser.decoder.deformable_attention.sample_plain`."""
    b, cells, width = value.shape
    queries, levels = len(reference), len(sizes)
    value = value if value.stride(-1) == 1 and value.stride(0) == cells * value.stride(1) else value.contiguous()
    table = _places(tuple(map(tuple, sizes)), value.device)
    out = torch.empty((b, queries, width), dtype=value.dtype, device=value.device)
    block, channels = 32, triton.next_power_of_2(width // heads)
    _sample[(triton.cdiv(queries, block), b * heads)](
        value, offsets.contiguous(), logits.contiguous(), reference.float(), table, out, queries, cells, heads,
        width // heads, value.stride(1), levels, logits.shape[-1] // heads // levels, block, channels, num_warps=4,
    )  # fmt: skip
    return out
