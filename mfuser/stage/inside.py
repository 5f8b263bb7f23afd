"""What the fusion does block by block, as a file of the stage's layout (`mfuser.stage.bundle`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mfuser.inference.analysis import Analysis
from mfuser.pictures import visualize
from mfuser.stage.bundle import pack
from mfuser.stage.projection import Projection, project, unit_rows

SIDES = ("before", "after")
# Dimensions and smallest steps of the projected tokens, by measurement on nano at 1024 x 512: the mean error of a
# cosine is 0.02 at most (mean of all: 0.014), and the file of its 6 blocks stays below 1 MB.
TOKENS = (32, 0.02)


def encode(analysis: Analysis) -> bytes:
    """Put what the drawer "Inside the fusion" shows into one file.

    Parts, with B the number of a block from 0 and ENCODER "vfm" or "vlm":

    * `offsets.B.ENCODER`: (h, w) uint8, the norm of what MVFuser added to each patch, in steps of
      `header["blocks"][B][ENCODER]["step"]`;
    * `features.B.ENCODER.SIDE`: (h, w, 3) uint8, principal components, SIDE "before" or "after", in one basis;
    * `tokens.B.ENCODER.SIDE`: projected patch tokens, compared with each other;
    * `classes.SIDE`: (K, K) float32, cosines of the class embeddings before and after MTEnhancer.

    Args:
        analysis: with the tokens of every block.

    Returns:
        The file.
    """
    arrays: dict[str, np.ndarray] = {}
    projections: dict[str, Projection] = {}
    blocks = summaries(analysis)
    for index, layer in enumerate(analysis.layers):
        for encoder, pair in layer.items():
            step = blocks[index][encoder]["step"]
            offsets = np.round(analysis.offset_norms[index][encoder] / step)
            arrays[f"offsets.{index}.{encoder}"] = offsets.astype(np.uint8)
            for side, picture, tokens in zip(SIDES, features(*pair), pair, strict=True):
                arrays[f"features.{index}.{encoder}.{side}"] = picture
                projections[f"tokens.{index}.{encoder}.{side}"] = project(unit_rows(tokens), *TOKENS)
    for side, cosines in class_cosines(analysis).items():
        arrays[f"classes.{side}"] = cosines
    grid = next(iter(analysis.offset_norms[0].values())).shape
    header = {
        "version": 1,
        "grid": list(grid),
        "encoders": list(analysis.layers[0]),
        "blocks": blocks,
        "classes": list(analysis.classes),
    }
    return pack(header, arrays, projections)


def summaries(analysis: Analysis) -> list[dict[str, dict[str, Any]]]:
    """How far MVFuser moved the patches, in numbers.

    Args:
        analysis: with the tokens of every block.

    Returns:
        For each block: encoder -> {"median", "high", "max": norms of the offsets over the patches, of which "high" is
        the 98th percentile; "length": median norm of the tokens before; "relative": median of offset / length of the
        same patch; "step": max / 255}.
    """
    found = []
    for layer, norms in zip(analysis.layers, analysis.offset_norms, strict=True):
        block = {}
        for encoder, (before, _) in layer.items():
            lengths = np.linalg.norm(before.astype(np.float32), axis=-1)
            moved = norms[encoder]
            block[encoder] = {
                "median": float(np.median(moved)),
                "high": float(np.percentile(moved, 98)),
                "max": float(moved.max()),
                "length": float(np.median(lengths)),
                "relative": float(np.median(moved / np.maximum(lengths, 1e-8))),
                "step": max(float(moved.max()), 1e-8) / 255,
            }
        found.append(block)
    return found


def features(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of two token grids in one basis, so that their colours can be compared.

    Args:
        before, after: (h, w, C) float.

    Returns:
        Two (h, w, 3) uint8 RGB.
    """
    rows = len(before)
    both = visualize.pca_rgb(np.concatenate([before, after]), (2 * rows, before.shape[1]))
    return both[:rows], both[rows:]


def class_cosines(analysis: Analysis) -> dict[str, np.ndarray]:
    """Cosines of the K class embeddings with each other, {"before", "after"}: (K, K) float32, around MTEnhancer."""
    units = {side: unit_rows(analysis.text(before=side == "before")) for side in SIDES}
    return {side: unit @ unit.T for side, unit in units.items()}
