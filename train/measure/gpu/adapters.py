"""Table 3's adapters on a device: milliseconds and memory over the number of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mfuser.config import FusionConfig
from mfuser.fusion.alternatives import ADAPTERS
from mfuser.fusion.mvfuser import MVFuser
from mfuser.inference.precision import HEAVY
from mfuser.ops import fused_steps
from train.measure.efficiency import LENGTHS, PAPER, WIDTH
from train.measure.gpu.inference import release
from train.measure.gpu.timing import Row, float32_mode, median_ms, peak_gb

GRIDS = {**LENGTHS, 32768: (128, 128)}  # tokens of both encoders: patch grid of each
FOR_INFERENCE = "mvfuser, for inference"


@torch.inference_mode()
def measure(
    device: torch.device,
    tokens: Sequence[int] = tuple(GRIDS),
    precisions: Sequence[str] = ("float32", "bf16"),
    width: int = WIDTH,
) -> list[Row]:
    """One adapter at batch 1, as it is trained, under autocast in bf16; MVFuser also as `for_inference` makes it.

    GB is what the forward pass adds at its peak.
    """
    rows = []
    for kind in PAPER:
        adapter = ADAPTERS[kind](width, FusionConfig(kind=kind)).eval().to(device)
        for precision in precisions:
            rows += [measure_one(adapter, kind, precision, length, width, device) for length in tokens]
        if kind == "mvfuser" and "bf16" in precisions:
            for_inference(adapter, device)
            rows += [measure_one(adapter, FOR_INFERENCE, "bf16", length, width, device) for length in tokens]
        release(device)
    return rows


def for_inference(adapter: MVFuser, device: torch.device) -> None:
    """Prepare an MVFuser as a segmenter in bfloat16 on CUDA runs it, in place: scales folded, kernels of its own where
    they are trusted, weights of products in bfloat16."""
    fused_steps.trust(device)
    adapter.fold_scales()
    for module in adapter.modules():
        if isinstance(module, HEAVY):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.bfloat16()


def measure_one(adapter: nn.Module, name: str, precision: str, length: int, width: int, device: torch.device) -> Row:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    x, half = torch.randn(1, length, width, device=device).to(dtype), (length // 2, length // 2)

    def run() -> object:
        if name == FOR_INFERENCE:
            return adapter.folded(x.split(half, dim=1))  # each encoder's offsets in one piece
        return adapter(x, half, GRIDS[length])

    with float32_mode(precision), torch.autocast(device.type, torch.bfloat16, precision == "bf16"):
        run()
        with peak_gb(device) as memory:
            run()
        ms = median_ms(run, device, 0.3)
    return {
        "adapter": name, "precision": precision, "tokens": length, "ms": round(ms, 3),
        "ms per 1000 tokens": round(1000 * ms / length, 4), "GB": round(memory["peak"] - memory["before"], 3),
    }  # fmt: skip
