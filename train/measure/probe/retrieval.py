"""Do texts find regions, and regions texts? All pixels of a group in a picture together are one region."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy
from torchmetrics.retrieval import RetrievalRPrecision

MINIMUM = 0.001  # share of a picture's labelled pixels from which the pixels of a group are a region


def regions_of(patches: Tensor, shares: Tensor, minimum: float = MINIMUM) -> tuple[Tensor, Tensor]:
    """The regions of one picture: unit embeddings (R, C_t), the means over their pixels, and groups (R,) int64.

    Args:
        patches: (h, w, C_t) unit embeddings.
        shares: (h, w, G), share of each patch's pixels in each group.
        minimum: least share of the labelled pixels.
    """
    weights = shares.flatten(0, 1)  # (L, G)
    pixels = weights.sum(0)
    groups = ((pixels > 0) & (pixels >= minimum * pixels.sum())).nonzero()[:, 0]
    return F.normalize(weights[:, groups].T @ patches.flatten(0, 1), dim=-1), groups


def retrieval_scores(
    embeddings: Tensor, groups: Tensor, texts: Tensor, diverse: Collection[int] = ()
) -> dict[str, float | int | None]:
    """Scores of the regions of a set against the plain names of its groups.

    Args:
        embeddings: (R, C_t) unit embeddings of regions.
        groups: (R,) int64.
        texts: (G, C_t) unit embeddings of the groups' names.
        diverse: groups that no single name stands for. They are left out.

    Returns:
        "regions": how many. "to text": share of regions to which their own name is the nearest of all. "to region":
        R-precision, the mean over the names that have a region. Both in 0..1, None without a region.
    """
    named = torch.tensor([g not in diverse for g in range(len(texts))])
    embeddings, groups = embeddings[named[groups]], groups[named[groups]]
    if not len(groups):
        return {"regions": 0, "to text": None, "to region": None}
    cosines = (embeddings @ texts.T).masked_fill(~named, -2.0)  # below every cosine
    own = F.one_hot(groups, len(texts)).T  # (G, R)
    names = torch.arange(len(texts))[:, None].expand_as(own)
    to_region = RetrievalRPrecision(empty_target_action="skip")(cosines.T.flatten(), own.flatten(), names.flatten())
    to_text = multiclass_accuracy(cosines, groups, len(texts), average="micro")
    return {"regions": len(groups), "to text": float(to_text), "to region": float(to_region)}
