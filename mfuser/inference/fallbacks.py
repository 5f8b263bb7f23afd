"""Masks for streams without a trained decoder, from the outputs of their frozen encoder alone.

The paper trains one decoder, on the fused features. The other streams get a mask all the same, and every place that
shows it says how it came about. A VLM classifies each patch by the class names (zero-shot). A VFM has no text space:
its patches are clustered, and each cluster takes the class that the fused mask has there most often.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from mfuser.inference.analysis import CLUSTERS


def zero_shot(dense: np.ndarray, texts: np.ndarray, temperature: float) -> tuple[Tensor, Tensor]:
    """Classify patches by their cosines with the class names.

    Args:
        dense: (h, w, C_t) float, unit embeddings of the patches.
        texts: (K, C_t) float, unit embeddings of the class names.
        temperature: of the encoder's own image-text alignment. The cosines are divided by it.

    Returns:
        Scores (1, K, h, w) float32, to be upsampled before the argmax. Confidence (1, 1, h, w) float32 in [1/K, 1]:
        the largest softmax value. It was fitted to nothing: it says how far the best name is ahead of the others, not
        how often it is right.
    """
    cosines = torch.from_numpy(dense.astype(np.float32) @ texts.T.astype(np.float32)).permute(2, 0, 1)[None]
    return cosines, (cosines / temperature).softmax(1).amax(1, keepdim=True)


def cluster(tokens: np.ndarray, count: int = CLUSTERS) -> Tensor:
    """k-means over the directions of patch tokens.

    The seed is fixed and one thread runs, so that the same tokens give the same clusters.

    Args:
        tokens: (h, w, C) float.
        count: number of clusters k. It falls to the number of different tokens where there are fewer.

    Returns:
        (1, k, h, w) float32: closeness to each centre, to be upsampled before the argmax, which is the nearest centre.
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

    Args:
        clusters: (H, W) uint8, index of the cluster.
        mask: (H, W) uint8 train ids, without 255.

    Returns:
        Mask (H, W) uint8 train ids. Purity (H, W) float32 in (0, 1]: the share of the cluster's pixels to which
        `mask` gives that class. It measures how pure the cluster is, not how right the mask is.
    """
    pairs = np.bincount(clusters.ravel().astype(np.int64) * 256 + mask.ravel(), minlength=256 * 256).reshape(256, 256)
    purity = pairs.max(1) / np.maximum(pairs.sum(1), 1)
    return pairs.argmax(1).astype(np.uint8)[clusters], purity.astype(np.float32)[clusters]
