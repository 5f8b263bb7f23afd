"""Do texts find regions, and regions texts? Every labelled region of a set against the plain names of its groups."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor

MINIMUM = 0.001  # share of a picture's labelled pixels from which the pixels of a group are a region


class Regions:
    """The regions of a set in one text space: all pixels of a group in a picture together are one.

    texts: (G, C_t) unit embeddings of the groups' names. diverse: groups that no single name stands for; they are left
    out.
    """

    def __init__(self, texts: Tensor, diverse: Collection[int] = (), minimum: float = MINIMUM):
        self.texts, self.minimum = texts.cpu(), minimum
        self.named = torch.tensor([g not in diverse for g in range(len(texts))])
        self.embeddings: list[Tensor] = []
        self.groups: list[Tensor] = []

    def update(self, patches: Tensor, shares: Tensor) -> None:
        """Take in one picture: patches (h, w, C_t) unit embeddings, shares (h, w, G) of each patch's pixels.

        A region's embedding is the mean over its pixels of their patches' unit embeddings.
        """
        weights = shares.flatten(0, 1)  # (L, G)
        pixels = weights.sum(0)
        there = ((pixels > 0) & (pixels >= self.minimum * pixels.sum()) & self.named).nonzero()[:, 0]
        self.embeddings.append(F.normalize(weights[:, there].T @ patches.cpu().flatten(0, 1), dim=-1))
        self.groups.append(there)

    def scores(self) -> dict[str, float | int | None]:
        """ "regions": how many. "to text": share of regions to which their own name is the nearest of all. "to region":
        of the K regions nearest to a name, K being how many it has, the share that is its own, mean over the names that
        have a region. Both in 0..1, None without a region.
        """
        groups = torch.cat(self.groups)
        if not len(groups):
            return {"regions": 0, "to text": None, "to region": None}
        cosines = torch.cat(self.embeddings) @ self.texts.T
        cosines[:, ~self.named] = -torch.inf
        precisions = []
        for group in groups.unique().tolist():
            own = groups == group
            first = cosines[:, group].argsort(descending=True, stable=True)[: int(own.sum())]
            precisions.append(float(own[first].float().mean()))
        to_text = float((cosines.argmax(1) == groups).float().mean())
        return {"regions": len(groups), "to text": to_text, "to region": sum(precisions) / len(precisions)}
