"""Points at which masks are compared: mostly where predictions are uncertain (Kirillov et al. 2020, PointRend)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PointSampling:
    """How the points of each mask are chosen, with the paper's values."""

    points: int = 12544  # N
    oversample: int = 3  # candidates for each point
    uniform: float = 0.25  # share of N that is drawn anywhere

    def draw(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Choose points for P predictions of M masks, all masks in one draw.

        Args:
            logits: (P, M, h, w) float32.
            generator: of the random draws, on the logits' device; None for torch's own.

        Returns:
            (P, M, N, 2), x and y in 0..1, without gradient.
        """
        return self.uncertain(logits.detach().flatten(0, 1), generator).view(*logits.shape[:2], -1, 2)

    def uncertain(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The candidates whose logits are nearest to 0, then some points anywhere. (M, h, w) -> (M, N, 2)."""
        anywhere = int(self.uniform * self.points)
        candidates = random_points(len(logits), self.points * self.oversample, logits, generator)
        uncertainty = -sample(logits, candidates).abs()  # (M, candidates)
        chosen = uncertainty.topk(self.points - anywhere, dim=1, sorted=False).indices
        kept = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
        return torch.cat([kept, random_points(len(logits), anywhere, logits, generator)], dim=1)


def random_points(masks: int, points: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """(masks, points, 2), x and y uniform in 0..1, on the device of `like`."""
    return torch.rand(masks, points, 2, device=like.device, generator=generator)


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values at points; zero beyond the border.

    Args:
        maps: (M, h, w) float.
        points: (M, N, 2), x and y in 0..1.

    Returns:
        (M, N).
    """
    grid = (2 * points - 1)[:, None]
    return F.grid_sample(maps[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0, 0]
