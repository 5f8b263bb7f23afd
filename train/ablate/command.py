"""`python -m train ablate`: every way of fusing in Table 4 of the paper, trained alike, in one table.

Rows share seed, data order, decoder and settings; only what stands between the encoders differs. Each is an ordinary
run of `fit` in a folder of its own, so that an ablation that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from mfuser import images, presets
from train.ablate.curves import ablation_picture
from train.ablate.launch import train_all
from train.ablate.table import FIVE, TABLE4, earlier_minutes, mean_score, row_result, table
from train.fit.config import FitConfig, defaults
from train.runtime.files import require_writable
from train.runtime.hardware import choose_hardware, usable_cores
from train.runtime.options import Append


@dataclass(frozen=True)
class AblateConfig:
    """Train the fusion choices of Table 4 alike, and print the table beside the paper's."""

    # Labelled photographs, [name:]ROOT[/split]; repeat for several sets.
    data: Annotated[tuple[str, ...], Append] = ()
    # Sets to evaluate on; default: the val split of every --data that has one.
    val: Annotated[tuple[str, ...], Append] = ()
    # "table4" for all, "five" for VFM only, VLM only, concatenation, separate and shared MVFuser; or single rows.
    rows: tuple[
        Literal["table4", "five", "vfm", "vlm", "concat", "convolution", "tokens", "separate", "mvfuser"], ...
    ] = ("table4",)
    # Which preset.
    preset: str = "nano"
    # Optimizer steps of each row; 3000 or more for a table that is to be believed.
    iterations: int = 3000
    # Images per step.
    batch: int = 8
    # Side of the square crop, pixels; 0 for the preset's.
    crop: int = 320
    # Points per mask of the mask losses; 0 for the preset's.
    points: int = 2048
    # Probability that the two encoders of fused rows are shown different weather and colours; -1 for the preset's.
    apart: float = -1.0
    # Learning rates tried on each row with short runs; the best one trains it. One rate: nothing is tried.
    lrs: tuple[float, ...] = (4e-4,)
    # Optimizer steps of each short run.
    tune_iterations: int = 300
    # Sets that choose the rate; default: those of --val.
    tune_val: Annotated[tuple[str, ...], Append] = ()
    # Choose it by photographs to train on instead: every so many-th stretch of neighbours (20, by name) of each set is
    # kept out of the short runs and scores them, so that no set of --val has a say; 0 for none.
    tune_holdout: int = 0
    # Steps between evaluations, for curves over the steps; 0: only at the end.
    eval_every: int = 0
    # Folder of the rows' runs, table.md, table.json and curves.png.
    out: Path = Path("runs/ablate")
    # Folder of encoder-*.safetensors; default: the preset's own.
    encoders: Path | None = None
    # Runs trained at the same time, in processes of their own, spread over all GPUs; 0 chooses: all on GPUs, one on a
    # CPU.
    parallel: int = 0
    # auto, cpu, cuda or cuda:N.
    device: str = "auto"
    # Of the forward pass.
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    # Processes that load data for each row; -1 shares the cores among the rows.
    workers: int = -1
    # Of weights, data and dropout, the same for every row; with several the table has means and deviations.
    seeds: tuple[int, ...] = (2023,)
    # Most images of each evaluation; 0 for all.
    eval_limit: int = 0
    # Replace what --out holds.
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("iterations", "batch", "tune_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be above 0, got {getattr(self, name)}.")
        if self.eval_every < 0:
            raise ValueError(f"--eval-every must not be negative, got {self.eval_every}.")
        if self.apart != -1 and not 0 <= self.apart <= 1:
            raise ValueError(f"--apart must lie between 0 and 1, or be -1, got {self.apart}.")
        if self.tune_holdout < 0 or self.tune_holdout == 1:
            raise ValueError(f"--tune-holdout must be 2 or more, or 0 for none, got {self.tune_holdout}.")
        if self.tune_holdout and self.tune_val:
            raise ValueError("--tune-holdout and --tune-val contradict each other: pass one of them.")
        if not self.rows:
            raise ValueError(f"--rows needs one row or more: table4, five, {', '.join(TABLE4)}.")
        if not self.lrs or not all(0 < lr < math.inf for lr in self.lrs):
            raise ValueError(f"--lrs needs one learning rate or more, each above 0, got {self.lrs}.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"--seeds needs one seed or more, each once, got {self.seeds}.")

    def chosen(self) -> list[str]:
        """Names of the rows asked for, in the table's order."""
        wanted: set[str] = set()
        for name in self.rows:
            wanted |= set(TABLE4) if name == "table4" else set(FIVE) if name == "five" else {name}
        return [name for name in TABLE4 if name in wanted]


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(AblateConfig, args=list(argv), prog="python -m train ablate")
    if not config.data:
        raise ValueError("No data to train on: pass --data, for example --data camvid:PATH.")
    try:
        ablate(config, "python -m train ablate " + " ".join(argv))
    except KeyboardInterrupt:
        print(f"Stopped and saved; the same command continues. ({config.out})")
        raise SystemExit(130) from None


def ablate(config: AblateConfig, command: str = "") -> dict[str, Any]:
    """Train the rows that are not finished, write and print the table. Returns what table.json holds.

    Raises ValueError when a row cannot be trained.
    """
    rows = config.chosen()
    require_writable(config.out)
    cuda = choose_hardware(config.device, config.precision, 0).device.type == "cuda"
    started, earlier = time.time(), 0.0 if config.overwrite else earlier_minutes(config.out / "table.json")
    rates, tried = dict.fromkeys(rows, config.lrs[0]), {}
    if len(config.lrs) > 1:
        trials = [(name, lr) for name in rows for lr in config.lrs]
        parallel = how_many(config, len(trials), cuda)
        runs = [settings(config, name, lr, parallel, tune=True) for name, lr in trials]
        train_all(runs, parallel)
        scores = {trial: mean_score(run) for trial, run in zip(trials, runs, strict=True)}
        rates = {name: max(config.lrs, key=lambda lr: scores[name, lr]) for name in rows}
        tried = {name: [round(scores[name, lr], 2) for lr in config.lrs] for name in rows}
    parallel = how_many(config, len(rows) * len(config.seeds), cuda)
    runs = {name: [settings(config, name, rates[name], parallel, seed=s) for s in config.seeds] for name in rows}
    train_all([run for number in range(len(config.seeds)) for run in (runs[name][number] for name in rows)], parallel)
    report = {
        "command": command,
        **{name: getattr(config, name) for name in ("preset", "iterations", "batch")},
        "crop": runs[rows[0]][0].crop,
        "seeds": list(config.seeds),
        "lrs": list(config.lrs),
        "tried": tried,  # mIoU of each row's short runs, in the order of the rates
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "minutes": round(earlier + (time.time() - started) / 60, 1),
        "rows": {name: row_result(TABLE4[name], runs[name]) for name in rows},
    }
    text = table(report)
    contents = {"table.json": f"{json.dumps(report, indent=2)}\n".encode(), "table.md": text.encode()}
    for name, content in {**contents, "curves.png": images.encode(ablation_picture(runs))}.items():
        beside = config.out / f"{name}.part"
        beside.write_bytes(content)
        os.replace(beside, config.out / name)
    print(text, end="")
    return report


def how_many(config: AblateConfig, runs: int, cuda: bool) -> int:
    """Runs at the same time."""
    return min(config.parallel or (runs if cuda else 1), runs)


def settings(
    config: AblateConfig, name: str, lr: float, parallel: int, tune: bool = False, seed: int | None = None
) -> FitConfig:
    """The run of a row, or a short one that tries a learning rate."""
    seed = config.seeds[0] if seed is None else seed
    row, start, preset = TABLE4[name], defaults(config.preset), presets.get(config.preset)
    iterations = config.tune_iterations if tune else config.iterations
    holdout = config.tune_holdout if tune else 0
    folder = f"tune-{name}-{lr:g}" if tune else name if len(config.seeds) == 1 else f"{name}-seed{seed}"
    same = ("data", "overwrite", "batch", "device", "precision", "eval_limit")
    return replace(
        start,
        **{option: getattr(config, option) for option in same},
        val=() if holdout else (tune and config.tune_val) or config.val,
        holdout=holdout,
        streams=(row.stream,),
        fusion="" if row.fusion == preset.fusion.kind else row.fusion,
        out=config.out / folder,
        encoders=config.encoders or start.encoders or preset.weights,
        resume=not config.overwrite,
        iterations=iterations,
        crop=config.crop or start.crop,
        points=config.points or start.points,
        apart=start.apart if config.apart < 0 else config.apart,
        lr=lr,
        min_lr=min(start.min_lr, lr / 10),
        warmup=min(start.warmup, iterations // 10),
        workers=config.workers if config.workers >= 0 else max(0, min(4, usable_cores() // parallel - 1)),
        seed=seed,
        eval_every=0 if tune else config.eval_every,
        save_every=min(250, iterations),
        pictures_every=0,
        tensorboard=False,
    )
