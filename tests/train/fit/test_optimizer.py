"""Parameter groups, the schedule against mmcv's formula, the moving average against its definition."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from train.fit.config import FitConfig
from train.fit.optimizer import MovingAverage, embedding_names, learning_rate, make_optimizer

CONFIG = FitConfig(iterations=100, warmup=10, lr=1e-4)


def spared(model: nn.Module, stream: str, config: FitConfig) -> set[str]:
    parameters = model.trainable(stream)
    optimizer = make_optimizer(parameters, embedding_names(model), config)
    decayed, free = optimizer.param_groups
    assert decayed["weight_decay"] == config.weight_decay and free["weight_decay"] == 0
    assert len(decayed["params"]) + len(free["params"]) == len(parameters)
    ids = {id(p) for p in free["params"]}
    return {name for name, p in parameters.items() if id(p) in ids}


def test_released_groups(tiny_model):
    names = spared(tiny_model, "fused", CONFIG)
    assert "fusion.adapters.0.norm.weight" in names
    assert "heads.fused.query_decoder.query_embed.weight" in names
    assert "heads.fused.query_decoder.layers.0.norms.0.bias" in names
    for decayed in (
        "fusion.adapters.0.A_log",
        "heads.fused.pixel_decoder.level_encoding.weight",
        "heads.fused.prompts",
    ):
        assert decayed not in names
    assert not any(".gn." in name or "memory_proj" in name or "up4" in name for name in names)


def test_corrected_groups(tiny_model):
    names = spared(tiny_model, "fused", replace(CONFIG, decay="corrected"))
    parameters = tiny_model.trainable("fused")
    assert all(name in names for name, p in parameters.items() if p.ndim <= 1)
    for free in ("fusion.adapters.0.A_log", "heads.fused.pixel_decoder.level_encoding.weight", "heads.fused.prompts"):
        assert free in names
    assert "fusion.adapters.0.in_proj.weight" not in names
    assert "heads.fused.pixel_decoder.layers.0.ffn.fc1.weight" not in names


def test_schedule():
    rates = [learning_rate(step, CONFIG) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4 * 1e-6, rel=1e-3)
    assert rates[5] == pytest.approx(((1e-4 - 1e-6) * 0.95**0.9 + 1e-6) * (1 - 0.5 * (1 - 1e-6)))
    assert rates[10] == max(rates) == pytest.approx((1e-4 - 1e-6) * 0.9**0.9 + 1e-6)
    assert rates[99] == pytest.approx((1e-4 - 1e-6) * 0.01**0.9 + 1e-6)


def test_moving_average():
    weight = nn.Parameter(torch.zeros(3))
    average = MovingAverage({"w": weight}, 0.5)
    expected = torch.zeros(3)
    for step in range(30):
        with torch.no_grad():
            weight.add_(1)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
    torch.testing.assert_close(average.average["w"], expected)
    other = MovingAverage({"w": nn.Parameter(torch.ones(3))}, 0.5)
    other.load(average.average)
    assert torch.equal(other.average["w"], average.average["w"])
