"""The loop of short trainings resumes to the same weights, and names states that do not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from train.runtime.training_steps import RunConfig, run, schedule


class Killed(Exception):
    pass


def train(config: RunConfig, stop: int | None = None) -> nn.Module:
    """A noisy regression; `stop` raises before that step is taken."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def step(i, generator):
        if i == stop:
            raise Killed
        x = torch.randn(16, 4, generator=generator)
        return {"fit": (net(x) - x.sum(1, keepdim=True)).square().mean()}

    run({"net": net}, step, config)
    return net


def test_resumed_weights_are_those_of_an_uninterrupted_run(tmp_path):
    config = RunConfig(iterations=12, batch=16, lr=1e-2, warmup=3, save_every=5, state=tmp_path / "a.state.pt")
    whole = train(replace(config, state=tmp_path / "b.state.pt"))
    with pytest.raises(Killed):
        train(config, stop=8)
    again = train(config)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_states_of_other_settings_and_damaged_ones_are_named(tmp_path):
    config = RunConfig(iterations=12, batch=16, lr=1e-2, save_every=5, state=tmp_path / "a.state.pt")
    with pytest.raises(Killed):
        train(config, stop=8)
    with pytest.raises(ValueError, match=r"trained with lr = 0.01, not 0.1.*--overwrite"):
        train(replace(config, lr=0.1))
    config.state.write_bytes(b"cut short")
    with pytest.raises(ValueError, match="damaged: pass --overwrite"):
        train(config)


def test_schedule_warms_up_and_ends_low():
    config = RunConfig(iterations=1000, batch=1, lr=1.0, warmup=10)
    rates = [schedule(step, config) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1, abs=1e-2) and rates[-1] < 0.03
    with pytest.raises(ValueError, match="warmup must be 1 or more"):
        RunConfig(iterations=10, batch=1, lr=1.0, warmup=0)
