"""Fitting the temperature of the confidence: on scores whose temperature is known, and through the command line."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mfuser.weights import files as files_module
from mfuser.weights import tensors as tensors_module
from train.__main__ import main
from train.data import CITYSCAPES, LabelGroups, open_dataset
from train.data.groups import COMMON_SPACE
from train.score import calibration
from train.score.calibration import calibration_error, fit_temperature, negative_log_likelihood, shown_confidence


def draw(count: int, temperature: float, groups: LabelGroups) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores S whose S^(1/T) are the true odds of the classes, and labels drawn from those."""
    generator = torch.Generator().manual_seed(0)
    logits = 1.5 * torch.randn(count, 19, generator=generator)
    classes = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    scores = (logits * temperature).softmax(1)
    return scores, torch.from_numpy(groups.table()).long()[classes]


@pytest.mark.parametrize("groups", [CITYSCAPES, COMMON_SPACE], ids=["classes", "groups"])
@pytest.mark.parametrize("true", [0.5, 1.0, 2.0])
def test_the_true_temperature_is_found(groups, true):
    scores, labels = draw(20_000, true, groups)
    assert fit_temperature(scores, labels, groups) == pytest.approx(true, rel=0.04)


def test_an_over_confident_model_is_calibrated():
    scores, labels = draw(20_000, 2.0, CITYSCAPES)
    before, after = (
        calibration_error(*shown_confidence(scores, labels, CITYSCAPES, t))
        for t in (1.0, fit_temperature(scores, labels, CITYSCAPES))
    )
    assert before > 0.15 and after < 0.02
    confidence, correct = shown_confidence(scores, labels, CITYSCAPES, 1.0)
    assert confidence.mean() > correct.float().mean() + 0.15


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_likelihood_and_confidence_are_those_of_a_plain_loop(temperature):
    groups = LabelGroups(("road", "vehicle"), ((0,), (13, 14, 15)), (0, 13))
    scores = torch.rand(50, 19, generator=torch.Generator().manual_seed(1)) * 3
    scores[:, 5] = 100.0  # a class in no group takes no part
    scores[0] = 0.0
    labels = torch.arange(50) % 2
    total, shown = 0.0, []
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        tempered = {k: max(row[k], 1e-8) ** (1 / temperature) for k in (0, 13, 14, 15)}
        own = sum(tempered[k] for k in groups.members[label])
        total -= np.log(own / sum(tempered.values()))
        best = max(tempered, key=tempered.get)
        shown.append((tempered[best] / sum(tempered.values()), best in groups.members[label]))
    assert negative_log_likelihood(scores, labels, groups, temperature) == pytest.approx(total / 50, rel=1e-5)
    confidence, correct = shown_confidence(scores, labels, groups, temperature)
    assert confidence.tolist() == pytest.approx([c for c, _ in shown], rel=1e-5)
    assert correct.tolist() == [right for _, right in shown]


def test_calibration_error_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(400).astype(np.float32), rng.random(400) < 0.6
    confidence[:3] = 0.0, 1.0, 0.2
    expected = 0.0
    for b in range(15):
        inside = (confidence >= b / 15) & ((confidence < (b + 1) / 15) | (b == 14))
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    found = calibration_error(torch.from_numpy(confidence), torch.from_numpy(correct))
    assert found == pytest.approx(expected, abs=1e-6) and found > 0.1


def test_photographs_are_distorted_alike_every_time(streets, tiny_preset):
    dataset = open_dataset(f"camvid:{streets}", "train")
    first, again, other = (calibration.DistortedItems(dataset, tiny_preset, 0.5, seed) for seed in (0, 0, 1))
    plain = calibration.DistortedItems(dataset, tiny_preset, 0.0, 0)
    pairs = [(first[i], again[i], other[i], plain[i]) for i in range(len(dataset))]
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b, _, _ in pairs)
    assert not all(torch.equal(a[0], c[0]) for a, _, c, _ in pairs)
    assert not all(torch.equal(a[0], d[0]) for a, _, _, d in pairs), "weather was drawn"
    assert pairs[0][0][0].shape == (3, 64, 96) and pairs[0][0][1].shape == (48, 64)


