"""`--dry-run`: two steps that are thrown away, and what they say about memory and time."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from train.config import FitConfig, Hardware
from train.data import SegmentationData
from train.data.batches import TrainingBatches
from train.loop import StreamTrainer
from train.memory import trained_bytes
from train.optimizer import learning_rate
from train.processes import Processes
from train.state import RunFiles, require_space

if TYPE_CHECKING:
    from mfuser.model import MFuser


def rehearse(
    config: FitConfig,
    start: Callable[[], MFuser],
    batches: TrainingBatches,
    validation: Sequence[SegmentationData],
    hardware: Hardware,
    processes: Processes,
    say: Callable[[str], None],
) -> None:
    """Read every file, take two steps of each stream, and say what a run would need; nothing is written to --out.

    start: makes the model of a stream. Raises ValueError naming the first file that cannot be read.
    """
    for dataset in (*batches.datasets, *validation):
        dataset.read_all()
        colour = "" if dataset.kind.space == "cityscapes" else f", {len(dataset.groups)} groups of classes"
        say(f"data: {dataset.name}: {len(dataset)} images, every file readable{colour}")
    total = 0.0
    for stream in config.stream_names:
        model = start().to(hardware.device)
        if hardware.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(hardware.device)
        with tempfile.TemporaryDirectory() as folder:
            files = RunFiles(Path(folder), stream)
            trainer = StreamTrainer(model, stream, batches, config, hardware, files, {}, processes=processes)
        seconds = []
        for step in range(2):  # the first one warms up
            batch = batches[step]
            started = time.perf_counter()
            terms = trainer.step(batch, learning_rate(step, config))
            loss = float(sum(terms.values()))  # waits for the device
            seconds.append(time.perf_counter() - started)
        total += seconds[-1] * config.iterations
        parameters = model.trainable(stream)
        require_space(config.out, trained_bytes(parameters, config.ema > 0))
        trained, every = (sum(p.numel() for p in ps) / 1e6 for ps in (parameters.values(), model.parameters()))
        say(
            f"{stream}: input {tuple(batch.pixels.shape)}, {trained:.2f} M of {every:.2f} M parameters trained, "
            f"loss {loss:.2f}, {seconds[-1]:.2f} s a step, memory {peak_bytes(hardware.device) / 1e9:.2f} of "
            f"{memory_bytes(hardware.device) / 1e9:.0f} GB, "
            f"files {trained_bytes(parameters, config.ema > 0) / 1e9:.2f} GB"
        )
    say(f"{config.iterations} steps of {len(config.stream_names)} streams: about {duration(total)}, evaluations aside")


def peak_bytes(device: torch.device) -> int:
    """Most memory in use so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory_bytes(device: torch.device) -> int:
    """Memory of the GPU, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def duration(seconds: float) -> str:
    """Hours and minutes, or seconds when it is short."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
