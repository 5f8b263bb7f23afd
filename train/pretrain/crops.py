"""Photographs as one tensor on the device, and random crops and colours drawn there for a whole batch at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from mfuser import images, weather
from mfuser.cityscapes import IGNORE
from train.data import open_dataset
from train.data.dataset import pairs_of

HEIGHT, WIDTH = 360, 480  # every photograph is kept at this size
SOFT = 0.5  # share of the pictures that `random_softness` blurs


def gather(specs: Sequence[str], labelled: bool) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Read photographs.

    Args:
        specs: `--data` arguments.
        labelled: read their labels too.

    Returns:
        Images (N, 3, 360, 480) uint8; labels (N, 360, 480) uint8 group indices, 255 where there is none (of one cell
        each when not labelled); the class that names each label group.

    Raises:
        ValueError: there is nothing to read, or the labelled sets' groups differ.
    """
    find_photographs(specs, labelled)
    # Each is read once, into its place: kept twice, thousands of photographs would fill the memory.
    datasets = [open_dataset(spec, "train", labelled=labelled, cache_bytes=0) for spec in specs]
    if labelled and any(d.representatives != datasets[0].representatives for d in datasets):
        raise ValueError("The text alignment needs sets with the same label groups: pass one of them.")
    count = sum(map(len, datasets))
    pictures = torch.empty((count, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    labels = torch.full((count, *((HEIGHT, WIDTH) if labelled else (1, 1))), IGNORE, dtype=torch.uint8)
    for row, (dataset, index) in enumerate((d, i) for d in datasets for i in range(len(d))):
        pictures[row] = torch.from_numpy(images.resize(dataset.image(index), HEIGHT, WIDTH)).permute(2, 0, 1)
        if labelled:
            resized = cv2.resize(dataset.label(index), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST_EXACT)
            labels[row] = torch.from_numpy(resized)
    names = tuple(datasets[0].representatives) if labelled else ()
    return pictures, labels, names


def find_photographs(specs: Sequence[str], labelled: bool) -> None:
    """Raise ValueError when a set of `--data` cannot be found, or a labelled one lacks labels; reads no picture."""
    if not specs:
        raise ValueError("No photographs: name at least one set, for example --data camvid:PATH.")
    for spec in specs:
        pairs_of(spec, "train", labelled)


def weathered(pictures: Tensor, seed: int) -> Tensor:
    """Every picture in weather of its own: a random one of `mfuser.weather`, of a random severity.

    About 0.07 s of one core a picture.

    Args:
        pictures: (N, 3, H, W) uint8 on the CPU.
        seed: of the weather. The same gives the same pictures, so that a resumed run goes on with them.

    Returns:
        (N, 3, H, W) uint8.
    """
    found = torch.empty_like(pictures)

    def render(row: int) -> None:
        rng = np.random.default_rng([seed, row])
        condition, severity = rng.choice(weather.CONDITIONS), int(rng.integers(1, 6))
        image = np.ascontiguousarray(pictures[row].permute(1, 2, 0).numpy())
        found[row] = torch.from_numpy(weather.apply(image, str(condition), severity, row)).permute(2, 0, 1)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        rows = range(len(pictures))
        for _ in tqdm(pool.map(render, rows), desc="weather", total=len(rows), unit="img", mininterval=2, leave=False):
            pass  # what a thread raises is raised here
    return found


def with_weather(clear: Tensor, in_weather: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A batch beside itself, a random share of it in weather.

    Args:
        clear: (B, 3, H, W) uint8.
        in_weather: (B, 3, H, W) uint8, the same pictures.
        share: of the pictures, 0..1.
        generator: of the draw.

    Returns:
        (B, 6, H, W) uint8.
    """
    changed = torch.rand(len(clear), 1, 1, 1, generator=generator, device=clear.device) < share
    return torch.cat([clear, torch.where(changed, in_weather, clear)], dim=1)


def random_crops(
    pictures: Tensor, size: int, scale: tuple[float, float], generator: torch.Generator, labels: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """One random square crop of each picture, flipped half of the time.

    Args:
        pictures: (N, C, H, W) uint8.
        size: side of a crop in pixels.
        scale: range of its side as a share of the picture's height, stretched by up to 15 % either way.
        generator: of the draws.
        labels: (N, H, W) uint8, cropped in the same way, by nearest neighbour.

    Returns:
        (N, C, size, size) float32 0..255, and labels (N, size, size) int64 or None.
    """
    n, _, height, width = pictures.shape
    rand = torch.rand(n, 5, generator=generator, device=pictures.device)
    side = scale[0] + (scale[1] - scale[0]) * rand[:, 0]
    stretch = torch.exp((rand[:, 1] - 0.5) * 0.3)
    half_y, half_x = side * stretch.sqrt(), side / stretch.sqrt() * height / width
    centre_y = (2 * rand[:, 2] - 1) * (1 - half_y).clamp_min(0)
    centre_x = (2 * rand[:, 3] - 1) * (1 - half_x).clamp_min(0)
    flip = torch.where(rand[:, 4] < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(side)
    theta = torch.stack([half_x * flip, zero, centre_x, zero, half_y, centre_y], 1).view(n, 2, 3)
    grid = F.affine_grid(theta, (n, 1, size, size), align_corners=False)
    crops = F.grid_sample(pictures.float(), grid, padding_mode="reflection", align_corners=False)
    if labels is None:
        return crops, None
    # Outside the picture there is no label: shift by one so that the zero padding means "ignore".
    shifted = torch.where(labels == IGNORE, 0, labels + 1)[:, None].float()
    cut = F.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0].long()
    return crops, torch.where(cut == 0, IGNORE, cut - 1)


def random_colours(crops: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Brightness, contrast, saturation, gamma, tint, haze and noise, one draw per picture.

    Args:
        crops: (N, 3, h, w) float 0..255.
        generator: of the draws.
        strength: 1 covers dusk and light fog.

    Returns:
        (N, 3, h, w) float 0..255.
    """
    draw = _draws_for(crops, generator)
    s, x = strength, (crops / 255).clamp(0, 1)
    x = x ** torch.exp(draw(-0.6, 0.6) * s)
    x = x * draw(1 - 0.4 * s, 1 + 0.4 * s) * (1 + draw(-0.1, 0.1, 3) * s)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * draw(1 - 0.5 * s, 1 + 0.4 * s)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * draw(1 - 0.9 * s, 1 + 0.4 * s)
    haze = draw(-0.6, 0.5).clamp_min(0) * s
    x = x * (1 - haze) + haze * draw(0.6, 0.95)
    noise = torch.randn(x.shape, generator=generator, device=x.device) * draw(-0.05, 0.05).clamp_min(0) * s
    return (x + noise).clamp(0, 1) * 255


def random_softness(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures as a softer lens or a smaller sensor gives them: Gaussian blur of 0.4 to 2 pixels.

    A network that learns from one sharp camera reads classes off its finest texture, and takes the roads of another one
    for something else.

    Args:
        crops: (N, 3, h, w) float, sides above 5.
        generator: of the draws.

    Returns:
        (N, 3, h, w) float32.
    """
    draw, reach = _draws_for(crops, generator), 5
    sigma = torch.where(draw(0, 1) < SOFT, draw(0.4, 2.0), 0.05)  # 0.05 changes nothing
    places = torch.arange(-reach, reach + 1, device=crops.device, dtype=torch.float32)
    kernels = torch.exp(-((places / sigma) ** 2) / 2)
    kernels = (kernels / kernels.sum(-1, keepdim=True)).repeat_interleave(crops.shape[1], 0)  # (N C, 1, 1, 11)
    x = crops.float().flatten(0, 1)[None]  # every channel of every picture with a kernel of its own
    with torch.autocast(crops.device.type, enabled=False):  # half precision would round the pixels
        x = F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="reflect"), kernels, groups=len(kernels))
        x = F.conv2d(F.pad(x, (0, 0, reach, reach), mode="reflect"), kernels.mT, groups=len(kernels))
    return x[0].unflatten(0, crops.shape[:2])


def _draws_for(crops: Tensor, generator: torch.Generator) -> Callable[..., Tensor]:
    """draw(low, high, channels=1): uniform numbers (N, channels, 1, 1) for N pictures."""

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(len(crops), channels, 1, 1, generator=generator, device=crops.device)

    return draw


def take(count: int, batch: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Indices of a random batch, (batch,)."""
    return torch.randint(count, (batch,), generator=generator, device=device)
