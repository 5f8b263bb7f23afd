"""The count of FLOPs against products counted by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mfuser.ops.flops import count_flops


def test_products_convolutions_and_attention_are_counted():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    x, w = torch.randn(1, 4, 6, 6), torch.randn(8, 4, 3, 3)
    q, k = torch.randn(2, 2, 10, 4), torch.randn(2, 2, 12, 4)
    assert count_flops(lambda: a @ b) == 2 * 3 * 5 * 7
    assert count_flops(lambda: F.conv2d(x, w, padding=1)) == 2 * 36 * 8 * 4 * 9
    assert count_flops(lambda: F.scaled_dot_product_attention(q, k, k)) == 2 * 2 * (2 * 2 * 10 * 12 * 4)
    assert count_flops(lambda: a + 1) == 0


def test_backward_passes_are_counted():
    x, w = torch.randn(3, 5, requires_grad=True), torch.randn(7, 5, requires_grad=True)
    assert count_flops(lambda: F.linear(x, w).sum().backward()) == 3 * 2 * 3 * 5 * 7  # one forward, two backward
