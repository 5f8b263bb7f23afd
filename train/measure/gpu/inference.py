"""Forward passes of the paper's presets: time, memory, and the share of the ceiling."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mfuser.fusion.mvfuser import MVFuser
from mfuser.fusion.selective_scan import running_kernel
from mfuser.inference.segmenter import Segmenter
from mfuser.inference.streamline import blocks_of, compile_blocks
from mfuser.loading import MFuser
from mfuser.ops.flops import count_flops
from mfuser.ops.timing import one_ms, part_times, random_token_ids, slowest_operators
from train.measure.efficiency import formulas
from train.measure.gpu.timing import PRECISIONS, Row, float32_mode, median_ms, peak_gb


def random_model(name: str, device: torch.device) -> MFuser:
    """A preset with random weights, made on the device; token ids stand in for a vocabulary that is not at hand."""
    torch.manual_seed(0)
    with device:
        model = MFuser.from_preset(name, pretrained=False).to(device)
    if model.class_ids is None:
        model.set_class_ids(random_token_ids(len(model.preset.classes), model.preset.decoder.class_tokens))
    return model.to(device)


def pixels_of(batch: int, size: int, device: torch.device) -> Tensor:
    return torch.rand(batch, 3, size, size, device=device) * 255


def forward_flops(model: MFuser, size: int, device: torch.device) -> float:
    """FLOPs of the fused stream for one image: what torch counts, and the convolutions and scans of the adapters."""
    pixels, unseen = pixels_of(1, size, device), []

    def note(module: MVFuser, arguments: tuple) -> None:
        unseen.append(sum(formulas(module, arguments[0])))

    hooks = [m.register_forward_pre_hook(note) for m in model.modules() if isinstance(m, MVFuser)]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator, which the counter does not know
    try:
        with torch.no_grad():
            counted = count_flops(lambda: model(pixels))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
    return counted + sum(unseen)


def measure(
    names: Sequence[str],
    size: int,
    batches: Sequence[int],
    precisions: Sequence[str],
    rates: dict[str, float],
    device: torch.device,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """One row for each preset, precision and batch. rates: the machine's ceilings in TFLOP/s."""
    rows: list[Row] = []
    for name in names:
        model = random_model(name, device).for_inference()  # as users run it
        with torch.no_grad(), float32_mode("float32"):
            model(pixels_of(1, size, device))  # the class texts are computed once and kept
            flops = forward_flops(model, size, device)
        for precision in sorted(precisions, key=PRECISIONS.index):  # bf16 last: it may change the stored weights
            segmenter = Segmenter(model, str(device), "bf16" if precision == "bf16" else "float32")
            for batch in batches:
                rows.append(measure_one(segmenter, precision, batch, size, flops, rates[precision]))
                say(" ".join(f"{k}={v}" for k, v in rows[-1].items()))
        del model, segmenter
        release(device)
    exact = {(r["preset"], r["batch"]): r["ms"] for r in rows if r["precision"] == "float32"}
    for row in rows:
        base = exact.get((row["preset"], row["batch"]))
        row["times float32"] = round(base / row["ms"], 2) if base else None
    return rows


@torch.inference_mode()
def measure_one(segmenter: Segmenter, precision: str, batch: int, size: int, flops: float, rate: float) -> Row:
    """Time and memory of the fused stream, weights included."""
    device = segmenter.device
    pixels, row = pixels_of(batch, size, device), {"preset": segmenter.preset.name, "precision": precision}
    row |= {"batch": batch, "scan": running_kernel(device)}
    with float32_mode(precision):
        try:
            with peak_gb(device) as memory:
                output = segmenter.forward(pixels)
            if not all(bool(m.isfinite().all()) for m in (*output.mask_logits, *output.class_logits)):
                raise ValueError(f"{segmenter.preset.name} gives values that are not finite in {precision}.")
            del output
            ms = median_ms(lambda: segmenter.forward(pixels), device)
        except torch.OutOfMemoryError:
            release(device)
            return {**row, "ms": float("nan"), "images/s": 0.0, "peak GB": None, "TFLOP": None, "share": "no memory"}
    done = flops * batch
    return {
        **row,
        "ms": round(ms, 2),
        "images/s": round(1000 * batch / ms, 1),
        "peak GB": round(memory["peak"], 2),
        "TFLOP": round(done / 1e12, 3),
        "share": f"{done / ms / 1e9 / rate:.1%}",
    }


def release(device: torch.device) -> None:
    """Give memory of models that are gone back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@torch.inference_mode()
def profile(segmenter: Segmenter, batch: int, size: int, count: int = 30) -> tuple[list[Row], list[Row]]:
    """Where the time of one forward pass goes: its parts, and the `count` slowest kernels (operators on a CPU)."""
    pixels, device = pixels_of(batch, size, segmenter.device), segmenter.device

    def forward() -> object:
        return segmenter.forward(pixels)

    forward()
    spent = part_times(segmenter.model, forward, device)
    total = sum(spent.values())
    parts = [{"part": k, "ms": round(v, 2), "share": f"{v / total:.0%}"} for k, v in spent.items()]
    found = slowest_operators(forward, device, count)
    return parts, [{"kernel": e["name"][:90], "ms": round(e["ms"], 3), "calls": e["calls"]} for e in found]


@torch.no_grad()  # in inference mode the model would be made of tensors that keep no version
def compiled(name: str, size: int, batches: Sequence[int], rates: dict[str, float], device: torch.device) -> list[Row]:
    """bf16 with compiled blocks: time of the first pass, and how far the masks' logits are from uncompiled ones."""
    model = random_model(name, device).for_inference()
    with torch.no_grad(), float32_mode("float32"):
        model(pixels_of(1, size, device))
        flops = forward_flops(model, size, device)
    segmenter, rows = Segmenter(model, str(device), "bf16"), []
    for batch in batches:
        torch._dynamo.reset()
        for block in blocks_of(model):
            block._compiled_call_impl = None
        pixels = pixels_of(batch, size, device)
        before = segmenter.forward(pixels).mask_logits[-1].float()
        compile_blocks(model, dynamic=False)
        first = one_ms(lambda: segmenter.forward(pixels), device)  # noqa: B023
        after = segmenter.forward(pixels).mask_logits[-1].float()
        row = measure_one(segmenter, "bf16", batch, size, flops, rates["bf16"])
        differ = ((after - before).norm() / before.norm()).item()
        rows.append({**row, "first pass s": round(first / 1000, 1), "difference": f"{differ:.1e}"})
    return rows
