"""A linear probe: one layer, softmax over the label groups, on the standardised features of single patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor

from mfuser.cityscapes import IGNORE

L2 = 1e-4  # times half the squared weights, beside the mean cross-entropy of a patch
STEPS, TOLERANCE = 300, 3e-5  # of L-BFGS: at most so many, until no entry of the gradient is larger
PART = 65536  # patches at once: what is computed of them stays in the cache


@dataclass(frozen=True)
class Probe:
    """weight: (G, C). bias: (G,). mean, deviation: (C,) of the training patches. loss, steps: how training ended."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    deviation: Tensor
    loss: float = float("nan")
    steps: int = 0

    def __call__(self, features: Tensor) -> Tensor:
        """Features (..., C) -> logits (..., G) float32."""
        return F.linear((features.float() - self.mean) / self.deviation, self.weight, self.bias)


def fit(features: Tensor, shares: Tensor, l2: float = L2) -> Probe:
    """Train a probe to the optimum, which is the only one; full batches, so nothing is drawn at random.

    features: (N, C) float32, which is standardised in place. shares: (N, G) float32, each group's share of a patch's
    pixels; a patch counts by their sum, for what is not labelled teaches nothing. Minimised is
    -sum(shares * log softmax) / sum(shares) + l2 / 2 * |weight|^2. Raises ValueError when nothing is labelled.
    """
    mass = float(shares.sum(dtype=torch.double))
    if not mass:
        raise ValueError("There is nothing to learn from: no patch of the training photographs is labelled.")
    mean = features.mean(0)
    deviation = features.sub_(mean).norm(dim=0) / len(features) ** 0.5
    deviation = torch.where(deviation > 1e-6 * deviation.amax(), deviation, 1.0)  # constant features stay at 0
    features.div_(deviation)
    width, groups = features.shape[1], shares.shape[1]
    # L-BFGS runs in coordinates in which features have no correlation: their optimum is the same, and is near.
    root = torch.linalg.cholesky(_moment(features) + 1e-2 * torch.eye(width, dtype=torch.double))

    def plain(flat: np.ndarray) -> tuple[Tensor, Tensor]:
        own = torch.from_numpy(flat).view(groups, width + 1)
        return torch.linalg.solve_triangular(root, own[:, :-1], upper=False, left=False), own[:, -1]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = plain(flat)
        value, slope, lift = _cross_entropy(features, shares, weight, bias)
        slope = torch.linalg.solve_triangular(root.T, slope / mass + l2 * weight, upper=True, left=False)
        total = value / mass + l2 / 2 * float(weight.square().sum())
        return total, torch.cat([slope, lift[:, None] / mass], dim=1).flatten().numpy()

    start = torch.zeros(groups, width + 1, dtype=torch.double)
    start[:, -1] = (shares.sum(0, dtype=torch.double).cpu() / mass + 1e-6).log()
    options = {"maxiter": STEPS, "maxcor": 20, "gtol": TOLERANCE, "ftol": 0.0}
    found = minimize(loss, start.flatten().numpy(), jac=True, method="L-BFGS-B", options=options)
    weight, bias = (t.float().contiguous().to(features.device) for t in plain(found.x))
    return Probe(weight, bias, mean, deviation, float(found.fun), int(found.nit))


def _moment(features: Tensor) -> Tensor:
    """Mean of x x^T over rows (N, C), (C, C) float64 on the CPU."""
    parts = (part.T @ part for part in features.split(PART))
    return sum(part.double().cpu() for part in parts) / len(features)


def _cross_entropy(features: Tensor, shares: Tensor, weight: Tensor, bias: Tensor) -> tuple[float, Tensor, Tensor]:
    """Summed loss, and its gradients by weight (G, C) and bias (G,), float64 on the CPU."""
    weight, bias = (t.float().contiguous().to(features.device) for t in (weight, bias))
    value, slope, lift = 0.0, 0.0, 0.0
    for x, target in zip(features.split(PART), shares.split(PART), strict=True):
        guess = F.linear(x, weight, bias).log_softmax(1)
        value -= float((target * guess).sum(dtype=torch.double))
        wrong = guess.exp_() * target.sum(1, keepdim=True) - target
        slope, lift = slope + (wrong.T @ x).double().cpu(), lift + wrong.sum(0, dtype=torch.double).cpu()
    return value, slope, lift


def patch_shares(truth: np.ndarray, grid: tuple[int, int], groups: int) -> Tensor:
    """Share of each patch's pixels in each group, (h, w, G) float32; what is not labelled is in none.

    truth: (H, W) uint8 group indices, 255 = ignore. A pixel on the border of two patches counts for both by its parts.
    """
    known = torch.from_numpy(truth).long()
    one_hot = F.one_hot(known.masked_fill(known == IGNORE, groups), groups + 1)[..., :groups].float()
    down, across = (_overlap(cells, side) for cells, side in zip(grid, truth.shape, strict=True))
    return torch.einsum("hy, yxg, wx -> hwg", down, one_hot, across)


def _overlap(cells: int, side: int) -> Tensor:
    """Share of every pixel in each of `cells` equal parts of an axis, (cells, side) float32; rows sum to 1."""
    edges = torch.arange(cells + 1, dtype=torch.double) * side / cells
    pixels = torch.arange(side, dtype=torch.double)
    common = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return (common.clamp_min(0) * cells / side).float()
