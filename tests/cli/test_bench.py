"""`bench`: what it measures on a tiny model, what it prints, and mistakes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from mfuser import presets
from mfuser.cli import bench, benchmark, main
from mfuser.cli.benchmark import measure_model, random_model
from mfuser.fusion.scan_kernels import compiled
from mfuser.inference.segmenter import Segmenter


@pytest.fixture
def here(monkeypatch, tiny_preset):
    """Measurements in this process, small and few."""
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny_preset)
    monkeypatch.setattr(benchmark, "apart", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(benchmark, "PRODUCT", (16, 16, 16))
    monkeypatch.setattr(benchmark, "ADAPTER", {"length": 20, "dim": 16, "state": 4})


def test_prints_every_part_and_the_same_as_json(here, capsys):
    arguments = ["bench", "--preset", "tiny", "--random", "--size", "64", "--runs", "1", "--threads", "1"]
    assert main([*arguments, "--profile"]) == 0
    text = capsys.readouterr().out
    for part in ("product 16x16x16", "bfloat16", "compiled", "x the bound", "peak memory", "pixel decoder", "aten::"):
        assert part in text
    assert main([*arguments, "--json", "--precision", "float32"]) == 0
    facts = json.loads(capsys.readouterr().out)
    (model,) = facts["models"]
    assert model["ratio"] == pytest.approx(model["ms"] / model["bound_ms"]) and model["gflop"] > 0
    assert {k["kernel"] for k in facts["scans"]["kernels"]} == {"reference", "chunked", "compiled"}
    assert model["executed_ratio"] == pytest.approx(model["ms"] * model["gflops"] / model["executed_gflop"] / 1e3)
    assert model["executed_ratio"] > model["ratio"] and model["executed_gflop"] < model["gflop"]
    assert all(k["error"] < 1e-5 for k in facts["scans"]["kernels"])


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_random_models_run(here, precision: str):
    model = random_model("tiny", precision)
    assert not any(t.is_meta for t in [*model.parameters(), *model.buffers()])
    assert model.heads["fused"].query_decoder.mask_embed[0].weight.dtype == (
        torch.bfloat16 if precision == "bf16" else torch.float32
    )
    scales = [p for n, p in model.named_parameters() if n.rsplit(".", 1)[-1] in ("scale", "gamma")]
    assert scales and all((p != 0).all() for p in scales), "every branch adds something"
    output = Segmenter(model, "cpu", precision).forward(torch.rand(1, 3, 64, 64) * 255)
    assert output.semantic().isfinite().all()


def test_counted_flops_are_those_of_the_layers_as_published(here):
    found = measure_model("tiny", "float32", 64, 1, True, 1, False)
    model = random_model("tiny", "float32").requires_grad_(False)
    with torch.no_grad():
        model(torch.rand(1, 3, 64, 64))  # class texts are computed once, and not counted
    with torch.enable_grad():  # every layer on its own
        published = benchmark.count_flops(lambda: model(torch.rand(1, 3, 64, 64)))
    assert round(found["gflop"] * 1e9) == published
    model.for_inference()
    with torch.enable_grad():
        executed = benchmark.count_flops(lambda: model(torch.rand(1, 3, 64, 64)))
    assert round(found["executed_gflop"] * 1e9) == executed < published


@pytest.mark.parametrize("hits", [0, 1])
def test_a_scan_that_is_compiled_is_told_from_one_that_is_read(here, monkeypatch, hits: int):
    stats = SimpleNamespace(cache_hits={"signature": hits})
    function = compiled.function()
    monkeypatch.setattr(compiled, "_function", lambda: Told(function, stats))
    facts = benchmark.measure_scans(1)
    assert facts["from_cache"] is bool(hits)
    line = bench.scan_lines(facts)[-1]
    assert ("read what was compiled before" in line) == bool(hits) and ("numba and compile" in line) == (not hits)


class Told:
    """A compiled function with other statistics."""

    def __init__(self, function, stats):
        self.function, self.stats = function, stats

    def __call__(self, *arguments):
        return self.function(*arguments)


def test_missing_weights_are_told_before_anything_is_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MFUSER_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(benchmark, "apart", lambda *a: pytest.fail("something was measured"))
    assert main(["bench", "--preset", "dinov2-l+eva02-clip-l"]) == 2
    err = capsys.readouterr().err
    assert "missing in dinov2-l+eva02-clip-l/: " in err and "run `python -m mfuser import-official " in err
    assert err.endswith("(--random runs it with random weights.)\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--preset", "absent"], "Unknown preset 'absent'"),
        (["--precision", "fp8"], "choose from float32, bf16"),
        (["--runs", "0"], "--runs must be at least 1"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str, capsys):
    try:
        code = main(["bench", *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and sentence in capsys.readouterr().err
