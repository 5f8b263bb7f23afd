"""The size at which the network sees an image, whole or in the paper's sliding windows, and the windows' scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser.config import Preset

CROP, STRIDE = 512, 341  # the paper's sliding windows, in pixels


def network_size(
    size: tuple[int, int], preset: Preset, windows: str = "single", resolution: int | None = None
) -> tuple[int, int]:
    """Size of an image before the network.

    It is `sliding_size` for sliding windows of a preset that has one, and `working_size` otherwise.

    Args:
        size: (height, width) of the image in pixels.
        preset: of the model.
        windows: "single" or "sliding".
        resolution: short side in pixels; None for the preset's.

    Returns:
        (height, width) in pixels.

    Raises:
        ValueError: the resolution is out of range.
    """
    working = working_size(size, preset, resolution)
    return sliding_size(size, preset, resolution) if windows == "sliding" and preset.sliding is not None else working


def working_size(size: tuple[int, int], preset: Preset, resolution: int | None = None) -> tuple[int, int]:
    """Size at which the network sees a whole image.

    The short side comes near `resolution`, and the long side stays within `preset.longest`. Both are rounded to
    multiples of `preset.divisor`, so that the aspect changes by less than one multiple.

    Args:
        size: (height, width) of the image in pixels.
        preset: of the model.
        resolution: short side in pixels; None for the preset's.

    Returns:
        (height, width) in pixels.

    Raises:
        ValueError: the resolution is below one multiple or above `preset.longest`.
    """
    resolution = preset.resolution if resolution is None else int(resolution)
    if not preset.divisor <= resolution <= preset.longest:
        low, high = preset.divisor, preset.longest
        raise ValueError(f"Resolution {resolution} is out of range: choose {low} to {high} pixels.")
    scale = min(resolution / min(size), preset.longest / max(size))
    return tuple(max(preset.divisor, round(n * scale / preset.divisor) * preset.divisor) for n in size)


def sliding_size(size: tuple[int, int], preset: Preset, resolution: int | None = None) -> tuple[int, int]:
    """Size of an image for sliding windows: as large as fits into `preset.sliding`, with the image's aspect.

    An image of a Cityscapes camera, 1024 x 2048, keeps its size.

    Args:
        size: (height, width) of the image in pixels.
        preset: of the model, with `sliding` set.
        resolution: most pixels of the short side; None for the preset's.

    Returns:
        (height, width) in pixels.
    """
    short, long = preset.sliding
    scale = min((resolution or short) / min(size), long / max(size))
    return tuple(max(preset.divisor, int(n * scale + 0.5)) for n in size)


def window_places(
    height: int, width: int, crop: int = CROP, stride: int = STRIDE
) -> Iterator[tuple[int, int, int, int]]:
    """Places of the paper's windows in an image.

    The last window of a row or column is shifted inside. A smaller image is one window.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        crop: side of a window in pixels.
        stride: distance of neighbouring windows in pixels.

    Returns:
        (y, x, h, w) of each window in pixels, row by row.
    """

    def starts(n: int) -> list[int]:
        return [min(i * stride, n - crop) for i in range(-(-(n - crop) // stride) + 1)] if n > crop else [0]

    for y in starts(height):
        for x in starts(width):
            yield y, x, min(crop, height), min(crop, width)


def sliding_scores(
    scores: Callable[[Tensor], dict[str, Tensor]], pixels: Tensor, batch: int | None = None
) -> dict[str, Tensor]:
    """Class scores averaged over the overlapping windows of an image.

    Args:
        scores: takes crops (b, 3, h, w) and returns the class scores (b, K, ., .) of every stream. They are brought to
            the size of the crops.
        pixels: (B, 3, H, W) float RGB.
        batch: crops at once, at least one window of every image; None for just that.

    Returns:
        {stream: (B, K, H, W) float32}.
    """
    images, _, height, width = pixels.shape
    places = list(window_places(height, width))
    together = max(1, (batch or 1) // images)
    total: dict[str, Tensor] = {}
    count = torch.zeros(1, 1, height, width, device=pixels.device)
    for first in range(0, len(places), together):
        group = places[first : first + together]
        crops = torch.cat([pixels[..., y : y + h, x : x + w] for y, x, h, w in group])
        for stream, found in scores(crops).items():
            found = F.interpolate(found.float(), size=crops.shape[-2:], mode="bilinear", align_corners=False)
            if stream not in total:
                total[stream] = found.new_zeros(images, found.shape[1], height, width)
            for (y, x, h, w), own in zip(group, found.split(images), strict=True):
                total[stream][..., y : y + h, x : x + w] += own
        for y, x, h, w in group:
            count[..., y : y + h, x : x + w] += 1
    return {stream: summed.div_(count) for stream, summed in total.items()}
