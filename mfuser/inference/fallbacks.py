"""Masks for streams that no decoder was trained for, from what their frozen encoder gives alone.

The paper trains one decoder, behind the fused features. The columns beside it are filled truthfully all the same, and
are called what they are wherever they are shown: a VLM by its own words (zero-shot), a VFM, which has none, by groups
of patches that look alike (clusters), coloured by what the fused mask says there most often.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from mfuser.inference.analysis import CLUSTERS


def zero_shot(dense: np.ndarray, texts: np.ndarray, temperature: float) -> tuple[Tensor, Tensor]:
    """Cosines of every patch with every class name, and the softmax over the names of the best one.

    dense: (h, w, C_t) unit embeddings. texts: (K, C_t) unit. temperature: that of the encoder's own alignment. Returns:
    scores (1, K, h, w), to be upsampled before the argmax; confidence (1, 1, h, w) in [1/K, 1], which was fitted to
    nothing: it says how far the best name is ahead of the others, not how often it is right.
    """
    cosines = torch.from_numpy(dense.astype(np.float32) @ texts.T.astype(np.float32)).permute(2, 0, 1)[None]
    return cosines, (cosines / temperature).softmax(1).amax(1, keepdim=True)


def cluster(tokens: np.ndarray, count: int = CLUSTERS) -> Tensor:
    """k-means of the directions of patch tokens: closeness to each centre, (1, k, h, w), to be upsampled before the
    argmax, which then names the nearest centre.

    tokens: (h, w, C). k is `count`, or the number of different tokens where there are fewer. Seeded, and in one thread:
    the same tokens give the same clusters.
    """
    h, w, _ = tokens.shape
    rows = F.normalize(torch.from_numpy(tokens.astype(np.float32)), dim=-1).flatten(0, 1).numpy()
    k = min(count, len(np.unique(rows, axis=0)))
    from sklearn.cluster import KMeans  # here, not above: see `visualize.pca_rgb`

    with threadpool_limits(1):
        centres = KMeans(k, n_init=1, random_state=0).fit(rows).cluster_centers_.astype(np.float32)
    distance = (centres**2).sum(-1) / 2 - rows @ centres.T  # half the square, less what all centres share
    return torch.from_numpy(-distance.reshape(h, w, k)).permute(2, 0, 1)[None]


def label_clusters(clusters: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give each cluster the class that a mask has there most often.

    clusters, mask: (H, W) uint8, without 255. Returns: (H, W) uint8 train ids; (H, W) float32 in (0, 1], the share of
    the cluster's pixels that the mask gives this class: how pure the cluster is, not how right the mask.
    """
    pairs = np.bincount(clusters.ravel().astype(np.int64) * 256 + mask.ravel(), minlength=256 * 256).reshape(256, 256)
    purity = pairs.max(1) / np.maximum(pairs.sum(1), 1)
    return pairs.argmax(1).astype(np.uint8)[clusters], purity.astype(np.float32)[clusters]
