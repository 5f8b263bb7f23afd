"""What must hold before a run reads any data: settings that fit each other, disk and memory for the preset."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mfuser import presets
from mfuser.loading import MFuser
from train.fit.config import FitConfig
from train.fit.run_files import RunFiles, checkpoint_bytes
from train.fit.starting_weights import StartingWeights
from train.runtime.files import require_space, require_writable
from train.runtime.free_memory import host_memory


def check_settings(config: FitConfig, processes: int) -> None:
    """Check the settings of a run against each other.

    Args:
        config: settings of the run.
        processes: number of training processes.

    Raises:
        ValueError: two settings contradict each other; the message says what to change.
    """
    preset, parts = config.architecture, processes * config.accumulate
    if config.batch % parts:
        raise ValueError(
            f"--batch {config.batch} cannot be divided by {processes} processes x {config.accumulate} parts: "
            f"choose a multiple of {parts}."
        )
    if preset.exact and config.crop % preset.divisor:
        near = max(preset.divisor, round(config.crop / preset.divisor) * preset.divisor)
        raise ValueError(f"--crop must be a multiple of {preset.divisor} for {preset.name!r}: {near} is.")
    if config.min_lr > config.lr:
        raise ValueError(f"--min-lr {config.min_lr:g} lies above --lr {config.lr:g}: the rate decays to it; lower it.")
    if config.warmup >= max(config.iterations, 2):
        raise ValueError(
            f"--warmup {config.warmup} leaves nothing of --iterations {config.iterations}: warm up for fewer steps."
        )
    if not config.data:
        raise ValueError("No data to train on: pass --data, for example --data camvid:PATH.")
    if config.resume and config.overwrite:
        raise ValueError("--resume and --overwrite contradict each other: pass one of them.")
    if config.start is not None and config.random_encoders:
        raise ValueError(
            "--start and --random-encoders contradict each other: streams go on with the encoders that they know."
        )


def check_machine(start: StartingWeights, say: Callable[[str], None]) -> None:
    """Check that --out can take what the run writes, and that the model fits into memory. Leaves no new folder.

    Args:
        start: where the run's weights come from.
        say: prints one line about the disk, in a dry run.

    Raises:
        ValueError: --out holds a run that would be replaced, or the memory does not suffice.
        OSError: --out cannot be written, or its disk has too little space.
    """
    config, preset = start.config, start.config.architecture
    files = [RunFiles(config.out, stream) for stream in config.stream_names]
    require_writable(config.out, keep=False)
    for own in () if config.overwrite or config.resume else files:
        own.check_free()
    with torch.device("meta"):  # counts without memory
        model = MFuser(presets.with_streams(preset, config.stream_names))
    whole = sum(p.numel() * p.element_size() for p in model.parameters())
    host_memory().require(whole, f"Preset {preset.name!r} by itself", "choose a smaller --preset")
    numbers = [sum(p.numel() for p in model.trainable(stream).values()) for stream in config.stream_names]
    new = checkpoint_bytes(numbers, config.ema > 0, config.half) + sum(p.stat().st_size for p in start.copied())
    replaced = sum(path.stat().st_size for own in files for path in (own.weights, own.state) if path.exists())
    needed = max(0, new - replaced)
    free = require_space(config.out, needed)
    if config.dry_run:
        say(f"disk: {config.out} can be written, {needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free")
