"""Two processes are one with the whole batch; a run that is killed at any moment continues to the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mfuser.weights import tensors as tensors_module
from train.data import CITYSCAPES
from train.data.targets import make_targets
from train.fit.losses import compute_losses
from train.fit.normalisers import Normalisers
from train.runtime.distributed import Processes, open_processes

COMMAND = Path(__file__).parents[1] / "tiny_command.py"
FAST = ["--preset", "tiny", "--crop", "64", "--workers", "0", "--warmup", "2", "--rare", "0", "--device", "cpu"]
FAST += ["--log-every", "2", "--seed", "1", "--pictures-every", "0", "--no-tensorboard"]
EXACT = ["--exact", "--points", "64", "--streams", "fused"]  # see tiny_command.py


def arguments(streets: Path, out: Path, encoders: Path, *more: str) -> list[str]:
    return ["fit", "--data", f"camvid:{streets}", "--out", str(out), "--encoders", str(encoders), *FAST, *more]


def start(arguments: list[str], processes: int = 1) -> subprocess.Popen:
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launcher, str(COMMAND), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_lines(process: subprocess.Popen, path: Path, lines: int) -> None:
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None:
        if path.exists() and len(path.read_text().splitlines()) >= lines:
            return
        time.sleep(0.01)


def finish(process: subprocess.Popen) -> str:
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    return output


def weights(folder: Path, stream: str = "fused") -> dict[str, torch.Tensor]:
    return tensors_module.load(folder / f"stream-{stream}.safetensors")[0]


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "stream-fused.jsonl").read_text().splitlines()]


def largest_difference(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    assert one.keys() == two.keys()
    return max((one[name].double() - two[name].double()).abs().max().item() for name in one)


def without_key_biases(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Attention does not depend on the bias of its keys: the true gradient is 0, and Adam follows the rounding."""
    return {
        name: torch.cat([t[: len(t) // 3], t[2 * len(t) // 3 :]]) if name.endswith("in_proj_bias") else t
        for name, t in tensors.items()
    }


def test_two_processes_train_as_one(tmp_path, streets, tiny_run):
    """Losses, weights and scores; the batch of four is split in two, and each half once more in two parts."""
    runs = {name: tmp_path / name for name in ("one", "two", "parts")}
    steps = ["--iterations", "4", "--batch", "4", "--lr", "1e-4"]
    finish(start(arguments(streets, runs["one"], tiny_run, *EXACT, *steps)))
    said = finish(start(arguments(streets, runs["two"], tiny_run, *EXACT, *steps), processes=2))
    assert said.count("stream-fused.safetensors written") == 1 and "2 processes" in said  # one writer
    finish(start(arguments(streets, runs["parts"], tiny_run, *EXACT, *steps, "--accumulate", "2")))
    reference, records = weights(runs["one"]), log(runs["one"])
    for name in ("two", "parts"):
        found = weights(runs[name])
        difference = largest_difference(reference, found)
        strict = largest_difference(without_key_biases(reference), without_key_biases(found))
        print(f"{name}: largest difference of weights {difference:.1e}, without key biases {strict:.1e}")
        assert strict < 1e-6  # everything that has a gradient
        assert difference < 2 * 4 * 1e-4  # as far as four steps of Adam can carry two roundings apart
        for ours, theirs in zip(log(runs[name]), records, strict=True):
            assert ours["step"] == theirs["step"]
            if "loss" in ours:
                assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
                for term, value in theirs["terms"].items():
                    assert ours["terms"][term] == pytest.approx(value, rel=1e-4, abs=2e-5)
            else:
                name_of_set = "camvid:streets/val"
                assert ours["evaluation"][name_of_set]["miou"] == pytest.approx(
                    theirs["evaluation"][name_of_set]["miou"], abs=0.5
                )


def test_gradients_of_uneven_halves_add_up_globally_but_not_by_rank():
    """One half has three classes, the other one: only global norms give the gradient of the whole."""
    generator = torch.Generator().manual_seed(0)
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[0, :10], labels[0, 10:20] = 10, 13
    whole = make_targets(labels, [CITYSCAPES] * 2)
    classes = torch.randn(2, 19, 20, generator=generator, requires_grad=True)
    masks = torch.randn(2, 19, 8, 8, generator=generator, requires_grad=True)

    class Two(Processes):
        count = 2

        def total(self, values):
            return sum(torch.tensor(t) for t in numbers)

    halves = [whole.part(0, 1), whole.part(1, 2)]
    numbers = [(float(h.weights.sum()), float(len(h.matched)), float(h.labels.numel())) for h in halves]

    def gradient(parts: list, norm: str | None) -> torch.Tensor:
        total = 0
        for row, part in enumerate(parts):
            at = slice(None) if norm is None else slice(row, row + 1)
            own = None if norm is None else Normalisers.over(part, Two(), norm, "cpu")
            terms = compute_losses([classes[at]], [masks[at]], None, part, generator=torch.Generator(), norm=own)
            total = total + terms["decode.loss_cls"] / len(parts)  # the mean over processes
        return torch.autograd.grad(total, classes)[0]

    expected = gradient([whole], None)
    torch.testing.assert_close(gradient(halves, "global"), expected)
    assert (gradient(halves, "rank") - expected).abs().max() > 0.01 * expected.abs().max()
    with pytest.raises(ValueError, match="choose one of global, rank"):
        Normalisers.over(whole, Processes(), "local", "cpu")


@pytest.mark.parametrize("moment", [pytest.param(2, marks=pytest.mark.slow), 5])
def test_a_killed_run_continues_to_the_same_weights(tmp_path, streets, tiny_run, moment):
    """Dropout, random points, augmentation and averaging on; the process is killed, not asked to stop."""
    steps = ["--streams", "fused", "--iterations", "8", "--save-every", "2", "--log-every", "1", "--points", "64"]
    steps += ["--weather", "0.5", "--ema", "0.9", "--workers", "1"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(start(arguments(streets, whole, tiny_run, *steps)))
    process = start(arguments(streets, broken, tiny_run, *steps))
    wait_for_lines(process, broken / "stream-fused.jsonl", moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (broken / "report.html").exists()
    finish(start(arguments(streets, broken, tiny_run, *steps, "--resume")))
    one, two = weights(whole), weights(broken)
    assert all(torch.equal(one[name], two[name]) for name in one)
    kept = [record["step"] for record in log(broken) if "loss" in record]
    assert kept == list(range(1, 9))  # nothing twice, nothing lost
    assert (broken / "report.html").exists()


def test_a_signal_to_all_processes_ends_a_run_saved(tmp_path, streets, tiny_run):
    """As job schedulers and Ctrl-C send it: the loading processes must not die before the run has saved."""
    out = tmp_path / "out"
    steps = ["--streams", "fused", "--iterations", "400", "--log-every", "1", "--points", "64", "--workers", "2"]
    process = start(arguments(streets, out, tiny_run, *steps))
    wait_for_lines(process, out / "stream-fused.jsonl", 2)
    os.killpg(process.pid, signal.SIGTERM)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "Stopped and saved" in output and "Traceback" not in output
    done = torch.load(out / "stream-fused.state.pt", weights_only=True)["step"]
    assert 2 <= done < 400 and tensors_module.load(out / "stream-fused.safetensors")[1]["step"] == str(done)


def test_a_single_process_needs_no_group():
    with open_processes() as processes:
        assert processes.writer and processes.count == 1 and list(processes.share(3)) == [0, 1, 2]
        assert processes.gather("x") == ["x"] and processes.any(True) is True
