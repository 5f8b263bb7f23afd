"""The linear probe reaches the optimum of its loss, and soft labels count by their shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from train.measure.probe.linear_probe import STEPS, fit


def patches(seed: int = 0, count: int = 600) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (N, 6) of very different scale, correlated, and shares (N, 3); some patches are labelled in part."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, count)
    x = rng.normal(size=(count, 6)) + 1.2 * np.eye(6)[kind]
    x[:, 5] = x[:, 0] + 0.05 * rng.normal(size=count)
    x = x * (100, 1, 0.01, 1, 1, 1) + (5, -3, 0, 0, 100, 0)
    shares = 0.7 * np.eye(3)[kind] + 0.3 * rng.dirichlet(np.ones(3), count)
    shares *= rng.choice([1.0, 0.25], count)[:, None]
    return torch.from_numpy(x).float(), torch.from_numpy(shares).float()


def test_it_is_the_optimum_of_its_loss():
    x, shares = patches()
    probe = fit(x, shares, l2=1e-2)
    weight = probe.weight.clone().requires_grad_(True)
    standard = (x - x.mean(0)) / x.std(0, correction=0)
    logits = standard @ weight.T + probe.bias
    torch.testing.assert_close(probe(x), logits.detach(), atol=1e-4, rtol=1e-4)
    loss = -(shares * logits.log_softmax(1)).sum() / shares.sum() + 1e-2 / 2 * weight.square().sum()
    loss.backward()
    assert weight.grad.abs().max() < 2e-4 and probe.loss == pytest.approx(loss.item(), abs=1e-5)
    assert 0 < probe.steps < STEPS


def test_what_is_not_labelled_teaches_nothing():
    x, shares = patches()
    shares[::2] = 0
    probe = fit(x, shares, 1e-2)
    shares[1::2] *= 0.5
    half = fit(x, shares, 1e-2)
    torch.testing.assert_close(half(x), probe(x), atol=5e-3, rtol=0)
    with pytest.raises(ValueError, match="no patch of the training photographs is labelled"):
        fit(x, torch.zeros_like(shares))


def test_constant_features_and_absent_groups_are_harmless():
    x, shares = patches()
    x[:, 3] = 7.5
    probe = fit(x, torch.cat([shares, torch.zeros(len(x), 1)], dim=1))
    chances = probe(x).softmax(1)
    assert torch.isfinite(chances).all() and chances[:, 3].max() < 1e-9 and probe.weight[:, 3].abs().max() < 1e-3
