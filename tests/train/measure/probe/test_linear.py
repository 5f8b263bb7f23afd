"""The linear probe against scikit-learn, and the shares of a patch against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from train.measure.probe import linear
from train.measure.probe.linear import fit, patch_shares


@pytest.fixture
def tight(monkeypatch):
    """Train further than a report needs, so that what is left is the optimum itself."""
    monkeypatch.setattr(linear, "TOLERANCE", 1e-6)


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


def test_equals_scikit_learn(tight):
    """A patch with shares of three groups is three samples with these as weights."""
    x, shares = patches()
    l2 = 1e-2
    probe = fit(x.clone(), shares, l2)
    standard = ((x - x.mean(0)) / x.std(0, correction=0)).double().numpy()
    theirs = LogisticRegression(C=1 / (l2 * float(shares.sum())), tol=1e-10, max_iter=10000)
    theirs.fit(np.repeat(standard, 3, axis=0), np.tile([0, 1, 2], len(x)), shares.double().flatten().numpy())
    np.testing.assert_allclose(probe.weight.numpy(), theirs.coef_, atol=2e-3)
    np.testing.assert_allclose(probe(x).softmax(1).numpy(), theirs.predict_proba(standard), atol=1e-3)
    log = np.log(theirs.predict_proba(standard))
    loss = -(shares.numpy() * log).sum() / float(shares.sum()) + l2 / 2 * (theirs.coef_**2).sum()
    assert probe.loss == pytest.approx(loss, abs=1e-5)


def test_parts_give_what_the_whole_gives(tight, monkeypatch):
    x, shares = patches()
    whole = fit(x.clone(), shares)
    monkeypatch.setattr(linear, "PART", 97)
    parts = fit(x.clone(), shares)
    torch.testing.assert_close(parts(x).softmax(1), whole(x).softmax(1), atol=1e-3, rtol=0)


def test_the_same_patches_give_the_same_probe():
    x, shares = patches()
    a, b = fit(x.clone(), shares), fit(x.clone(), shares)
    assert torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) and 0 < a.steps < linear.STEPS


def test_what_is_not_labelled_teaches_nothing(tight):
    x, shares = patches()
    shares[::2] = 0
    probe = fit(x.clone(), shares, 1e-2)
    shares[1::2] *= 0.5
    half = fit(x.clone(), shares, 1e-2)
    torch.testing.assert_close(half(x), probe(x), atol=5e-3, rtol=0)
    with pytest.raises(ValueError, match="no patch of the training photographs is labelled"):
        fit(x.clone(), torch.zeros_like(shares))


def test_constant_features_and_absent_groups_are_harmless():
    x, shares = patches()
    x[:, 3] = 7.5
    probe = fit(x.clone(), torch.cat([shares, torch.zeros(len(x), 1)], dim=1))
    chances = probe(x).softmax(1)
    assert torch.isfinite(chances).all() and chances[:, 3].max() < 1e-2 and probe.weight[:, 3].abs().max() < 1e-3


@pytest.mark.parametrize("grid", [(4, 6), (5, 7), (30, 40)])
def test_shares_are_those_of_counting(grid):
    """Against counting in a picture in which every pixel is so many that all patches hold whole ones."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (12, 18)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    times = [math.lcm(side, cells) // side for side, cells in zip(truth.shape, grid, strict=True)]
    large = truth.repeat(times[0], axis=0).repeat(times[1], axis=1)
    cells = large.reshape(grid[0], large.shape[0] // grid[0], grid[1], large.shape[1] // grid[1])
    counted = np.stack([(cells == group).mean((1, 3)) for group in range(3)], axis=-1)
    np.testing.assert_allclose(patch_shares(truth, grid, 3).numpy(), counted, atol=1e-6)
