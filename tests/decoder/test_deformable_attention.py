"""Deformable attention against a loop over queries, heads, levels and points with its own bilinear reading."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mfuser.decoder.deformable_attention import MultiScaleDeformableAttention
from mfuser.decoder.pixel_decoder import pixel_centres

SIZES = [(2, 3), (4, 6)]


def read(plane: Tensor, x: float, y: float) -> Tensor:
    """Bilinear value at (x, y) in 0..1 over the plane, zero outside. plane: (C, h, w)."""
    _, h, w = plane.shape
    column, row = x * w - 0.5, y * h - 0.5
    left, top = math.floor(column), math.floor(row)
    value = torch.zeros(plane.shape[0])
    for i in (top, top + 1):
        for j in (left, left + 1):
            if 0 <= i < h and 0 <= j < w:
                value += (1 - abs(row - i)) * (1 - abs(column - j)) * plane[:, i, j]
    return value


def naive(module: MultiScaleDeformableAttention, query: Tensor, pos: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    heads, levels, points = module.heads, module.levels, module.points
    reference = torch.cat([pixel_centres(size, query.device) for size in sizes])
    mixed = torch.zeros_like(query)
    width = query.shape[-1] // heads
    for b in range(len(query)):
        value = module.value_proj(query[b])  # without the position
        placed = query[b] + pos[0]
        offsets = module.sampling_offsets(placed).view(-1, heads, levels, points, 2)
        weights = module.attention_weights(placed).view(-1, heads, levels * points).softmax(-1)
        for q in range(query.shape[1]):
            for head in range(heads):
                start = 0
                for level, (h, w) in enumerate(sizes):
                    channels = slice(head * width, (head + 1) * width)
                    plane = value[start : start + h * w, channels].T.reshape(width, h, w)
                    start += h * w
                    for p in range(points):
                        dx, dy = offsets[q, head, level, p].tolist()
                        x, y = reference[q, 0].item() + dx / w, reference[q, 1].item() + dy / h
                        mixed[b, q, channels] += weights[q, head, level * points + p] * read(plane, x, y)
    return module.output_proj(mixed) + query


@torch.no_grad()
def test_equals_the_loop(randomise):
    module = randomise(MultiScaleDeformableAttention(8, heads=2, levels=2, points=3))
    module.sampling_offsets.bias.mul_(1.5)  # some points fall outside the map
    g = torch.Generator().manual_seed(1)
    query, pos = torch.randn(2, 30, 8, generator=g), torch.randn(1, 30, 8, generator=g)
    reference = torch.cat([pixel_centres(size, query.device) for size in SIZES])
    found = module(query, pos, reference, SIZES)
    torch.testing.assert_close(found, naive(module, query, pos, SIZES), rtol=1e-4, atol=1e-5)


def test_position_moves_where_it_looks_not_what_it_sees(randomise):
    module = randomise(MultiScaleDeformableAttention(8, heads=2, levels=2, points=2))
    with torch.no_grad():
        module.sampling_offsets.weight.zero_()
        module.attention_weights.weight.zero_()
    query = torch.randn(1, 30, 8)
    reference = torch.cat([pixel_centres(size, query.device) for size in SIZES])
    ways = [module(query, pos, reference, SIZES) for pos in (torch.zeros(1, 30, 8), torch.randn(1, 30, 8))]
    assert torch.equal(*ways)


def test_starts_with_even_directions_and_even_weights():
    module = MultiScaleDeformableAttention(16, heads=4, levels=3, points=2)
    bias = module.sampling_offsets.bias.view(4, 3, 2, 2)
    expected = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    for point in range(2):
        for level in range(3):
            torch.testing.assert_close(bias[:, level, point], expected * (point + 1), rtol=0, atol=1e-6)
    assert all(t.abs().max() == 0 for t in (module.sampling_offsets.weight, module.attention_weights.weight))


@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_pixel_centres(size: tuple[int, int]):
    h, w = size
    expected = [((j + 0.5) / w, (i + 0.5) / h) for i in range(h) for j in range(w)]
    torch.testing.assert_close(pixel_centres(size, torch.device("cpu")), torch.tensor(expected))
