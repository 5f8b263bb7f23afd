"""At which size the network sees an image: whole, or in the paper's sliding windows."""

from __future__ import annotations

from collections.abc import Iterator

from mfuser.presets import Preset

CROP, STRIDE = 512, 341  # the paper's sliding windows, in pixels


def working_size(size: tuple[int, int], preset: Preset, resolution: int | None = None) -> tuple[int, int]:
    """(height, width) at which the network sees an image: short side near `resolution`, long side within
    `preset.longest`, both rounded to multiples of `preset.divisor` (the aspect changes by less than one multiple).

    Raises ValueError for a resolution below one multiple or above `preset.longest`.
    """
    resolution = preset.resolution if resolution is None else int(resolution)
    if not preset.divisor <= resolution <= preset.longest:
        low, high = preset.divisor, preset.longest
        raise ValueError(f"Resolution {resolution} is out of range: choose {low} to {high} pixels.")
    scale = min(resolution / min(size), preset.longest / max(size))
    return tuple(max(preset.divisor, round(n * scale / preset.divisor) * preset.divisor) for n in size)


def sliding_size(size: tuple[int, int], preset: Preset, resolution: int | None = None) -> tuple[int, int]:
    """(height, width) of an image for sliding windows: its ratio kept, as large as fits into `preset.sliding`, the
    short side at most `resolution` if given. An image of a Cityscapes camera, 1024 x 2048, stays as it is."""
    short, long = preset.sliding
    scale = min((resolution or short) / min(size), long / max(size))
    return tuple(max(preset.divisor, int(n * scale + 0.5)) for n in size)


def window_places(
    height: int, width: int, crop: int = CROP, stride: int = STRIDE
) -> Iterator[tuple[int, int, int, int]]:
    """(y, x, h, w) of the paper's windows: the last ones are shifted inside; a smaller image is one window."""

    def starts(n: int) -> list[int]:
        return [min(i * stride, n - crop) for i in range(-(-(n - crop) // stride) + 1)] if n > crop else [0]

    for y in starts(height):
        for x in starts(width):
            yield y, x, min(crop, height), min(crop, width)
