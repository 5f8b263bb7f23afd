"""Table 3's adapters on a device: milliseconds and memory over the number of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mfuser.fusion.alternatives import ADAPTERS
from mfuser.presets import FusionConfig
from train.efficiency import LENGTHS, PAPER, WIDTH
from train.gpu.inference import release
from train.gpu.timing import Row, float32_mode, median_ms, peak_gb

GRIDS = {**LENGTHS, 32768: (128, 128)}  # tokens of both encoders: patch grid of each


@torch.inference_mode()
def measure(
    device: torch.device,
    tokens: Sequence[int] = tuple(GRIDS),
    precisions: Sequence[str] = ("float32", "bf16"),
    width: int = WIDTH,
) -> list[Row]:
    """One adapter at batch 1. GB is what the forward pass adds at its peak."""
    rows = []
    for kind in PAPER:
        adapter = ADAPTERS[kind](width, FusionConfig(kind=kind)).eval().to(device)
        for precision in precisions:
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            for length in tokens:
                x = torch.randn(1, length, width, device=device).to(dtype)
                half = (length // 2, length // 2)
                with float32_mode(precision), torch.autocast(device.type, torch.bfloat16, precision == "bf16"):
                    adapter(x, half, GRIDS[length])
                    with peak_gb(device) as memory:
                        adapter(x, half, GRIDS[length])
                    ms = median_ms(lambda: adapter(x, half, GRIDS[length]), device, 0.3)  # noqa: B023
                rows.append({
                    "adapter": kind, "precision": precision, "tokens": length, "ms": round(ms, 3),
                    "ms per 1000 tokens": round(1000 * ms / length, 4),
                    "GB": round(memory["peak"] - memory["before"], 3),
                })  # fmt: skip
        release(device)
    return rows
