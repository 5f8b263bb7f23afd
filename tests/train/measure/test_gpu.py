"""The GPU's checks and timings, run on a CPU over tiny models: that they compare, count and write what they say."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from mfuser import presets
from mfuser.fusion import mvfuser
from mfuser.fusion.mvfuser import MVFuser
from train.__main__ import main
from train.measure import parity
from train.measure.gpu import adapters, inference, kernels, step
from train.measure.gpu import command as command_module
from train.measure.gpu.timing import ceilings, float32_mode, median_ms, peak_gb

CPU = torch.device("cpu")
SMALL = ["--device", "cpu", "--presets", "tiny", "--size", "64", "--batches", "1", "2", "--product", "64"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tiny_preset):
    monkeypatch.setitem(presets.PRESETS, tiny_preset.name, tiny_preset)


def report(folder: Path, part: str) -> dict:
    text = (folder / f"gpu-{part}.md").read_text()
    assert "* torch: " in text and "| " in text
    return json.loads((folder / f"gpu-{part}.json").read_text())["tables"]


def test_inference_and_profile_are_reported(tmp_path: Path, capsys):
    command = ["gpu", "--out", str(tmp_path), *SMALL, "--part", "inference", "profile"]
    assert main([*command, "--precision", "float32", "bf16"]) == 0
    (rows,) = report(tmp_path, "inference").values()
    assert [(r["precision"], r["batch"]) for r in rows] == [("float32", 1), ("float32", 2), ("bf16", 1), ("bf16", 2)]
    for row in rows:  # both are rounded: milliseconds to 0.01, images to 0.1
        exact, rounding = 1000 * row["batch"] / row["ms"], 0.051 + row["images/s"] * 0.0051 / row["ms"]
        assert row["ms"] > 0 and math.isclose(row["images/s"], exact, abs_tol=rounding)
    assert rows[0]["times float32"] == 1.0
    parts, operators = report(tmp_path, "profile").values()
    assert {"VFM", "VLM", "adapters", "pyramid", "rest"} <= {r["part"] for r in parts} and len(operators) > 5
    assert "TFLOP/s" in capsys.readouterr().out


def test_kernels_and_adapters_are_reported(tmp_path: Path):
    command = ["gpu", "--out", str(tmp_path), "--device", "cpu", "--part", "kernels", "adapters", "--tokens", "1024"]
    assert main(command) == 0
    agreement, convolutions, scans, steps, folded = report(tmp_path, "kernels").values()
    assert {r["step"] for r in steps} == {"rotate", "gated_norm", "conv_silu", "gated_rms", "sample"}
    assert not any(r["used"] for r in steps) and all(r["holds"] for r in folded)
    assert all(r["holds"] for r in agreement if r["precision"] == "float32") and all(r["holds"] for r in convolutions)
    assert {r["scan"] for r in scans} == {"chunked"} and all(r["ms with gradients"] > r["ms"] > 0 for r in scans)
    (rows,) = report(tmp_path, "adapters").values()
    assert [(r["adapter"], r["precision"]) for r in rows if "mvfuser" in r["adapter"]] == [
        ("mvfuser", "float32"), ("mvfuser", "bf16"), ("mvfuser, for inference", "bf16"),
    ]  # fmt: skip
    assert {(r["adapter"], r["precision"]) for r in rows} >= {
        (a, p) for a in adapters.PAPER for p in ("float32", "bf16")
    }


def test_an_adapter_for_inference_is_that_of_a_segmenter_on_cuda():
    adapter = kernels.ordinary(64)
    tokens = torch.randn(1, 40, 64)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = adapter(tokens.bfloat16())
        adapters.for_inference(adapter, CPU)
        vfm, vlm = adapter.folded(tokens.bfloat16().split((18, 22), dim=1))
    assert adapter.scale is None and adapter.out_proj.weight.dtype == torch.bfloat16
    assert adapter.A_log.dtype == adapter.conv1d_x.weight.dtype == torch.float32 and vfm.dtype == torch.bfloat16
    assert kernels.error(torch.cat([vfm, vlm], dim=1).float(), expected.float()) < 2e-2


def test_a_part_that_is_left_out_is_told(tmp_path: Path, monkeypatch, capsys):
    done: list[list[str]] = []
    monkeypatch.setattr(command_module, "run", lambda args, folder: done.append(args.part))
    assert main(["gpu", "--out", str(tmp_path)]) == 0 and "reference" not in done[0]
    assert "part reference is left out: it needs --reference DIR" in capsys.readouterr().out
    assert main(["gpu", "--out", str(tmp_path), "--reference", str(tmp_path)]) == 0 and "reference" in done[1]
    assert capsys.readouterr().out == ""


def test_agreement_sees_a_shifted_convolution(monkeypatch):
    """A causal kernel whose output is not shifted back would be wrong by one token."""
    right = kernels.agreement(CPU, [(64, 33, 2)])
    through = kernels.both_ways

    def wrong(module: MVFuser, tokens, upstream, precision="float32"):
        if mvfuser.selective_scan.keywords["kernel"] == "chunked":  # the one under test
            tokens = tokens.roll(1, dims=1)
        return through(module, tokens, upstream, precision)

    monkeypatch.setattr(kernels, "both_ways", wrong)
    assert all(r["holds"] for r in right if r["precision"] == "float32")
    assert not any(r["holds"] for r in kernels.agreement(CPU, [(64, 33, 2)]))


def test_flops_of_a_forward_pass_grow_with_the_crop(tiny_preset):
    model = inference.random_model(tiny_preset.name, CPU)
    with torch.no_grad():
        small, large = (inference.forward_flops(model, size, CPU) for size in (64, 128))
    assert 3 < large / small < 6


def test_a_step_of_the_engine_is_measured(tmp_path: Path):
    command = ["gpu", "--out", str(tmp_path), *SMALL, "--part", "step"]
    assert main(command) == 0
    (rows,) = report(tmp_path, "step").values()
    assert [(r["precision"], r["checkpointing"]) for r in rows] == [
        ("float32", False), ("float32", True), ("bf16", False), ("bf16", True),
    ]  # fmt: skip
    assert all(r["batch"] == 2 and r["ms"] > 0 and math.isfinite(r["loss"]) for r in rows)
    assert rows[1]["TFLOP"] >= rows[0]["TFLOP"]


def test_processes_are_run_as_the_command_line_runs_them(tmp_path: Path, monkeypatch):
    seen = []

    def run(command: list[str], **options):
        seen.append(command)
        assert command[command.index("--warmup") + 1] == "0", "a recipe's own is longer than these runs"
        folder = Path(command[command.index("--out") + 1])
        folder.mkdir(parents=True)
        lines = [{"step": 2, "images_per_s": 1.0, "waiting": 0.5, "loss": 3.0}]
        lines += [{"step": 6, "images_per_s": 4.0, "waiting": 0.1, "loss": 2.0}, {"step": 6, "evaluation": {}}]
        (folder / "stream-fused.jsonl").write_text("\n".join(map(json.dumps, lines)))
        return step.subprocess.CompletedProcess(command, 1 if "4" in command[-8:] else 0, "", "it broke")

    monkeypatch.setattr(step.subprocess, "run", run)
    rows = step.processes("tiny", tmp_path / "made", tmp_path, [1, 2], [1, 2], 6)
    assert [(r["processes"], r["batch"]) for r in rows] == [(1, 1), (1, 2), (2, 2)]  # one image is not for two
    assert rows[2]["images/s"] == 4.0 and rows[2]["ms per step"] == 500.0 and "torch.distributed.run" in seen[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--presets", "huge"], "Unknown preset 'huge'"),
        (["--part", "reference"], "needs --reference DIR"),
        (["--part", "kernels", "--device", "cuda:99"], "cannot be used here"),
        (["--size", "0"], "--size must be at least 1"),
        (["--part", "reference", "--reference", "nowhere"], "does not hold the stored values"),
    ],
)
def test_bad_arguments_end_with_one_sentence(tmp_path: Path, capsys, arguments: list[str], message: str):
    assert main(["gpu", "--out", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_timing_pieces():
    assert median_ms(lambda: torch.randn(10), CPU, 0.01) > 0
    with peak_gb(CPU) as memory:
        pass
    assert memory == {"peak": 0.0, "before": 0.0}
    before = torch.backends.cuda.matmul.allow_tf32
    with float32_mode("tf32"):
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32 == before
    assert set(ceilings(CPU, 32)) == {"float32", "tf32", "bf16"}


def test_a_fixture_needs_its_recipe(tmp_path: Path):
    with pytest.raises(ValueError, match="does not hold the stored values"):
        parity.build(tmp_path)
