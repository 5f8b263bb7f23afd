"""`--dry-run`: two steps and a part of each evaluation, thrown away, and what they say about memory and time."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psutil
import torch

from mfuser.loading import MFuser
from train.data.batches import Batch, TrainingBatches, items_of, make_loader
from train.fit.config import FitConfig
from train.fit.loop import StreamTrainer
from train.fit.optimizer import learning_rate
from train.fit.run import Run
from train.fit.run_files import RunFiles
from train.runtime.free_memory import Memory, forget_peak_of, memory_of, peak_of
from train.runtime.hardware import Hardware

CPU = torch.device("cpu")


def try_run(run: Run) -> None:
    """Read every file, take two steps of each stream, score a batch of each set, and say what a run would need.

    Nothing is written to --out.

    Raises:
        ValueError: a file cannot be read, or the memory would not suffice; a step that will not fit is not tried.
    """
    config, hardware, device, say = run.config, run.hardware, run.hardware.device, run.say
    for dataset in (*run.batches.datasets, *run.validation):
        dataset.read_all()
        groups = "" if dataset.kind.space == "cityscapes" else f", {len(dataset.groups)} groups of classes"
        say(f"data: {dataset.name}: {len(dataset)} images, every file readable{groups}")
    training = scoring = 0.0  # seconds
    host = card = loading = 0  # peaks in bytes
    shown: TrainingBatches | None = None
    for stream in config.stream_names:
        if (own := run.batches.of(stream)) is not shown:  # one for all streams, but where views are apart
            shown, (examples, held) = own, load_examples(own, hardware)
            loading = max(loading, held)
        model = run.start.model(config.stream_names).to(device)
        with tempfile.TemporaryDirectory() as folder:
            files = RunFiles(Path(folder), stream)
            trainer = StreamTrainer(model, stream, run.batches, config, hardware, files, {}, processes=run.processes)
        host = max(host, peak_of(CPU))
        require_memory_of_step(trainer, examples[0], memory_of(device), loading if device.type == "cpu" else 0)
        for step, batch in enumerate(examples):  # the first one warms up
            started = time.perf_counter()
            terms = trainer.step(batch, learning_rate(step, config))
            loss = float(sum(terms.values()))  # waits for the device
            seconds = time.perf_counter() - started
        training += seconds * config.iterations
        scoring += evaluations(config) * seconds_to_score(run, model, stream)
        host, card = max(host, peak_of(CPU)), max(card, peak_of(device))
        trained, every = (sum(p.numel() for p in ps) / 1e6 for ps in (trainer.parameters.values(), model.parameters()))
        say(
            f"{stream}: input {tuple(batch.pixels.shape)}, {trained:.2f} M of {every:.2f} M parameters trained, "
            f"loss {loss:.2f}, {seconds:.2f} s a step"
        )
        del model, trainer
    needs = [("memory", host + loading, memory_of(CPU), "lower --batch or --crop, or raise --accumulate")]
    if device.type == "cuda":
        needs.insert(0, ("GPU memory", card, memory_of(device), needs[0][-1]))
        needs[1] = (*needs[1][:3], "lower --cache, --workers or --batch")
    for what, needed, there, way_out in needs:
        say(f"{what}: {needed / 1e9:.2f} GB needed, {there.bytes / 1e9:.2f} GB available ({there.bound})")
        there.require(needed, "The run", way_out)
    share = f", {duration(scoring)} of it for evaluations" if scoring else ""
    say(f"{config.iterations} steps of {len(config.stream_names)} streams: about {duration(training + scoring)}{share}")


def load_examples(batches: TrainingBatches, hardware: Hardware) -> tuple[list[Batch], int]:
    """The batches of two steps, and the bytes that the processes which loaded them hold by themselves."""
    loader = make_loader(batches, 0, 2 + 2 * hardware.workers, hardware.workers, hardware.device.type == "cuda")
    before = set(multiprocessing.active_children())
    with closing(items_of(loader)) as items:
        examples = list(islice(items, 2))
        loading = set(multiprocessing.active_children()) - before
        return examples, sum(psutil.Process(child.pid).memory_full_info().uss for child in loading)


def require_memory_of_step(trainer: StreamTrainer, batch: Batch, there: Memory, spared: int = 0) -> None:
    """Forecast the memory of a step from steps of one and two images: every image adds the same amount.

    A step that does not fit on a CPU is not refused by the system: it ends the process. So it must not be tried.

    Args:
        trainer: takes the small steps.
        batch: of a whole step. Parts of fewer than 4 images are not forecast.
        there: memory of the device.
        spared: bytes of it that other processes of the run need.

    Raises:
        ValueError: the step would not fit; the message has the --accumulate that would.
    """
    device, parts, whole = trainer.hardware.device, trainer.config.accumulate, len(batch.pixels)
    images = whole // parts
    if images < 4:  # two images are half of it: nothing is known better than by trying
        return
    peaks = []
    for count in (1, 1, 2):  # the first one makes the optimizer's moments
        forget_peak_of(device)
        trainer.step(Batch(batch.pixels[: count * parts], batch.targets.part(0, count * parts)), 0.0)
        peaks.append(peak_of(device))
    each = max(peaks[2] - peaks[1], 1)
    fitting = 2 + (there.bytes - spared - peaks[2]) // each
    more = next((k for k in range(parts, whole + 1) if whole % k == 0 and whole // k <= fitting), None)
    way_out = "lower --batch or --crop" if more is None else f"pass --accumulate {more}, or lower --batch or --crop"
    what = f"A step of {trainer.stream!r} with {images} images at once"
    there.require(peaks[2] + (images - 2) * each + spared, what, way_out)


def seconds_to_score(run: Run, model: MFuser, stream: str) -> float:
    """Time of one evaluation of a stream on every set, from one batch of each set for each process."""
    seconds = 0.0
    for dataset in run.validation:
        few = dataset.first(run.config.batch * run.processes.count)
        started = time.perf_counter()
        replace(run, validation=[few]).evaluate(model, stream)
        seconds += (time.perf_counter() - started) * len(dataset) / len(few)
    return seconds


def evaluations(config: FitConfig) -> int:
    """How often a run evaluates a stream: every `eval_every` steps, and at the end."""
    every = config.eval_every or config.iterations
    return -(-config.iterations // every)


def duration(seconds: float) -> str:
    """Hours and minutes, or seconds when it is short: "2 h 02 min", "7 s"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
