"""Settings of `python -m train fit`: the paper's values, and what each preset does differently."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from mfuser import presets
from mfuser.config import Preset
from train.runtime.options import Append

POSITIVE = ("iterations", "batch", "accumulate", "crop", "points", "save_every", "log_every", "lr")
NOT_NEGATIVE = (
    *("warmup", "base", "eval_every", "eval_limit", "pictures_every", "seed"),
    *("min_lr", "weight_decay", "clip", "rare", "cache"),
)
SHARES = ("weather", "camera", "apart", "ema")  # 0 to 1


@dataclass(frozen=True)
class FitConfig:
    """Train the adapters and decoders of a preset's streams; the encoders stay frozen.

    Defaults are those of the released code; `--preset nano` has its own. The same command runs in one process, and in
    several under `torchrun` or `accelerate launch`.
    """

    # ---- What it learns from ----

    # Labelled photographs, [name:]ROOT[/split]; repeat for several sets.
    data: Annotated[tuple[str, ...], Append] = ()
    # Sets to evaluate on; default: the val split of every --data that has one.
    val: Annotated[tuple[str, ...], Append] = ()
    # Keep every so many-th stretch of neighbouring photographs (20, by name) of each set out of the training, and
    # evaluate on these instead, so that settings can be chosen without --val; 0 for none.
    holdout: int = 0
    # Share of each batch that each set gets; default: equal.
    mix: tuple[float, ...] = ()
    # Pairs that cannot be read: "stop" names them and ends, "skip" names them and trains without.
    broken: Literal["stop", "skip"] = "stop"
    # Decoded photographs kept in memory, GiB (2^30 bytes) for each set; a larger set is read from disk, file by file.
    cache: float = 3.0

    # ---- What is trained, and where it lies ----

    # Which preset.
    preset: str = "nano"
    # How the encoders meet, instead of the preset's own way: "mvfuser", "self-attention", "separate-attention",
    # "deformable", "convolution", "learnable-tokens", "separate" or "concat" (Tables 3 and 4); "": its own.
    fusion: str = ""
    # Which streams, one after the other; all: those of the preset, which for the paper's pairs is fused alone.
    streams: tuple[Literal["fused", "vfm", "vlm", "all"], ...] = ("all",)
    # Folder of stream-*.safetensors, logs, pictures, report and checkpoints.
    out: Path = Path("runs/nano")
    # Folder of encoder-*.safetensors; default: --out, then the preset's own.
    encoders: Path | None = None
    # Folder of stream-*.safetensors to start from, to train on with other data; default: random weights.
    start: Path | None = None
    # Encoders with random weights, to try a preset whose weights are not at hand; the result is of no other use.
    random_encoders: bool = False
    # Continue where --out stopped.
    resume: bool = False
    # Replace what --out holds.
    overwrite: bool = False
    # Check data, shapes, memory and disk with two steps, estimate the time, and write nothing.
    dry_run: bool = False

    # ---- A sample: crop and augmentation ----

    # Side of the square crop, pixels.
    crop: int = 512
    # Short side in pixels that scale 1 means; 0 keeps the native size.
    base: int = 0
    # Range of the random resize, as a factor.
    scale: tuple[float, float] = (0.5, 2.0)
    # Probability of another camera's softness, noise, tone, white balance and compression, 0 to 1.
    camera: float = 0.0
    # Probability of rendered weather, 0 to 1.
    weather: float = 0.0
    # Conditions to draw from, joined ones too ("fog+night").
    conditions: tuple[str, ...] = ("fog", "rain", "snow", "night")
    # Probability that the two encoders of the fused stream are shown different weather, camera and colours, 0 to 1.
    apart: float = 0.0
    # Temperature of rare-class sampling; 0 turns it off.
    rare: float = 100.0

    # ---- A step: batch, losses, optimizer ----

    # Optimizer steps.
    iterations: int = 20000
    # Images per step, over all processes and accumulated parts together.
    batch: int = 2
    # Parts into which each process divides its share of a batch; their gradients add up, less memory is needed.
    accumulate: int = 1
    # Points per mask of the mask losses.
    points: int = 12544
    # Loss terms over several processes: "global" is one process with the whole batch; "rank", as released, averages
    # the class and the alignment loss within each process first. One process: the same.
    loss_norm: Literal["global", "rank"] = "global"
    # Learning rate of AdamW.
    lr: float = 1e-4
    # Where the polynomial decay ends.
    min_lr: float = 1e-6
    # Steps of linear warm-up.
    warmup: int = 1500
    # Weight decay (the released CLIP variant has 1e-4).
    weight_decay: float = 1e-5
    # Spared from decay. "released": names with "norm", "query_embed" or "level_embed", which misses group and batch
    # norms, biases, A_log, D, the scale of adapters, prompts. "corrected": all vectors, embeddings, scan parameters.
    decay: Literal["released", "corrected"] = "released"
    # Largest gradient norm; 0 for no clipping.
    clip: float = 0.0
    # Decay of the moving average of the weights, which is evaluated and saved; 0 for none.
    ema: float = 0.0

    # ---- Where and how it is computed ----

    # auto, cpu, cuda or cuda:N.
    device: str = "auto"
    # Of the forward pass; losses and weights are always float32. fp16 scales the loss.
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    # Compute the encoders' blocks again in the backward pass instead of keeping their activations.
    checkpointing: bool = False
    # Processes that load data, for each process that trains; -1 chooses by cores.
    workers: int = -1
    # Of weights, data and dropout.
    seed: int = 2023

    # ---- What is written, and when ----

    # Store weights as float16.
    half: bool = False
    # Steps between evaluations; 0: only at the end.
    eval_every: int = 0
    # Most images of each evaluation; 0 for all.
    eval_limit: int = 0
    # Steps between checkpoints.
    save_every: int = 500
    # Steps between lines of the log.
    log_every: int = 20
    # Steps between pictures of input, truth, prediction and score map; 0 for none.
    pictures_every: int = 500
    # Also write scalars and pictures for TensorBoard, where it is installed.
    tensorboard: bool = True

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            option, numbers = "--" + name.replace("_", "-"), value if isinstance(value, tuple) else (value,)
            if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
                raise ValueError(f"{option} must be a finite number, got {value}.")
            if name in POSITIVE and value <= 0:
                raise ValueError(f"{option} must be above 0, got {value}.")
            if name in NOT_NEGATIVE and value < 0:
                raise ValueError(f"{option} must not be negative, got {value}.")
            if name in SHARES and (not 0 <= value <= 1 or (name, value) == ("ema", 1)):
                raise ValueError(f"{option} must lie between 0 and 1, got {value}.")
        if not self.streams:
            raise ValueError("--streams needs one stream or more: fused, vfm, vlm or all.")
        if self.weather and not self.conditions:
            raise ValueError(f"--conditions needs one condition or more for --weather {self.weather:g}, or pass 0.")
        if self.holdout < 0 or self.holdout == 1:
            raise ValueError(f"--holdout must be 2 or more, or 0 for none, got {self.holdout}.")
        if self.holdout and self.val:
            raise ValueError("--holdout and --val contradict each other: what is held out is evaluated on instead.")

    @property
    def stream_names(self) -> tuple[str, ...]:
        """The streams asked for, in the order asked; "all" stands for every stream of the preset."""
        known = presets.get(self.preset).streams
        return known if "all" in self.streams else tuple(dict.fromkeys(self.streams))

    @property
    def architecture(self) -> Preset:
        """The preset, with the fusion of `--fusion` where one is named. Raises ValueError for unknown names."""
        preset = presets.get(self.preset)
        return presets.with_fusion(preset, self.fusion) if self.fusion else preset

    def recipe(self) -> dict[str, Any]:
        """The settings that decide the resulting weights, by name; the data is not among them."""
        unset = {name for name in ("holdout", "apart") if not getattr(self, name)}  # runs of before do not have them
        return {name: value for name, value in asdict(self).items() if name not in NOT_RECIPE | unset}

    def identity(self, sets: Iterable[tuple[str, int]], stream: str) -> dict[str, Any]:
        """What the weights of a stream are made from; only a run with the same identity may be resumed.

        Args:
            sets: name and number of images of each training set.
            stream: "fused", "vfm" or "vlm". A single encoder has no use for `apart`, which is left out.

        Returns:
            The recipe, and the training sets under "sets".
        """
        own = {name: value for name, value in self.recipe().items() if name != "apart" or stream == "fused"}
        return {**own, "sets": [f"{name} ({images} images)" for name, images in sets]}


# Settings that a resumed run may change.
NOT_RECIPE = {
    *("data", "val", "broken", "cache", "streams", "out", "encoders", "start", "resume", "overwrite", "dry_run"),
    *("device", "checkpointing", "workers", "half", "eval_every", "eval_limit", "save_every", "log_every"),
    *("pictures_every", "tensorboard"),
}

# Options of earlier versions, each with the one value that is still trained: runs that had it can be resumed.
FORMER = {
    **{"category_cap": 0.75, "flip": 0.5, "photometric": True, "sampling": "random"},
    **{"power": 0.9, "warmup_ratio": 1e-6, "dropout": -1.0, "freeze_norm": False},
}

# What each preset does differently from the paper.
OVERRIDES: dict[str, dict[str, Any]] = {
    "nano": {  # 12800 crops, minutes on one GPU; `train/reproduce/recipe.py` trained the built-in weights
        "iterations": 400,
        "batch": 32,
        "crop": 384,
        "base": presets.NANO.resolution,
        "scale": (0.7, 1.8),
        "weather": 0.2,
        "apart": 0.5,
        "rare": 1.0,
        "lr": 4e-4,
        "warmup": 80,
        "weight_decay": 1e-4,
        "decay": "corrected",
        "clip": 5.0,
        "ema": 0.995,
        "points": 4096,
        "half": True,
    },
    **{name: {"weight_decay": 1e-4} for name in ("dinov2-l+clip-l", "dinov2-b+clip-b")},
}


def defaults(preset: str) -> FitConfig:
    """Settings of a preset before the command line.

    Args:
        preset: name of a preset, as `mfuser presets` lists them.

    Returns:
        The paper's settings with the preset's own over them; `out` is "runs/PRESET".

    Raises:
        ValueError: the preset is unknown.
    """
    presets.get(preset)
    return FitConfig(**{"preset": preset, "out": Path("runs") / preset, **OVERRIDES.get(preset, {})})