def test_cells_meet_the_labels_in_their_middle(streets, seeing, monkeypatch):
    dataset = open_dataset(f"camvid:{streets}", "train")
    monkeypatch.setattr(calibration, "CELLS", 100)
    hardware = calibration.choose_hardware("cpu", "float32", 0)
    scores, labels = calibration.score_cells(seeing, ("vlm", "fused"), dataset, hardware, 0.0, colours=False)
    again, _ = calibration.score_cells(seeing, ("vlm",), dataset, hardware, 0.0, colours=False)
    assert scores["vlm"].shape == (600, 19) and torch.equal(scores["vlm"], again["vlm"]), "the same cells each time"
    sky, road, car = (dataset.groups.names.index(n) for n in ("sky", "road", "vehicle"))
    assert set(labels.tolist()) == {sky, road, car}
    for stream, label, cls in (("vlm", sky, 10), ("vlm", road, 0), ("vlm", car, 15), ("fused", car, 13)):
        assert (scores[stream][labels == label].argmax(1) == cls).float().mean() > 0.85


@pytest.fixture
def calibrated(streets, tiny_run, tiny_model, capsys):
    """Runs the command on two streams and returns what it printed."""
    for stream in ("vfm", "vlm", "fused"):
        made = {"stream": stream, "step": "7"}
        path = tiny_run / f"stream-{stream}.safetensors"
        tensors_module.save(path, tiny_model.state_for(stream), made, half=stream == "fused")

    def run() -> str:
        arguments = ["--data", f"camvid:{streets}/train", "--weights", str(tiny_run), "--preset", "tiny"]
        assert main(["calibrate", *arguments, "--streams", "vlm", "fused", "--device", "cpu", "--workers", "0"]) == 0
        return capsys.readouterr().out

    return run


def test_command_changes_the_temperature_and_nothing_else(calibrated, tiny_run):
    files = {path.name: path.read_bytes() for path in tiny_run.iterdir()}
    tensors = {s: load_file(tiny_run / f"stream-{s}.safetensors") for s in ("vlm", "fused")}
    lines = calibrated().splitlines()
    assert len(lines) == 2 and sorted(p.name for p in tiny_run.iterdir()) == sorted(files)
    changed = {name for name, data in files.items() if (tiny_run / name).read_bytes() != data}
    assert changed == {"stream-vlm.safetensors", "stream-fused.safetensors"}
    for stream, line in zip(("vlm", "fused"), lines, strict=True):
        path = tiny_run / f"stream-{stream}.safetensors"
        metadata, after = files_module.load_metadata(path), load_file(path)
        fitted = float(metadata.pop("temperature"))
        assert metadata == {"stream": stream, "step": "7"}
        assert all(torch.equal(after[k], t) and after[k].dtype == t.dtype for k, t in tensors[stream].items())
        line_parts = re.fullmatch(
            rf"{stream}: T 1.000, .*NLL ([\d.]+) -> T ([\d.]+), ECE [\d.]+ %, NLL ([\d.]+) .*", line
        )
        assert float(line_parts[2]) == pytest.approx(fitted, abs=1e-3) and float(line_parts[3]) <= float(line_parts[1])
    again = calibrated().splitlines()
    for first, second in zip(lines, again, strict=True):
        line_parts = re.search(r"-> (T [\d.]+), (ECE.*)", first)
        assert second.split(": ")[1].startswith(line_parts[1]), "the stored temperature is where the next run starts"
        assert re.search(r"-> .*", second)[0] == re.search(r"-> .*", first)[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No data to calibrate on"),
        (["--data", "camvid:DATA"], "No weights to calibrate: pass --weights"),
        (["--data", "camvid:DATA", "--weights", "RUN", "--weather", "2"], "--weather must lie between 0 and 1"),
        (["--data", "camvid:DATA", "--weights", "RUN", "--preset", "mega"], "Unknown preset 'mega'"),
        (["--data", "camvid:DATA", "--weights", "RUN", "--preset", "tiny"], "No weights at"),
        (["--data", "camvid:/nowhere", "--weights", "RUN", "--preset", "tiny"], "No weights at"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, streets, tiny_run, capsys):
    named = {"RUN": str(tiny_run), "camvid:DATA": f"camvid:{streets}"}
    assert main(["calibrate", *(named.get(a, a) for a in arguments)]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1


def test_unlabelled_pixels_only_are_refused(streets, seeing, monkeypatch):
    dataset = open_dataset(f"camvid:{streets}", "train")
    monkeypatch.setattr(dataset, "_labels", [np.full((48, 64), 255, np.uint8)] * len(dataset))
    with pytest.raises(ValueError, match="No pixel of camvid:streets/train is labelled"):
        calibration.score_cells(seeing, ("vlm",), dataset, calibration.choose_hardware("cpu", "float32", 0))
