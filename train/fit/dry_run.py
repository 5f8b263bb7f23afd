"""`--dry-run`: two steps and a part of each evaluation, thrown away, and what they say about memory and time."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from train.data import SegmentationData
from train.data.batches import Batch, TrainingBatches, items_of, make_loader
from train.fit.config import FitConfig
from train.fit.loop import StreamTrainer
from train.fit.optimizer import learning_rate
from train.fit.run_files import RunFiles
from train.metrics.scoring import View, evaluate
from train.runtime.distributed import Processes
from train.runtime.free_memory import Memory, forget_peak_of, memory_of, peak_of, private_bytes
from train.runtime.hardware import Hardware

if TYPE_CHECKING:
    from mfuser.loading import MFuser

CPU = torch.device("cpu")


def rehearse(
    config: FitConfig,
    start: Callable[[], MFuser],
    batches: TrainingBatches,
    validation: Sequence[SegmentationData],
    hardware: Hardware,
    processes: Processes,
    say: Callable[[str], None],
) -> None:
    """Read every file, take two steps of each stream, score a batch of each set, and say what a run would need.

    Nothing is written to --out. start: makes the model of a stream. Raises ValueError naming the first file that cannot
    be read, or when memory would not suffice: before a step that would not fit is tried.
    """
    for dataset in (*batches.datasets, *validation):
        dataset.read_all()
        colour = "" if dataset.kind.space == "cityscapes" else f", {len(dataset.groups)} groups of classes"
        say(f"data: {dataset.name}: {len(dataset)} images, every file readable{colour}")
    device = hardware.device
    training = scoring = 0.0
    host = card = loading = 0  # peaks
    shown: TrainingBatches | None = None
    for stream in config.stream_names:
        if (own := batches.of(stream)) is not shown:  # one for all streams, but where views are apart
            shown, (examples, held) = own, load_examples(own, hardware)
            loading = max(loading, held)
        model = start().to(device)
        with tempfile.TemporaryDirectory() as folder:
            files = RunFiles(Path(folder), stream)
            trainer = StreamTrainer(model, stream, batches, config, hardware, files, {}, processes=processes)
        host = max(host, peak_of(CPU))
        foresee(trainer, examples[0], memory_of(device), loading if device.type == "cpu" else 0)
        for step, batch in enumerate(examples):  # the first one warms up
            started = time.perf_counter()
            terms = trainer.step(batch, learning_rate(step, config))
            loss = float(sum(terms.values()))  # waits for the device
            seconds = time.perf_counter() - started
        training += seconds * config.iterations
        scoring += evaluations(config) * seconds_to_score(model, stream, config, validation, hardware, processes)
        host, card = max(host, peak_of(CPU)), max(card, peak_of(device))
        trained, every = (sum(p.numel() for p in ps) / 1e6 for ps in (trainer.parameters.values(), model.parameters()))
        say(
            f"{stream}: input {tuple(batch.pixels.shape)}, {trained:.2f} M of {every:.2f} M parameters trained, "
            f"loss {loss:.2f}, {seconds:.2f} s a step"
        )
        del model, trainer
    smaller = "lower --batch or --crop, or raise --accumulate"
    if device.type == "cuda":
        say_memory(card, memory_of(device), "GPU memory", smaller, say)
        smaller = "lower --cache, --workers or --batch"
    say_memory(host + loading, memory_of(CPU), "memory", smaller, say)
    share = f", {duration(scoring)} of it for evaluations" if scoring else ""
    say(f"{config.iterations} steps of {len(config.stream_names)} streams: about {duration(training + scoring)}{share}")


def load_examples(batches: TrainingBatches, hardware: Hardware) -> tuple[list[Batch], int]:
    """The batches of two steps, made as a run makes them, and the bytes that the processes that made them hold."""
    loader = make_loader(batches, 0, 2 + 2 * hardware.workers, hardware.workers, hardware.device.type == "cuda")
    before = {child.pid for child in multiprocessing.active_children()}
    with closing(items_of(loader)) as items:
        examples = list(islice(items, 2))
        own = [child.pid for child in multiprocessing.active_children() if child.pid not in before]
        return examples, sum(map(private_bytes, own))


def foresee(trainer: StreamTrainer, batch: Batch, there: Memory, spared: int = 0) -> None:
    """Raise ValueError when a step would not fit, with the --accumulate that would, from steps of one and two images.

    Memory grows by the same amount with every image, and a step that does not fit on a CPU is not refused by the
    system: it ends the process. spared: bytes that other processes of the run need.
    """
    device, parts = trainer.hardware.device, trainer.config.accumulate
    images = len(batch.pixels) // parts
    if images < 4:  # two images are half of it: nothing is known better than by trying
        return
    peaks = []
    for count in (1, 1, 2):  # the first one makes the optimizer's moments
        forget_peak_of(device)
        few = Batch(batch.pixels[: count * parts], batch.targets.part(0, count * parts))
        trainer.step(few, 0.0)
        peaks.append(peak_of(device))
    each = max(peaks[2] - peaks[1], 1)
    fitting = 2 + (there.bytes - spared - peaks[2]) // each
    whole = len(batch.pixels)
    more = next((k for k in range(parts, whole + 1) if whole % k == 0 and whole // k <= fitting), None)
    way_out = "lower --batch or --crop" if more is None else f"pass --accumulate {more}, or lower --batch or --crop"
    what = f"A step of {trainer.stream!r} with {images} images at once"
    there.require(peaks[2] + (images - 2) * each + spared, what, way_out)


def seconds_to_score(
    model: MFuser,
    stream: str,
    config: FitConfig,
    validation: Sequence[SegmentationData],
    hardware: Hardware,
    processes: Processes,
) -> float:
    """Time of one evaluation on every set, by a batch of each for each process."""
    seconds = 0.0
    for dataset in validation:
        few = dataset.first(config.batch * processes.count)
        started = time.perf_counter()
        evaluate(model, (stream,), few, dataset.kind.space, hardware, View(config.batch), processes)
        seconds += (time.perf_counter() - started) * len(dataset) / len(few)
    return seconds


def evaluations(config: FitConfig) -> int:
    """How often a run evaluates a stream: every so many steps, and at the end."""
    every = config.eval_every or config.iterations
    return -(-config.iterations // every)


def say_memory(needed: int, there: Memory, what: str, way_out: str, say: Callable[[str], None]) -> None:
    """Say what is needed and what there is. Raises ValueError when it does not suffice."""
    say(f"{what}: {needed / 1e9:.2f} GB needed, {there.bytes / 1e9:.2f} GB available ({there.bound})")
    there.require(needed, "The run", way_out)


def duration(seconds: float) -> str:
    """Hours and minutes, or seconds when it is short."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
