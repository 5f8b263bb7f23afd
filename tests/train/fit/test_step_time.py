"""What a training step may cost on two cores; wants CamVid and a machine that does nothing else."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from train.data.batches import make_loader
from train.fit.config import defaults
from train.fit.inputs import make_batches, open_data
from train.fit.loop import StreamTrainer
from train.fit.run_files import RunFiles
from train.fit.running_means import RunningMeans
from train.fit.starting_weights import StartingWeights
from train.runtime.hardware import choose_hardware

CAMVID = Path(__file__).resolve().parents[4] / "shared" / "data" / "camvid"


@pytest.mark.slow
def test_a_step_costs_three_forward_passes_and_data_is_never_waited_for(tmp_path):
    if not CAMVID.is_dir():
        pytest.skip("CamVid is not beside this checkout")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        config = replace(defaults("nano"), data=(f"camvid:{CAMVID}",), batch=4, crop=320, eval_limit=1, device="cpu")
        hardware = choose_hardware("cpu", "float32", 1)
        batches = make_batches(config, open_data(config)[0])
        model = StartingWeights.find(config).model(["fused"])
        trainer = StreamTrainer(model, "fused", batches, config, hardware, RunFiles(tmp_path, "fused"), {})
        forwards, steps, means = [], [], RunningMeans(config.batch)
        for batch in means.timed(make_loader(batches, 0, 9, 1, pin=False)):
            started = time.perf_counter()
            trainer.forward(batch.pixels.float())
            forwards.append(time.perf_counter() - started)
            means.restart_clock()
            if not steps:
                means.waited = 0.0  # the first batch is waited for, of course
            started = time.perf_counter()
            means.add(trainer.step(batch, 1e-4))
            steps.append(time.perf_counter() - started)
        waiting = means.close(trainer.processes)["waiting"]
    finally:
        torch.set_num_threads(before)
    forward, step = statistics.median(forwards[1:]), statistics.median(steps[1:])
    print(f"forward {forward:.2f} s, step {step:.2f} s, ratio {step / forward:.2f}, waiting {100 * waiting:.1f} %")
    assert step < 3 * forward and waiting < 0.05
