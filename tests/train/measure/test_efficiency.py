"""Table 3: sizes and arithmetic beside the paper's, and what the command writes."""

from __future__ import annotations

import pytest

from mfuser.fusion.alternatives import ADAPTERS
from train.measure import efficiency


@pytest.mark.parametrize("kind", ["mvfuser", "self-attention", "separate-attention"])
def test_arithmetic_follows_the_structure(kind: str):
    """Width 64, 2 x 10 tokens, batch 3: products by hand."""
    _, flops, scan = efficiency.count(kind, batch=3, width=64, grid=(3, 3))
    products = 20 * 4 * 64**2  # four projections
    if kind == "mvfuser":  # in, x, dt, out projections and two 3-tap convolutions of 32 channels
        products = 20 * (64 * 64 + 32 * (4 + 32) + 4 * 32 + 32 * 64 + 2 * 3 * 32)
    attention = {"self-attention": 2 * 20**2 * 64, "separate-attention": 2 * 2 * 10**2 * 64}.get(kind, 0)
    assert flops == 3 * 2 * (products + attention)
    assert scan == (3 * 20 * 32 * (7 * 16 + 3) if kind == "mvfuser" else 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mvfuser", "self-attention", "separate-attention"])
def test_the_papers_figures_within_one_percent(kind: str):
    row = efficiency.arithmetic(kind)
    assert row["params M"] == pytest.approx(row["paper M"], rel=0.01)
    assert row["GFLOPs"] == pytest.approx(row["paper G"], rel=0.01)


def test_separate_costs_no_more_than_shared():
    shared, separate = (efficiency.count(k, 1, 64, (3, 3)) for k in ("mvfuser", "separate"))
    assert separate == (2 * shared[0], *shared[1:])


def test_measurement_in_a_process_of_its_own():
    row = efficiency.in_new_process("mvfuser", 1024)
    assert row["tokens"] == 1024 and row["ms"] > 0 and 4 <= row["MB"] < 200  # 4 MB of offsets and what leads there


def test_command_writes_tables_and_plot(tmp_path, monkeypatch, capsys):
    small = {"adapter": "mvfuser", "ms per 1000 tokens": 1.0, "MB": 3}
    monkeypatch.setattr(efficiency, "in_new_process", lambda kind, tokens: {**small, "tokens": tokens, "ms": 2.0})
    monkeypatch.setattr(efficiency, "arithmetic", lambda kind: {"adapter": kind, "GFLOPs": 1.0, "paper G": None})
    efficiency.main(["--out", str(tmp_path), "--kinds", "mvfuser", "--tokens", "1024", "2048"])
    assert {p.name for p in tmp_path.iterdir()} == {
        "efficiency.md", "efficiency-sizes.csv", "efficiency-times.csv", "efficiency.png",
    }  # fmt: skip
    text = (tmp_path / "efficiency.md").read_text()
    assert all(f"| {kind} " in text for kind in ADAPTERS) and "| 2048 " in text
    assert (tmp_path / "efficiency.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "efficiency-times.csv").read_text().splitlines()[0].startswith("adapter,")
