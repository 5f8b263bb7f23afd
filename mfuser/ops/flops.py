"""Floating-point operations of what runs, 2 per multiply-add."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count


class _Counter(TorchDispatchMode):
    """Adds up torch's formulas. Unlike torch's own counter it does not touch modules: training may run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if func._overloadpacket is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:  # torch has no formula
            self.total += sdpa_flop_count(*(x.shape for x in args[:3]))
        elif formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def count_flops(run: Callable[[], object]) -> int:
    """FLOPs of matrix products, convolutions and attention while `run` runs, backward passes included.

    Elementwise work, the compiled scan and oneDNN's products are not seen.
    """
    with _Counter() as counter:
        run()
    return counter.total
