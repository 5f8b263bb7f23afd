"""CKA against the formula with its N x N kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from train.measure.probe.cka import cka, hsic


def features(seed: int, count: int = 80, width: int = 5) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def direct(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC_1 of Song et al. 2012, equation 5."""
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    n, one = len(x), np.ones(len(x))
    total = np.trace(k @ m) + one @ k @ one * (one @ m @ one) / (n - 1) / (n - 2) - 2 / (n - 2) * (one @ k @ m @ one)
    return total / (n * (n - 3))


def test_equals_the_formula_with_kernels():
    x = features(0)
    y = torch.cat([x[:, :2] ** 2, features(1, width=6)], dim=1) + 3
    assert hsic(x, y) == pytest.approx(direct(x.numpy(), y.numpy()), rel=1e-9)
    a, b, c = (direct(p.numpy(), q.numpy()) for p, q in ((x, y), (x, x), (y, y)))
    assert cka(x.float(), y.float()) == pytest.approx(a / (b * c) ** 0.5, abs=1e-5)


def test_features_are_like_themselves_turned_scaled_and_shifted():
    x = features(0)
    turn = torch.linalg.qr(features(3, 5)).Q
    assert cka(x, x) == pytest.approx(1) and cka(x, 3 * x @ turn - 7) == pytest.approx(1)
    assert cka(x, x * torch.tensor([9.0, 1, 1, 1, 1])) < 0.9
    assert cka(x, features(4)) == pytest.approx(cka(features(4), x))


def test_independent_features_are_not_alike_however_many():
    """The plain estimate says about 0.5 here."""
    values = [cka(features(2 * i, 60, 60), features(2 * i + 1, 60, 60)) for i in range(20)]
    assert abs(np.mean(values)) < 0.02 and np.std(values) < 0.1


def test_faults_and_constants():
    with pytest.raises(ValueError, match="4 or more of the same samples, got 3 and 3"):
        cka(features(0, 3), features(1, 3))
    with pytest.raises(ValueError, match="got 80 and 79"):
        cka(features(0), features(1)[:79])
    assert cka(torch.ones(9, 2), features(0, 9)) is None
