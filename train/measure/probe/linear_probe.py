"""A linear probe: one layer, softmax over the label groups, on the standardised features of single patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor

L2 = 1e-4  # times half the squared weights, beside the mean cross-entropy of a patch
STEPS = 500  # of L-BFGS at most
ABSENT = -100.0  # bias of a group without a training pixel; finite, for logits are interpolated


@dataclass(frozen=True)
class Probe:
    """One linear layer.

    Args:
        weight: (G, C) float32.
        bias: (G,) float32.
        mean: (C,) float32 of the training patches.
        deviation: (C,) float32 of the training patches.
        loss: what was minimised, at its end.
        steps: of the optimisation.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    deviation: Tensor
    loss: float = float("nan")
    steps: int = 0

    def __call__(self, features: Tensor) -> Tensor:
        """Features (..., C) -> logits (..., G) float32 on the device of the features."""
        weight, bias, mean, deviation = (
            t.to(features.device) for t in (self.weight, self.bias, self.mean, self.deviation)
        )
        return F.linear((features.float() - mean) / deviation, weight, bias)


def fit(features: Tensor, shares: Tensor, l2: float = L2) -> Probe:
    """Train a probe to the optimum of -sum(shares * log softmax) / sum(shares) + l2 / 2 * |weight|^2.

    A patch with shares of several groups is one sample of each, weighted by its share.

    Args:
        features: (N, C) float32 on the CPU.
        shares: (N, G) float32, each group's share of a patch's pixels. What is not labelled is in none.
        l2: strength of the regularisation.

    Raises:
        ValueError: nothing is labelled.
    """
    patches, groups = shares.nonzero(as_tuple=True)
    if not len(patches):
        raise ValueError("There is nothing to learn from: no patch of the training photographs is labelled.")
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    deviation = torch.where(deviation > 1e-6 * deviation.amax(), deviation, 1.0)  # constant features stay at 0
    samples = features[patches].sub_(mean).div_(deviation).numpy()
    weights, labels = shares[patches, groups].double().numpy(), groups.numpy()
    model = LogisticRegression(C=1 / (l2 * weights.sum()), max_iter=STEPS).fit(samples, labels, weights)
    weight, bias = torch.zeros(shares.shape[1], features.shape[1]), torch.full((shares.shape[1],), ABSENT)
    weight[model.classes_], bias[model.classes_] = (
        torch.from_numpy(a).float() for a in (model.coef_, model.intercept_)
    )
    chances = model.predict_proba(samples)
    loss = log_loss(labels, chances, sample_weight=weights) + l2 / 2 * float(weight.square().sum())
    return Probe(weight, bias, mean, deviation, loss, int(model.n_iter_[0]))
