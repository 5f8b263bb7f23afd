"""Settings of tiny runs, and points of masks that the tests can follow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mfuser.weights import tensors
from train.fit.config import FitConfig
from train.fit.point_sampling import PointSampling, random_points

FAST = {"batch": 2, "crop": 64, "points": 64, "workers": 0, "warmup": 2, "log_every": 1, "device": "cpu", "seed": 1}
FAST |= {"iterations": 3, "streams": ("fused",), "rare": 0.0, "pictures_every": 0, "tensorboard": False}


def settings(out: Path, streets: Path, **changes) -> FitConfig:
    """Three steps of the fused stream of the tiny preset, with the encoders of `tiny_run` beside `out`."""
    values = {"preset": "tiny", "data": (f"camvid:{streets}",), "out": out, "encoders": out.parent / "run"}
    values |= {**FAST, **changes}
    return FitConfig(**{**values, "warmup": min(values["warmup"], values["iterations"] - 1)})


def weights(folder: Path, stream: str = "fused") -> dict[str, Tensor]:
    return tensors.load(folder / f"stream-{stream}.safetensors")[0]


@dataclass(frozen=True)
class GridPoints(PointSampling):
    """The centres of a square grid: no random draw, so that several processes compare the same points as one."""

    def draw(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        side = round(self.points**0.5)
        centres = (torch.arange(side, device=logits.device) + 0.5) / side
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return torch.stack([x, y], dim=-1).flatten(0, 1).expand(*logits.shape[:2], -1, -1)


@dataclass(frozen=True)
class ReleasedPoints(PointSampling):
    """The draws of the released code in their order, so that one seed gives its points on a CPU."""

    batch: int = 1

    def draw(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        drawn = []
        for prediction in logits.detach():
            for _ in range(self.batch):  # points of a matching cost that fixed matching never uses
                random_points(1, self.points, logits, generator)
            drawn.append(self.uncertain(prediction, generator))
        return torch.stack(drawn)
