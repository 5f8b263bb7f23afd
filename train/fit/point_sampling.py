"""Points at which masks are compared: mostly where predictions are uncertain (Kirillov et al. 2020, PointRend)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLINGS = ("random", "released", "grid")


@dataclass(frozen=True)
class PointSampling:
    """How points are chosen.

    points: N per mask. oversample: candidates per kept point. uniform: share of N drawn anywhere.
    kind: "random", all masks in one draw; "released", in the draw order of the released code, so that one CPU seed
    gives the same points; "grid", cell centres of a square grid, N being a square number.
    """

    points: int = 12544
    oversample: int = 3
    uniform: float = 0.25
    kind: str = "random"

    def __post_init__(self) -> None:
        if self.kind not in SAMPLINGS:
            raise ValueError(f"Unknown point sampling {self.kind!r}; choose one of {', '.join(SAMPLINGS)}.")
        if self.kind == "grid" and round(self.points**0.5) ** 2 != self.points:
            raise ValueError(f"A grid of {self.points} points is not square: choose n * n points, as 12544.")

    def draw(self, logits: Tensor, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Points for P predictions of M masks.

        logits: (P, M, h, w) float32. batch: number of images the masks belong to (the released order needs it).
        Returns: (P, M, N, 2), x and y in 0..1, without gradient.
        """
        p, m = logits.shape[:2]
        if self.kind == "grid":
            return _grid(self.points, logits.device).expand(p, m, -1, -1)
        logits = logits.detach()
        if self.kind == "random":
            return self._uncertain(logits.flatten(0, 1), generator).view(p, m, -1, 2)
        drawn = []
        for prediction in logits:
            for _ in range(batch):  # points of a matching cost that fixed matching never uses
                _rand(1, self.points, logits, generator)
            drawn.append(self._uncertain(prediction, generator))
        return torch.stack(drawn)

    def _uncertain(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """(M, h, w) -> (M, N, 2): the least certain of many candidates, then some anywhere."""
        anywhere = int(self.uniform * self.points)
        candidates = _rand(len(logits), self.points * self.oversample, logits, generator)
        doubt = -sample(logits, candidates).abs()  # (M, candidates)
        chosen = doubt.topk(self.points - anywhere, dim=1, sorted=False).indices
        kept = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
        return torch.cat([kept, _rand(len(logits), anywhere, logits, generator)], dim=1)


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps (M, h, w) at points (M, N, 2), x and y in 0..1; zero beyond the border. -> (M, N)."""
    grid = (2 * points - 1)[:, None]
    return F.grid_sample(maps[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0, 0]


def _rand(masks: int, points: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(masks, points, 2, device=like.device, generator=generator)


def _grid(points: int, device: torch.device) -> Tensor:
    """(N, 2), x fastest."""
    side = round(points**0.5)
    centres = (torch.arange(side, device=device) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)
