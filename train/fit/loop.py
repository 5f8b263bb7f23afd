"""The training loop of one stream; killed and resumed it gives the weights of an uninterrupted run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mfuser.config import encoders_of
from mfuser.loading import MFuser
from train.data.batches import Batch, TrainingBatches, make_loader
from train.data.targets import Normalisers
from train.fit.board import Board
from train.fit.config import FitConfig
from train.fit.log_window import Window, by_kind
from train.fit.losses import LossWeights, compute_losses
from train.fit.optimizer import MovingAverage, embedding_names, learning_rate, make_optimizer
from train.fit.point_sampling import PointSampling
from train.fit.recomputation import checkpoint_blocks
from train.fit.run_files import RunFiles
from train.runtime.distributed import Processes
from train.runtime.hardware import Hardware
from train.runtime.interrupt import Interrupt

Evaluation = Callable[[MFuser, str], dict[str, Any]]  # (model, stream) -> what the log shows


class StreamPass(nn.Module):
    """The forward pass of one stream as a module, for wrappers that average gradients."""

    def __init__(self, model: MFuser, stream: str):
        super().__init__()
        self.model, self.stream = model, stream

    def forward(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """pixels (B, 3, H, W) float RGB 0..255, or (B, 2, 3, H, W) for VFM and VLM -> class logits, mask logits,
        and the alignment's logits."""
        views = pixels if pixels.dim() == 4 else dict(zip(encoders_of(self.stream), pixels.unbind(1), strict=True))
        out = self.model(views, self.stream)
        scores = None if out.score_map is None else self.model.alignment_logits(out.score_map)
        return out.class_logits, out.mask_logits, scores


