"""The training loop of one stream; killed and resumed it gives the weights of an uninterrupted run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mfuser.model import MFuser
from train.config import FitConfig, Hardware
from train.data.batches import TrainingBatches, make_loader
from train.interrupt import Interrupt
from train.losses import LossWeights, compute_losses
from train.optimizer import MovingAverage, embedding_names, learning_rate, make_optimizer
from train.points import PointSampling
from train.state import RunFiles

Evaluation = Callable[[MFuser, str], dict[str, Any]]  # (model, stream) -> what the log shows


class StreamTrainer:
    """Trains one stream of a model in place.

    batches: `batches[step]` is the batch of a step. files: where log, state and weights go. identity: what the run
    was made from (settings, sets); a resumed run must have the same. evaluation: called every `eval_every` steps and at
    the end, with the averaged weights when there is an average.
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
    ):
        self.model, self.stream, self.batches = model, stream, batches
        self.config, self.hardware, self.files, self.evaluation = config, hardware, files, evaluation
        self.identity = json.loads(json.dumps(identity))
        self.parameters = model.train_mode(stream).trainable(stream)
        self.optimizer = make_optimizer(self.parameters, embedding_names(model), config)
        self.average = MovingAverage(self.parameters, config.ema) if config.ema else None
        self.loss_weights = LossWeights(sampling=PointSampling(config.points, kind=config.sampling))
        self.done = 0  # steps
        self.metadata: dict[str, str] = {}

    def resume(self) -> int:
        """Continue from the stored state, if there is one. Returns the steps done. Raises ValueError if it differs."""
        state = self.files.load_state(self.identity)
        if state is not None:
            self.model.load_state_for(self.stream, state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                self.average.load(state["average"])
            self.done = state["step"]
            self.files.trim_log(self.done)
        return self.done

    def run(self, interrupt: Interrupt) -> bool:
        """Train to the last step, or until interrupted. Returns True when finished; everything is saved either way.

        Raises ValueError when the loss is no longer finite; the last checkpoint stays.
        """
        config, stop = self.config, self.config.iterations
        pin = self.hardware.device.type == "cuda"
        loader = make_loader(self.batches, self.done, stop, self.hardware.workers, pin)
        progress = tqdm(total=stop, initial=self.done, desc=self.stream, unit="step", mininterval=1, dynamic_ncols=True)
        window = Window(config.batch)
        for batch in loader:
            rate = learning_rate(self.done, config)
            window.add(self.step(batch.to(self.hardware.device), rate))
            progress.update()
            due = self.done == stop or interrupt.asked
            if due or self.done % config.log_every == 0:
                record = window.close()
                if not math.isfinite(record["loss"]):
                    raise ValueError(
                        f"The loss of {self.stream!r} is {record['loss']} at step {self.done}: lower --lr."
                    )
                self.files.write_log({"step": self.done, "lr": rate, **record})
                progress.set_postfix(
                    loss=f"{record['loss']:.3f}", lr=f"{rate:.1e}", img_s=f"{record['images_per_s']:.1f}"
                )
            if self.evaluation is not None and not interrupt.asked and self._evaluation_due():
                self._evaluate(progress)
                window = Window(config.batch)
            if due or self.done % config.save_every == 0:
                self.save()
            if interrupt.asked:
                break
        progress.close()
        if self.done == stop:
            self.files.state.unlink(missing_ok=True)
        return self.done == stop

    def step(self, batch: Any, rate: float) -> dict[str, Tensor]:
        """One optimizer step. Returns the detached loss terms, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(step_seed(self.config.seed, self.done))  # dropout and points: the same when resumed
        with self.hardware.autocast():
            out = self.model(batch.pixels.float(), self.stream)
            scores = None if out.score_map is None else self.model.alignment_logits(out.score_map)
        terms = compute_losses(out.class_logits, out.mask_logits, scores, batch.targets, self.loss_weights)
        self.optimizer.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.done)
        self.done += 1
        return {name: term.detach() for name, term in terms.items()}

    def save(self) -> None:
        """Store the resumable state and the weights. Raises ValueError when a weight is not finite."""
        model_state = self.model.state_for(self.stream)
        if not all(t.isfinite().all() for t in model_state.values() if t.is_floating_point()):
            raise ValueError(f"Weights of {self.stream!r} are not finite after step {self.done}: lower --lr.")
        state = {
            "step": self.done,
            "recipe": self.identity,
            "model": model_state,
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.average,
        }
        self.files.save_state(state)
        averaged = {} if self.average is None else self.average.average
        metadata = {"preset": self.model.preset.name, "stream": self.stream, "step": str(self.done)}
        metadata |= {"seed": str(self.config.seed), **self.metadata}
        self.files.save_weights({**model_state, **averaged}, metadata, self.config.half)

    def _evaluation_due(self) -> bool:
        every = self.config.eval_every
        return self.done == self.config.iterations or (every > 0 and self.done % every == 0)

    def _evaluate(self, progress: tqdm) -> None:
        with self.averaged_weights():
            scores = self.evaluation(self.model, self.stream)
        self.model.train_mode(self.stream)
        self.files.write_log({"step": self.done, "evaluation": scores})
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


class Window:
    """Loss terms and speed since the last line of the log. Terms stay on the device until it is closed."""

    def __init__(self, batch: int):
        self.batch = batch
        self._reset()

    def _reset(self) -> None:
        self.names: Sequence[str] = ()
        self.total: Tensor | None = None
        self.steps, self.started = 0, time.perf_counter()

    def add(self, terms: dict[str, Tensor]) -> None:
        """Take in one step."""
        values = torch.stack(list(terms.values()))
        self.total = values if self.total is None else self.total + values
        self.names, self.steps = list(terms), self.steps + 1

    def close(self) -> dict[str, Any]:
        """Means over the steps since the last call, and images per second; waits for the device."""
        means = (self.total / self.steps).tolist()
        seconds = time.perf_counter() - self.started
        record = {
            "loss": sum(means),
            "images_per_s": round(self.steps * self.batch / seconds, 2),
            "terms": {name: round(value, 5) for name, value in zip(self.names, means, strict=True)},
        }
        self._reset()
        return record


def step_seed(seed: int, step: int) -> int:
    """A seed for the random draws of one step; steps of neighbouring seeds do not coincide."""
    return (seed * 1_000_003 + step) % 2**63
