"""`python -m train distance`: how far two sets of pictures lie apart in the eyes of a preset's VFM.

Frechet distance (Dowson and Landau 1982; between features as by Heusel et al. 2017) of the tokens that enter the VFM's
blocks, averaged over the cells of a coarse grid: textures, edges and colours, not layout. Two halves of one set give
the floor below which a distance says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from scipy.linalg import sqrtm
from torch.nn.functional import adaptive_avg_pool2d
from tqdm import tqdm

from mfuser import images, presets
from mfuser.model import MFuser
from mfuser.windows import working_size
from train.data import SegmentationData, open_dataset
from train.weights import load_encoders

GRID = (4, 8)  # cells of a picture, down and across: one feature vector each


@dataclass(frozen=True)
class DistanceConfig:
    """Compare two sets of pictures, labelled or not.

    a, b: `[name:]ROOT[/split]`. limit: pictures of each, spread evenly. size: short side in pixels at which both are
    looked at. weights: folder of the encoders, default the preset's own.
    """

    a: str
    b: str
    preset: str = "nano"
    limit: int = 100
    size: int = 320
    weights: Path | None = None


@torch.no_grad()
def features(model: MFuser, dataset: SegmentationData, size: int) -> np.ndarray:
    """(N * cells, C) float64: mean token of each cell of each picture, as it enters the first block."""
    found = []
    for index in tqdm(range(len(dataset)), desc=dataset.name, leave=False, unit="img"):
        picture = dataset.image(index)
        resized = images.resize(picture, *working_size(picture.shape[:2], model.preset, size))
        tokens, grid = model.vfm.embed(torch.from_numpy(resized).permute(2, 0, 1)[None].float())
        cells = model.vfm.to_map(tokens, grid)
        found.append(adaptive_avg_pool2d(cells, GRID)[0].flatten(1).T.double().numpy())
    return np.concatenate(found)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared distance of two Gaussians fitted to (N, C) and (M, C) features.

    |mean a - mean b|^2 + trace(A + B - 2 (A B)^(1/2)). Raises ValueError for fewer samples than features.
    """
    if min(len(a), len(b)) <= a.shape[1]:
        few = min(len(a), len(b))
        raise ValueError(f"{few} features are too few for {a.shape[1]} dimensions: compare more pictures.")
    mean = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    left, right = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(left @ right))
    return float(mean + np.trace(left + right - 2 * root))


def main(argv: list[str] | None = None) -> None:
    """Print the distance, and that of the halves of `a`."""
    config = tyro.cli(DistanceConfig, args=argv, prog="python -m train distance", description=__doc__)
    preset = presets.get(config.preset)
    model = load_encoders(preset, [config.weights or preset.weights] if config.weights or preset.weights else [])
    sets = [open_dataset(spec, labelled=False, limit=config.limit) for spec in (config.a, config.b)]
    a, b = (features(model, dataset, config.size) for dataset in sets)
    cells = GRID[0] * GRID[1]
    order = np.arange(len(a)) // cells % 2  # every other picture
    print(f"{sets[0].name} to {sets[1].name}: {frechet(a, b):.3f}")
    print(f"{sets[0].name}, one half to the other: {frechet(a[order == 0], a[order == 1]):.3f}")