class StreamTrainer:
    """Trains one stream of a model in place.

    batches: `batches[step]` is this process's share of the batch of a step. files: where log, state and weights go.
    identity: what the run was made from (settings, sets); a resumed run must have the same. evaluation: called every
    `eval_every` steps and at the end, with the averaged weights when there is an average. board: shown scalars and
    pictures.
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
        self.model, self.stream, self.batches = model, stream, batches.of(stream)
        self.config, self.hardware, self.files, self.evaluation = config, hardware, files, evaluation
        self.processes, self.board = processes or Processes(), board
        self.identity = json.loads(json.dumps(identity))
        self.parameters = self._train_mode().trainable(stream)
        if config.checkpointing:
            checkpoint_blocks(model)
        self.forward = self.processes.wrap(StreamPass(model, stream))
        self.parameters = model.trainable(stream)
        self.optimizer = make_optimizer(self.parameters, embedding_names(model), config)
        self.scaler = hardware.scaler()
        self.average = MovingAverage(self.parameters, config.ema) if config.ema else None
        self.loss_weights = LossWeights(sampling=PointSampling(config.points, kind=config.sampling))
        self.done = 0  # steps
        self.metadata: dict[str, str] = {}

    def _train_mode(self) -> MFuser:
        model = self.model.train_mode(self.stream)
        if self.config.dropout >= 0 or self.config.freeze_norm:
            adjust(model, self.config.dropout if self.config.dropout >= 0 else None, self.config.freeze_norm)
        return model

    def resume(self) -> int:
        """Continue from the stored state, if there is one. Returns the steps done. Raises ValueError if it differs."""
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

    def run(self, interrupt: Interrupt) -> bool:
        """Train to the last step, or until interrupted. Returns True when finished; everything is saved either way.

        Raises ValueError when the loss is no longer finite; the last checkpoint stays.
        """
        config, stop = self.config, self.config.iterations
        pin = self.hardware.device.type == "cuda"
        loader = make_loader(self.batches, self.done, stop, self.hardware.workers, pin)
        progress = tqdm(
            total=stop,
            initial=self.done,
            desc=self.stream,
            unit="step",
            mininterval=1,
            dynamic_ncols=True,
            disable=not self.processes.writer,
        )
        window, asked = Window(config.batch), False
        for batch in window.timed(loader):
            rate = learning_rate(self.done, config)
            window.add(self.step(batch, rate))
            self._tell(batch.faults, progress)
            progress.update()
            if self.processes.count == 1 or self.done % config.log_every == 0:  # all processes must agree
                asked = self.processes.any(bool(interrupt.asked))
            due = self.done == stop or asked
            if due or self.done % config.log_every == 0:
                self._log(window.close(self.processes), rate, progress)
            if self.board is not None and self._every(config.pictures_every):
                self._show(batch)
            if self.evaluation is not None and not asked and self._every(config.eval_every, last=True):
                self._evaluate(progress)
            if due or self._every(config.save_every):
                self.save()
            window.skip()
            if asked:
                break
        progress.close()
        if self.done == stop and self.processes.writer:
            self.files.state.unlink(missing_ok=True)
        self.processes.wait()
        return self.done == stop

    def step(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        """One optimizer step on a batch on the CPU. Returns the detached loss terms, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Dropout and points: the same when resumed.
        torch.manual_seed(step_seed(self.config.seed, self.done, self.processes.rank))
        device, parts = self.hardware.device, batch.parts(self.config.accumulate)
        norm = Normalisers.over(batch.targets, self.processes, self.config.loss_norm, device)
        self.optimizer.zero_grad(set_to_none=True)
        terms: dict[str, Tensor] = {}
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            with nullcontext() if last else self.processes.no_sync(self.forward):
                part = part.to(device)
                with self.hardware.autocast():
                    classes, masks, scores = self.forward(part.pixels.float())
                own = compute_losses(classes, masks, scores, part.targets, self.loss_weights, norm=norm)
                self.scaler.scale(sum(own.values())).backward()
            terms = {name: terms.get(name, 0) + term.detach() for name, term in own.items()}
        if self.config.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.done)
        self.done += 1
        return terms

    def _every(self, steps: int, last: bool = False) -> bool:
        return (last and self.done == self.config.iterations) or (steps > 0 and self.done % steps == 0)

    def _tell(self, faults: Sequence[str], progress: tqdm) -> None:
        for fault in faults:
            progress.write(f"{self.stream} step {self.done}: {fault} Another photograph took its place.")

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
        self._train_mode()

    def save(self) -> None:
        """Store the resumable state and the weights. Raises ValueError when a weight is not finite."""
        if not self.processes.writer:
            return
        model_state = self.model.state_for(self.stream)
        if not all(t.isfinite().all() for t in model_state.values() if t.is_floating_point()):
            raise ValueError(f"Weights of {self.stream!r} are not finite after step {self.done}: lower --lr.")
        state = {
            "step": self.done,
            "recipe": self.identity,
            "model": model_state,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.average,
        }
        self.files.save_state(state)
        averaged = {} if self.average is None else self.average.average
        metadata = {"preset": self.model.preset.name, "stream": self.stream, "step": str(self.done)}
        metadata |= {"seed": str(self.config.seed), "recipe": json.dumps(self.identity), **self.metadata}
        self.files.save_weights({**model_state, **averaged}, metadata, self.config.half)

    def _evaluate(self, progress: tqdm) -> None:
        with self.averaged_weights():
            scores = self.evaluation(self.model, self.stream)
        self._train_mode()
        if not self.processes.writer:
            return
        self.files.write_log({"step": self.done, "evaluation": scores})
        if self.board is not None:
            self.board.scalars(self.done, {f"mIoU/{name}": value["miou"] for name, value in scores.items()})
        for name, value in scores.items():
            self.metadata[f"miou {name}"] = f"{value['miou']:.2f}"
            progress.write(f"{self.stream} step {self.done}: mIoU {value['miou']:.2f} on {name} ({value['space']})")

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The moving average in place of the weights."""
        if self.average is None:
            yield
            return
        own = {name: t.clone() for name, t in self.model.state_for(self.stream).items()}
        self.model.load_state_for(self.stream, {**own, **self.average.average})
        try:
            yield
        finally:
            self.model.load_state_for(self.stream, own)


def adjust(model: nn.Module, dropout: float | None, freeze_norm: bool) -> None:
    """Set the dropout of modules in training mode, and let their batch norms use stored statistics."""
    for module in model.modules():
        if isinstance(module, nn.Dropout) and module.training and dropout is not None:
            module.p = dropout
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and freeze_norm:
            module.eval()


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """A seed for the random draws of one step; steps of neighbouring seeds and ranks do not coincide."""
    return (seed * 1_000_003 + step + rank * 1_000_000_007) % 2**63
