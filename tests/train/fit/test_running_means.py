"""What a line of the training log says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from train.fit import running_means
from train.fit.running_means import RunningMeans, by_kind
from train.runtime.distributed import Processes


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """A clock that stands still unless it is moved."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(running_means, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def test_a_line_has_means_speed_and_waiting_of_the_steps_since_the_last_one(clock, monkeypatch):
    monkeypatch.setattr(running_means, "items_of", lambda loader: loader)

    def loader():
        for batch in range(4):
            clock.seconds += 1  # in which no batch is ready
            yield batch

    line = RunningMeans(batch=8)
    for batch in line.timed(loader()):
        clock.seconds += 3
        line.add({"decode.loss_cls": torch.tensor(float(batch)), "decode.d0.loss_cls": torch.tensor(2.0)})
        if batch in (1, 3):
            record = line.close(Processes())
            clock.seconds += 100  # an evaluation, which is no training
            line.restart_clock()
            assert record["terms"] == {"decode.loss_cls": batch - 0.5, "decode.d0.loss_cls": 2.0}
            assert record["loss"] == batch + 1.5
            assert record["images_per_s"] == 2 and record["waiting"] == 0.25


def test_terms_are_summed_over_the_predictions():
    terms = {"decode.loss_cls": 1.0, "decode.d0.loss_cls": 2.0, "decode.d0.loss_dice": 4.0}
    assert by_kind(terms) == {"cls": 3.0, "dice": 4.0}
