"""All that the streams of one run share, in one of its processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mfuser.loading import MFuser
from train.data import SegmentationData
from train.data.batches import TrainingBatches
from train.fit.config import FitConfig
from train.fit.starting_weights import StartingWeights
from train.metrics.confusion import summary
from train.metrics.scoring import View, evaluate
from train.runtime.distributed import Processes
from train.runtime.hardware import Hardware


@dataclass(frozen=True)
class Run:
    """Settings, data, devices and processes of a run."""

    config: FitConfig
    start: StartingWeights  # where its weights come from
    batches: TrainingBatches  # this process's share of the batch of each step
    validation: list[SegmentationData]  # sets to evaluate on; none for no evaluation
    hardware: Hardware
    processes: Processes

    def say(self, text: str) -> None:
        """Print a line, once for all processes."""
        if self.processes.writer:
            print(text)

    def evaluate(self, model: MFuser, stream: str) -> dict[str, Any]:
        """Score one stream on every set, in the classes or groups of the set's own labels.

        Args:
            model: on the device of the run; left in evaluation mode.
            stream: "fused", "vfm" or "vlm".

        Returns:
            {name of the set: {"space", "images", "miou" and "accuracy" in per cent, "iou" by class}}.
        """
        report = {}
        for dataset in self.validation:
            space, view = dataset.kind.space, View(self.config.batch)
            matrices = evaluate(model, (stream,), dataset, space, self.hardware, view, self.processes)
            report[dataset.name] = {"space": space, "images": len(dataset), **summary(matrices)[stream]}
        return report
