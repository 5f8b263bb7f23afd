"""Class scores of a stream as its mask and confidence, at the image's size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser import config
from mfuser.inference import fallbacks

LOWEST_SCORE = 1e-8  # least score of a class, so that its logarithm and its powers exist


class Masks:
    """The masks of one image, stream by stream.

    Args:
        temperatures: stream -> temperature of the confidence, fitted after training.
        size: (H, W) of the image.
    """

    def __init__(self, temperatures: Mapping[str, float], size: tuple[int, int]):
        self._temperatures, self._size = temperatures, size
        self._found: dict[str, tuple[np.ndarray, np.ndarray, str]] = {}

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """stream -> (H, W) uint8 class indices, in the order of `STREAMS`."""
        return self._part(0)

    @property
    def confidence(self) -> dict[str, np.ndarray]:
        """stream -> (H, W) float32 in [0, 1]."""
        return self._part(1)

    @property
    def origins(self) -> dict[str, str]:
        """stream -> key of `MASK_ORIGINS`."""
        return self._part(2)

    def decode(self, stream: str, scores: Tensor) -> None:
        """Add the mask of a trained decoder from its class scores, (1, K, h, w)."""
        found = decided(scores, self._temperatures.get(stream, 1.0), self._size)
        self._found[stream] = (*found, "decoder")

    def classify(self, dense: np.ndarray, texts: np.ndarray, temperature: float) -> None:
        """Add the VLM's mask by the class names. Arguments as of `fallbacks.zero_shot`."""
        found = upsampled(*fallbacks.zero_shot(dense, texts, temperature), self._size)
        self._found["vlm"] = (*found, "zero-shot")

    def cluster(self, tokens: np.ndarray) -> None:
        """Add the VFM's mask by clusters of its tokens, (h, w, C). The fused mask names them, so it comes before."""
        near = upsampled_argmax(fallbacks.cluster(tokens), self._size)[0].numpy()
        self._found["vfm"] = (*fallbacks.label_clusters(near, self._found["fused"][0]), "clusters")

    def _part(self, index: int) -> dict[str, Any]:
        return {s: self._found[s][index] for s in config.STREAMS if s in self._found}


def decided(scores: Tensor, temperature: float, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The best class of every pixel, and its share of the scores.

    Args:
        scores: (1, K, h, w) class scores of a decoder.
        temperature: of the confidence, fitted after training.
        size: (H, W) of the image.

    Returns:
        Mask (H, W) uint8 class indices, and confidence (H, W) float32 in [0, 1].
    """
    tempered = scores.float().clamp_min(LOWEST_SCORE) ** (1 / temperature)
    confidence = tempered.amax(1, keepdim=True) / tempered.sum(1, keepdim=True)
    return upsampled(scores.float(), confidence, size)


def upsampled(scores: Tensor, confidence: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Mask (H, W) uint8 and confidence (H, W) float32 from scores (1, K, h, w) and confidence (1, 1, h, w)."""
    confidence = F.interpolate(confidence, size=size, mode="bilinear", align_corners=False)
    return upsampled_argmax(scores, size)[0].cpu().numpy(), confidence[0, 0].float().cpu().numpy()


def upsampled_argmax(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Argmax over the classes of bilinearly upsampled scores.

    It runs one class at a time: a running maximum stays in the CPU's cache, where K full-size maps do not.

    Args:
        scores: (B, K, h, w) float.
        size: (H, W).

    Returns:
        (B, H, W) uint8.
    """
    best = label = None
    for k in range(scores.shape[1]):
        full = F.interpolate(scores[:, k : k + 1], size=size, mode="bilinear", align_corners=False)[:, 0]
        if best is None:
            best, label = full, torch.zeros(full.shape, dtype=torch.uint8, device=full.device)
        else:
            better = full > best
            label.masked_fill_(better, k)
            best = torch.maximum(best, full)
    return label
