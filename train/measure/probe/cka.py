"""How alike two sets of features are: linear CKA (Kornblith et al. 2019) with the unbiased estimate of HSIC (Song et
al. 2012), which does not grow with the number of features as the plain one does."""

from __future__ import annotations

from torch import Tensor


def cka(x: Tensor, y: Tensor) -> float | None:
    """Linear centred kernel alignment of the same samples.

    Args:
        x: (N, C) float.
        y: (N, D) float.

    Returns:
        1 for features that differ by a rotation, a scale and a shift, about 0 for independent ones (the estimate may
        lie a little below), None where features are constant.

    Raises:
        ValueError: different samples, or fewer than 4.
    """
    if len(x) != len(y) or len(x) < 4:
        raise ValueError(f"CKA compares 4 or more of the same samples, got {len(x)} and {len(y)}.")
    x, y = ((t - t.mean(0)) for t in (x.double(), y.double()))  # changes nothing but the round-off
    both, own, other = hsic(x, y), hsic(x, x), hsic(y, y)
    return both / (own * other) ** 0.5 if min(own, other) > 0 else None


def hsic(x: Tensor, y: Tensor) -> float:
    """Unbiased HSIC of linear kernels, x (N, C) and y (N, D) float64, without the N x N kernels.

    With K = x x^T and L = y y^T, both without their diagonals:
    (tr(K L) + sum(K) sum(L) / ((N - 1)(N - 2)) - 2 / (N - 2) * 1^T K L 1) / (N (N - 3)).
    """
    n = len(x)
    diagonals = x.square().sum(1), y.square().sum(1)
    rows = x @ x.sum(0) - diagonals[0], y @ y.sum(0) - diagonals[1]  # K 1 and L 1
    trace = (x.T @ y).square().sum() - diagonals[0] @ diagonals[1]
    total = trace + rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows[0] @ rows[1]
    return float(total / (n * (n - 3)))
