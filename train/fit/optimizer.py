"""AdamW with its parameter groups, the learning-rate schedule, and the moving average of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from train.fit.config import FitConfig

POWER = 0.9  # exponent of the polynomial decay, as released
WARMUP_START = 1e-6  # share of the rate at which the warm-up starts, as released
RELEASED_SPARED = ("norm", "query_embed", "level_embed")  # substrings of parameter names
SCAN_SPARED = ("A_log", "D", "prompts")  # matrices that are no projections (Mamba marks the first two itself)


def make_optimizer(
    parameters: Mapping[str, nn.Parameter], embeddings: Iterable[str], config: FitConfig
) -> torch.optim.AdamW:
    """AdamW in two groups: with weight decay, and spared from it.

    Args:
        parameters: what is trained, by name.
        embeddings: names of the parameters that are tables of embeddings.
        config: settings of the run; `decay` says what is spared.

    Returns:
        The optimizer; its first group is the decayed one.
    """
    tables = set(embeddings)

    def spared(name: str, parameter: nn.Parameter) -> bool:
        if config.decay == "released":
            return any(part in name for part in RELEASED_SPARED)
        return parameter.ndim <= 1 or name in tables or name.rpartition(".")[2] in SCAN_SPARED

    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in parameters.items():
        groups[spared(name, parameter)].append(parameter)
    on_cuda = all(p.is_cuda for p in parameters.values())
    return torch.optim.AdamW(
        [
            {"params": groups[False], "weight_decay": config.weight_decay},
            {"params": groups[True], "weight_decay": 0.0},
        ],
        lr=config.lr,
        fused=on_cuda or None,
    )


def embedding_names(model: nn.Module) -> set[str]:
    """Names of all embedding tables of a model."""
    return {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}


def learning_rate(step: int, config: FitConfig) -> float:
    """The rate of a step: polynomial decay to `min_lr` with linear warm-up, as mmcv computes it.

    Args:
        step: 0 for the first one.
        config: settings of the run.
    """
    decayed = (config.lr - config.min_lr) * (1 - step / config.iterations) ** POWER + config.min_lr
    if step < config.warmup:
        return decayed * (1 - (1 - step / config.warmup) * (1 - WARMUP_START))
    return decayed


class MovingAverage:
    """Exponential moving average of parameters, by name; young averages follow faster."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float):
        self.decay, self.parameters = decay, dict(parameters)
        self.average = {name: p.detach().clone() for name, p in parameters.items()}

    def update(self, step: int) -> None:
        """Take in the weights after step s: average = d average + (1 - d) weights, d = min(decay, (1+s) / (10+s))."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = [p.detach() for p in self.parameters.values()]
        get_ema_multi_avg_fn(decay)(list(self.average.values()), current, None)

    def load(self, average: Mapping[str, Tensor]) -> None:
        """Continue from stored averages."""
        with torch.no_grad():
            for name, tensor in self.average.items():
                tensor.copy_(average[name])
