"""A temperature on class scores."""

from __future__ import annotations

import pytest
import torch

from train.metrics.tempering import tempered_logits


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, [0.8, 0.2, 0]), (2.0, [0.6667, 0.3333, 0])])
def test_a_temperature_flattens_probabilities(temperature, expected):
    found = tempered_logits(torch.tensor([0.64, 0.16, 0.0]), temperature).softmax(0)
    assert found.tolist() == pytest.approx(expected, abs=1e-3)
