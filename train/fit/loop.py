"""The training loop of one stream; killed and resumed it gives the weights of an uninterrupted run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mfuser.loading import MFuser
from train.data.batches import Batch, TrainingBatches, make_loader
from train.fit.board import Board
from train.fit.config import FitConfig
from train.fit.forward_pass import StreamPass, checkpoint_blocks
from train.fit.losses import LossWeights, compute_losses
from train.fit.normalisers import Normalisers
from train.fit.optimizer import MovingAverage, embedding_names, learning_rate, make_optimizer
from train.fit.point_sampling import PointSampling
from train.fit.run_files import RunFiles
from train.fit.running_means import RunningMeans, by_kind
from train.runtime.distributed import Processes
from train.runtime.hardware import Hardware
from train.runtime.interrupt import Interrupt

Evaluation = Callable[[MFuser, str], dict[str, Any]]  # (model, stream) -> what the log shows


class StreamTrainer:
    """Trains one stream of a model in place.

    Args:
        model: on the device of `hardware`.
        stream: "fused", "vfm" or "vlm".
        batches: `batches[step]` is this process's share of the batch of a step.
        config: settings of the run.
        hardware: device, precision and loading processes.
        files: where log, state and weights go.
        identity: what the run is made from (settings, sets); a resumed run must have the same.
        evaluation: called every `eval_every` steps and at the end, with the averaged weights when there is an average.
        processes: all processes of the run; None for a single one.
        board: shown scalars and pictures, in the writing process.
    """

    def __init__(
        self,
        model: MFuser,
        stream: str,
        batches: TrainingBatches,
        config: FitConfig,
        hardware: Hardware,
        files: RunFiles,
        identity: dict[str, Any],
        evaluation: Evaluation | None = None,
        processes: Processes | None = None,
        board: Board | None = None,
    ):
        self.model, self.stream, self.batches = model.train_mode(stream), stream, batches.of(stream)
        self.config, self.hardware, self.files, self.evaluation = config, hardware, files, evaluation
        self.processes, self.board = processes or Processes(), board
        self.identity = json.loads(json.dumps(identity))  # tuples become lists, as they are stored
        if config.checkpointing:
            checkpoint_blocks(model)
        self.forward = self.processes.wrap(StreamPass(model, stream))
        self.parameters = model.trainable(stream)
        self.optimizer = make_optimizer(self.parameters, embedding_names(model), config)
        self.scaler = hardware.scaler()
        self.average = MovingAverage(self.parameters, config.ema) if config.ema else None
        self.loss_weights = LossWeights(sampling=PointSampling(config.points))
        self.done, self.scores = 0, {}  # steps; mIoU of the last evaluation, as the file of weights names it

    def run(self, interrupt: Interrupt) -> bool:
        """Train to the last step, or until interrupted; everything is saved either way.

        Args:
            interrupt: asked after each step; of several processes, after each line of the log.

        Returns:
            True when the last step is done.

        Raises:
            ValueError: the loss is no longer finite; the last checkpoint stays.
        """
        config, last = self.config, self.config.iterations
        pin = self.hardware.device.type == "cuda"
        loader = make_loader(self.batches, self.done, last, self.hardware.workers, pin)
        progress = tqdm(
            total=last,
            initial=self.done,
            desc=self.stream,
            unit="step",
            mininterval=1,
            dynamic_ncols=True,
            disable=not self.processes.writer,
        )
        means, stop = RunningMeans(config.batch), False
        for batch in means.timed(loader):
            rate = learning_rate(self.done, config)
            means.add(self.step(batch, rate))
            progress.update()
            for fault in batch.faults:
                progress.write(f"{self.stream} step {self.done}: {fault} Another photograph took its place.")
            if self.processes.count == 1 or self._every(config.log_every):  # all processes must agree
                stop = self.processes.any(bool(interrupt.asked))
            if stop or self._every(config.log_every, at_end=True):
                self._log(means.close(self.processes), rate, progress)
            if self.board is not None and self._every(config.pictures_every):
                self._show(batch)
            if self.evaluation is not None and not stop and self._every(config.eval_every, at_end=True):
                self._evaluate(progress)
            if stop or self._every(config.save_every, at_end=True):
                self.save()
            means.restart_clock()
            if stop:
                break
        progress.close()
        if self.done == last and self.processes.writer:
            self.files.state.unlink(missing_ok=True)
        self.processes.wait()
        return self.done == last

    def step(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        """Take one optimizer step.

        Args:
            batch: this process's share, on the CPU.
            rate: learning rate.

        Returns:
            The loss terms by name, detached scalars on the device: sums over the accumulated parts.
        """
        config, device = self.config, self.hardware.device
        torch.manual_seed(step_seed(config.seed, self.done, self.processes.rank))  # of dropout and points
        norm = Normalisers.over(batch.targets, self.processes, config.loss_norm, device)
        self.optimizer.zero_grad(set_to_none=True)
        terms: dict[str, Tensor] = {}
        for number, part in enumerate(batch.parts(config.accumulate), 1):
            part = part.to(device)
            with nullcontext() if number == config.accumulate else self.processes.no_sync(self.forward):
                with self.hardware.autocast():
                    outputs = self.forward(part.pixels.float())
                losses = compute_losses(*outputs, part.targets, self.loss_weights, norm=norm)
                self.scaler.scale(sum(losses.values())).backward()
            terms = {name: terms.get(name, 0) + loss.detach() for name, loss in losses.items()}
        if config.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters.values(), config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.done)
        self.done += 1
        return terms

    def resume(self) -> int:
        """Continue from the stored state, if there is one.

        Returns:
            The steps that are done.

        Raises:
            ValueError: the state is damaged, or of a run with another identity.
        """
        state = self.files.load_state(self.identity)
        if state is not None:
            self.model.load_state_for(self.stream, state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            if self.average is not None:
                self.average.load(state["average"])
            self.done = state["step"]
        if self.processes.writer:
            self.files.trim_log(self.done)
        return self.done

    def save(self) -> None:
        """Store the resumable state and the weights. Raises ValueError when a weight is not finite."""
        if not self.processes.writer:
            return
        model_state = self.model.state_for(self.stream)
        if not all(t.isfinite().all() for t in model_state.values() if t.is_floating_point()):
            raise ValueError(f"Weights of {self.stream!r} are not finite after step {self.done}: lower --lr.")
        average = {} if self.average is None else self.average.average
        state = {"step": self.done, "recipe": self.identity, "model": model_state, "average": average}
        state |= {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        self.files.save_state(state)
        metadata = {"preset": self.model.preset.name, "stream": self.stream, "step": str(self.done)}
        metadata |= {"seed": str(self.config.seed), "recipe": json.dumps(self.identity), **self.scores}
        self.files.save_weights({**model_state, **average}, metadata, self.config.half)

    def _every(self, steps: int, at_end: bool = False) -> bool:
        return (at_end and self.done == self.config.iterations) or (steps > 0 and self.done % steps == 0)

    def _log(self, record: dict[str, Any], rate: float, progress: tqdm) -> None:
        if not math.isfinite(record["loss"]):
            raise ValueError(f"The loss of {self.stream!r} is {record['loss']} at step {self.done}: lower --lr.")
        if not self.processes.writer:
            return
        self.files.write_log({"step": self.done, "lr": rate, **record})
        shown = {kind: f"{value:.2f}" for kind, value in by_kind(record["terms"]).items()}
        progress.set_postfix(
            loss=f"{record['loss']:.2f}", **shown, lr=f"{rate:.1e}", img_s=f"{record['images_per_s']:.1f}"
        )
        if self.board is not None:
            self.board.scalars(self.done, {"lr": rate, **record})

    def _show(self, batch: Batch) -> None:
        """Pictures of the last batch's first sample, as the trained weights see it now; of two views, the VFM's."""
        self.model.eval()
        pixels = batch.pixels[:1] if batch.pixels.dim() == 4 else batch.pixels[:1, 0]
        with torch.no_grad(), self.hardware.autocast():
            out = self.model(pixels.to(self.hardware.device).float(), self.stream)
        members = batch.targets.members[0].numpy()
        self.board.pictures(self.done, pixels[0].numpy(), batch.targets.labels[0].numpy(), members, out)
        self.model.train_mode(self.stream)

    def _evaluate(self, progress: tqdm) -> None:
        with self._averaged_weights():
            scores = self.evaluation(self.model, self.stream)
        self.model.train_mode(self.stream)
        if not self.processes.writer:
            return
        self.files.write_log({"step": self.done, "evaluation": scores})
        if self.board is not None:
            self.board.scalars(self.done, {f"mIoU/{name}": value["miou"] for name, value in scores.items()})
        for name, value in scores.items():
            self.scores[f"miou {name}"] = f"{value['miou']:.2f}"
            progress.write(f"{self.stream} step {self.done}: mIoU {value['miou']:.2f} on {name} ({value['space']})")

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """The moving average, where there is one, in place of the weights."""
        own = {name: t.clone() for name, t in self.model.state_for(self.stream).items()}
        average = {} if self.average is None else self.average.average
        self.model.load_state_for(self.stream, {**own, **average})
        try:
            yield
        finally:
            self.model.load_state_for(self.stream, own)


def step_seed(seed: int, step: int, rank: int) -> int:
    """A seed for the random draws of one step; steps of neighbouring seeds and ranks do not coincide."""
    return (seed * 1_000_003 + step + rank * 1_000_000_007) % 2**63
