"""Floating-point operations of a piece of a model, 2 per multiply-add."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count


def count_flops(run: Callable[[], object]) -> int:
    """FLOPs of matrix products, convolutions and attention while `run` runs; elementwise work is not counted."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # torch's counter does not know it

    def flops(query, key, value, *arguments, out_shape=None, **options) -> int:
        return sdpa_flop_count(query, key, value)

    with FlopCounterMode(display=False, custom_mapping={attention: flops}) as counter:
        run()
    return counter.get_total_flops()
