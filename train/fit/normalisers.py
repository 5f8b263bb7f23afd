"""What the loss terms are divided by, in one process and over several."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from train.data.targets import Targets
from train.runtime.distributed import Processes

LOSS_NORMS = ("global", "rank")
TINY = torch.finfo(torch.float32).tiny


@dataclass
class Normalisers:
    """The counts by which the sums of the loss terms are divided: numbers, or scalars on the device.

    A term of a step is sum / count. With P processes, each has a part of the step's samples, and the gradients of the
    processes are averaged, (g_1 + ... + g_P) / P. So process p divides its own sum by the count of all over P:

        loss_p = sum_p / ((count_1 + ... + count_P) / P),   mean over p of loss_p = sum of sums / sum of counts,

    which is the term of one process with the whole batch. `over` computes the right-hand side, once for each step.
    """

    weights: float | Tensor  # of the class loss: the sum of the queries' weights
    masks: float | Tensor  # of the mask losses: the number of matched masks
    pixels: float | Tensor  # of the alignment loss: the number of label pixels, ignored ones included

    @classmethod
    def of(cls, targets: Targets) -> Normalisers:
        """The counts of one process that has all samples of the step."""
        return cls(targets.weights.sum().clamp_min(TINY), max(len(targets.matched), 1), targets.labels.numel())

    @classmethod
    def over(cls, targets: Targets, processes: Processes, kind: str, device: torch.device | str) -> Normalisers:
        """The counts of a step whose samples are spread over processes.

        Args:
            targets: of this process's share of the step, all accumulated parts together, on the CPU.
            processes: all processes of the run; they must call this together.
            kind: "global" for the formula above. "rank" as released: the class and the alignment loss are averaged
                within each process first, and there is never less than one mask a process.
            device: where the counts are summed.

        Raises:
            ValueError: `kind` is another one.
        """
        if kind not in LOSS_NORMS:
            raise ValueError(f"Unknown loss norm {kind!r}; choose one of {', '.join(LOSS_NORMS)}.")
        if processes.count == 1:
            return cls.of(targets)
        own = [float(targets.weights.sum()), float(len(targets.matched)), float(targets.labels.numel())]
        total = processes.total(torch.tensor(own, device=device))
        weights, masks, pixels = (n / processes.count for n in total.unbind())
        if kind == "rank":
            return cls(max(own[0], TINY), masks.clamp_min(1), own[2])
        return cls(weights.clamp_min(TINY), masks.clamp_min(1 / processes.count), pixels)
