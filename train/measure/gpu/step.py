"""A training step of the paper's recipe, and the same command in one and in two processes, on a generated folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mfuser.ops.flops import count_flops
from train.fit.config import FitConfig, defaults
from train.fit.inputs import make_batches, open_data
from train.fit.loop import StreamTrainer
from train.fit.run_files import RunFiles
from train.measure.gpu.inference import random_model, release
from train.measure.gpu.timing import Row, median_ms, peak_gb
from train.runtime.hardware import choose_hardware


def write_folder(root: Path, count: int = 24, size: tuple[int, int] = (1024, 2048)) -> Path:
    """`images/` and `labels/` of random streets: bands of all 19 classes with noise. Files that are there stay."""
    for folder in ("images", "labels"):
        (root / "train" / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (19, 3))
    for i in range(count):
        place = root / "train" / "images" / f"{i:03}.png"
        if place.exists():
            continue
        coarse = rng.integers(0, 19, (size[0] // 64, size[1] // 64))
        label = coarse.repeat(64, 0).repeat(64, 1).astype(np.uint8)
        picture = (colours[label] + rng.integers(-12, 13, (*label.shape, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(label).save(root / "train" / "labels" / f"{i:03}.png", compress_level=1)
        Image.fromarray(picture).save(place, compress_level=1)
    return root


def measure(
    names: Sequence[str],
    data: Path,
    out: Path,
    rates: dict[str, float],
    device: torch.device,
    precisions: Sequence[str] = ("float32", "bf16"),
    **changes: object,
) -> list[Row]:
    """Time, memory and share of the ceiling of `StreamTrainer.step` at the recipe's batch and crop.

    On CUDA float32 products of the engine run in TF32, so that is the ceiling of the share. changes: of FitConfig.
    """
    rows = []
    for name in names:
        for precision in precisions:
            for checkpointing in (False, True):
                config = replace(
                    defaults(name), data=(str(data),), out=out, random_encoders=True, precision=precision,
                    checkpointing=checkpointing, device=str(device), tensorboard=False, cache=0.5, **changes,
                )  # fmt: skip
                rows.append({"preset": name, "precision": precision, "checkpointing": checkpointing})
                rows[-1] |= measure_one(config, rates, device)
                release(device)
    return rows


def measure_one(config: FitConfig, rates: dict[str, float], device: torch.device) -> Row:
    """A few steps on one batch, as `python -m train fit` would make them."""
    hardware = choose_hardware(str(device), config.precision, 0)
    batches = make_batches(config, open_data(config, lambda *_: None)[0])
    model, batch = random_model(config.preset, device), batches[0]
    trainer = StreamTrainer(model, "fused", batches, config, hardware, RunFiles(config.out, "fused"), {})
    trainer.step(batch, config.lr)  # makes the optimizer's state
    with peak_gb(device) as memory:
        terms = trainer.step(batch, config.lr)
    loss = float(sum(terms.values()))
    flops = count_flops(lambda: trainer.step(batch, config.lr))
    ms = median_ms(lambda: trainer.step(batch, config.lr), device, 3.0)
    rate = rates["bf16" if config.precision == "bf16" else "tf32"]
    return {
        "batch": config.batch, "crop": config.crop, "ms": round(ms, 1), "images/s": round(1000 * config.batch / ms, 2),
        "peak GB": round(memory["peak"], 2), "TFLOP": round(flops / 1e12, 2), "share": f"{flops / ms / 1e9 / rate:.1%}",
        "loss": round(loss, 2),
    }  # fmt: skip


def processes(
    name: str, data: Path, out: Path, counts: Sequence[int], batches: Sequence[int], iterations: int, *more: str
) -> list[Row]:
    """Images per second of `python -m train fit` under torchrun, by number of processes and images per step."""
    rows = []
    for batch in batches:
        for count in (c for c in counts if batch % c == 0):
            folder = out / f"processes-{count}-batch-{batch}"
            arguments = ["fit", "--preset", name, "--streams", "fused", "--random-encoders", "--data", str(data)]
            arguments += ["--batch", str(batch), "--iterations", str(iterations), "--log-every", str(iterations // 3)]
            arguments += ["--warmup", "0"]  # that of a recipe is longer than these few steps
            arguments += ["--pictures-every", "0", "--no-tensorboard", "--overwrite", "--out", str(folder), *more]
            launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m", "train"]
            environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "4")}
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *launcher, *arguments], env=environment, capture_output=True, text=True
            )
            row = {"processes": count, "batch": batch, "exit": done.returncode}
            rows.append({**row, "seconds in all": round(time.perf_counter() - started, 1)})
            if done.returncode:
                rows[-1]["problem"] = (done.stderr or done.stdout).strip()[-1500:]
                continue
            log = [json.loads(line) for line in (folder / "stream-fused.jsonl").read_text().splitlines()]
            last = [r for r in log if "images_per_s" in r][-1]  # without the start
            rows[-1] |= {"images/s": last["images_per_s"], "ms per step": round(1000 * batch / last["images_per_s"], 1)}
            rows[-1] |= {"waiting": last["waiting"], "loss": round(last["loss"], 3)}
            (folder / "stream-fused.safetensors").unlink(missing_ok=True)
    return rows
