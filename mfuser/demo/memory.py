"""How much memory the page may keep: shares of what the machine has free, bounded by what a preset needs."""

from __future__ import annotations

import psutil

from mfuser.config import Preset
from mfuser.inference.segmenter import Segmenter
from mfuser.inference.windows import working_size
from mfuser.ops.group_limits import group_limits
from mfuser.weights.files import folder_of, weight_files

RESULTS, ENCODED = 0.2, 0.25  # shares for analyses, and for what the encoders gave for the last pictures
RESERVE = 0.1  # share of the machine's memory below which models that nobody uses are dropped
PICTURES = 24  # whose encoder outputs are kept, at most: more would hardly be asked for again


def total() -> int:
    """Memory of the machine, or the limit of a control group of this process where that is lower, in bytes."""
    return min([psutil.virtual_memory().total, *group_limits()])


def available() -> int:
    """What this process may take beside what it holds, in bytes."""
    used = psutil.Process().memory_info().rss
    return max(0, min([psutil.virtual_memory().available, *(limit - used for limit in group_limits())]))


def results_limit(held: int) -> int:
    """Bytes that results may take.

    Args:
        held: bytes that they take now.
    """
    return int(RESULTS * (available() + held))


def encoded_limit(segmenter: Segmenter) -> int:
    """Bytes of encoder outputs that a segmenter may remember, in place of those that it remembers now."""
    free = available() + segmenter.remembered
    return int(min(ENCODED * free, PICTURES * encoded_bytes(segmenter)))


def encoded_bytes(segmenter: Segmenter) -> int:
    """About what the encoders give for one picture of 16:9 at the preset's resolution, in bytes."""
    model, preset = segmenter.model, segmenter.preset
    height, width = working_size((9, 16), preset)
    patch = preset.divisor / 2  # the pyramid halves the grid
    # In float32: four taps and the last tokens, of each encoder alone and of both fused; three dense embeddings.
    channels = 2 * (4 + 1) * (model.vfm.width + model.vlm.width) + 3 * model.vlm.embed_dim
    return int(4 * channels * height * width / patch**2)


def model_bytes(preset: Preset) -> int:
    """About what a model takes when it is loaded, in bytes: twice its files, which may be in half precision."""
    folder = folder_of(preset)
    files = [] if folder is None else [folder / name for name in weight_files(preset)]
    return 2 * sum(path.stat().st_size for path in files if path.is_file())


def short(needed: int = 0) -> bool:
    """Is less free than the reserve and what is needed, in bytes?"""
    return available() < RESERVE * total() + needed
