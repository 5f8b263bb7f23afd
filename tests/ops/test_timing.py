"""Times: how many calls are made, and that measuring a model leaves it as it was."""

from __future__ import annotations

import pytest
import torch

from mfuser.inference.segmenter import Segmenter
from mfuser.ops import timing

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "laps, seconds, calls", [([1.0], 0.0, 3), ([1.0], 5.0, 5), ([0.1], 100.0, 8)], ids=["least", "seconds", "most"]
)
def test_calls_are_made_until_there_are_enough(monkeypatch, laps, seconds, calls):
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    made = []

    def run() -> None:
        made.append(1)
        now[0] += laps[0]

    times = timing.times_ms(run, CPU, warm=2, least=3, most=8, seconds=seconds)
    assert len(times) == calls and len(made) == calls + 2
    assert times == pytest.approx([laps[0] * 1000] * calls)


def test_the_rate_is_that_of_the_fastest_product(monkeypatch):
    monkeypatch.setattr(timing, "times_ms", lambda run, *a, **k: [4.0, 2.0, 8.0])
    assert timing.product_rate(torch.float32, CPU, (10, 20, 30)) == 2 * 10 * 20 * 30 / 2e-3


def test_parts_add_up_and_leave_the_model_as_it_was(tiny_model):
    segmenter, pixels = Segmenter(tiny_model), torch.rand(1, 3, 64, 64) * 255
    before = segmenter.forward(pixels).mask_logits[-1]
    parts = timing.part_times(tiny_model, lambda: segmenter.forward(pixels), CPU)
    assert set(parts) == {"VFM", "VLM", "adapters", "enhancer", "pyramid", "pixel decoder", "query decoder", "rest"}
    assert all(ms > 0 for part, ms in parts.items() if part != "rest")
    assert "block" not in vars(tiny_model.vfm) and "forward" not in vars(tiny_model.fusion)
    assert torch.equal(segmenter.forward(pixels).mask_logits[-1], before)


def test_the_slowest_operator_is_found():
    a, b = torch.randn(400, 400), torch.randn(400, 400)
    found = timing.slowest_operators(lambda: [a @ b for _ in range(20)], CPU, 3)
    assert found[0]["name"] == "aten::mm" and found[0]["calls"] == 20
