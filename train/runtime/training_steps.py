"""One loop for every short training of an encoder: warm-up and cosine, progress, checkpoints, resume."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm


@dataclass(frozen=True)
class RunConfig:
    """Settings of one stage."""

    iterations: int
    batch: int
    lr: float  # of new layers
    trunk_lr: float = 0.1  # of the ImageNet-trained trunk, as a share of lr
    weight_decay: float = 0.04
    warmup: int = 200  # steps
    clip: float = 3.0  # gradient norm
    save_every: int = 500  # steps between checkpoints
    device: str = "cpu"
    precision: str = "float32"
    seed: int = 0
    state: Path = Path("stage.state.pt")

    def __post_init__(self) -> None:
        for name in ("iterations", "batch", "save_every", "warmup"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}.")

    def recipe(self) -> dict[str, int | float | str]:
        """What decides the resulting weights; a resumed run must have the same."""
        return {k: v for k, v in asdict(self).items() if k not in ("save_every", "device", "state")}


def schedule(step: int, config: RunConfig) -> float:
    """Factor of the learning rate: linear warm-up, times a cosine from 1 to 0.02 over the run."""
    return min(1.0, (step + 1) / config.warmup) * (0.51 + 0.49 * math.cos(math.pi * step / config.iterations))


def parameter_groups(modules: Iterable[nn.Module], config: RunConfig) -> list[dict]:
    """AdamW groups: matrices decay, vectors do not; the trunk learns more slowly."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for module in modules:
        for name, p in module.named_parameters():
            if p.requires_grad:
                groups.setdefault(("trunk." in name, p.ndim > 1), []).append(p)
    return [
        {
            "params": params,
            "lr": config.lr * (config.trunk_lr if trunk else 1),
            "weight_decay": config.weight_decay if decay else 0.0,
        }
        for (trunk, decay), params in groups.items()
    ]


def run(
    modules: dict[str, nn.Module],
    step: Callable[[int, torch.Generator], dict[str, Tensor]],
    config: RunConfig,
    after: Callable[[int], None] | None = None,
) -> None:
    """Train `modules` in place.

    Args:
        modules: by name. What is not among them is not resumed.
        step: (i, generator) -> named loss terms, whose sum is minimised. The generator is seeded by (seed, i), so that
            a resumed run draws what the uninterrupted one draws.
        config: settings.
        after: called with i after each optimizer step, for moving averages.

    Raises:
        ValueError: the stored state is damaged or of other settings.
    """
    optimizer = torch.optim.AdamW(parameter_groups(modules.values(), config), betas=(0.9, 0.98))
    base = [group["lr"] for group in optimizer.param_groups]
    start = _resume(modules, optimizer, config)
    device = torch.device(config.device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
    progress = tqdm(
        range(start, config.iterations), initial=start, total=config.iterations, desc=config.state.stem, mininterval=2
    )
    smooth: dict[str, float] = {}
    for i in progress:
        for group, lr in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = lr * schedule(i, config)
        generator = torch.Generator(device).manual_seed(config.seed * 1_000_003 + i)
        torch.manual_seed(config.seed * 1_000_003 + i)  # layers that draw for themselves
        with autocast:
            losses = step(i, generator)
        optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], config.clip)
        optimizer.step()
        if after is not None:
            after(i)
        if i % 20 == 0:
            for name, value in losses.items():
                smooth[name] = 0.9 * smooth.get(name, value.item()) + 0.1 * value.item()
            progress.set_postfix({name: f"{value:.3f}" for name, value in smooth.items()})
        if (i + 1) % config.save_every == 0 and i + 1 < config.iterations:
            _save(modules, optimizer, config, i + 1)


def _save(modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, config: RunConfig, done: int) -> None:
    beside = config.state.with_name(config.state.name + ".part")
    states = {name: module.state_dict() for name, module in modules.items()}
    stored = {"recipe": config.recipe(), "modules": states, "optimizer": optimizer.state_dict(), "done": done}
    torch.save(stored, beside)
    os.replace(beside, config.state)


def _resume(modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, config: RunConfig) -> int:
    if not config.state.exists():
        return 0
    try:
        saved = torch.load(config.state, map_location=config.device, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{config.state} is damaged: pass --overwrite to start anew.") from error
    stored = saved.get("recipe", {})
    for name, value in config.recipe().items():
        if stored.get(name) != value:
            raise ValueError(
                f"Cannot resume {config.state.name}: it was trained with {name} = {stored.get(name)}, not {value}. "
                "Use the same settings, or --overwrite to start anew."
            )
    for name, module in modules.items():
        module.load_state_dict(saved["modules"][name])
    optimizer.load_state_dict(saved["optimizer"])
    return saved["done"]
