"""The full-size EVA02-CLIP model against every stored value of the released code: run with -m slow -s for the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from train.gpu import fixture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def model(reference_folder: Path):
    """Built from the recipe's weights as from a checkpoint."""
    return fixture.build(reference_folder)


@pytest.fixture(scope="module")
def run(model, reference_folder: Path):
    """One forward pass: the output, and what every stage gave, by the names of eva_stats.json."""
    return fixture.run(model, reference_folder)


def test_every_stage_agrees(run, reference_folder: Path):
    table = list(fixture.rows(reference_folder, run[1]))
    print(f"\n{'stage':24}{'single / std':>14}{'mark':>9}{'deviation':>12}{'mark':>9}")
    for stage, single, mark, deviation, other in table:
        print(f"{stage:24}{single:14.1e}{mark:9.0e}{deviation:12.1e}{other:9.0e}")
    stored = json.loads((reference_folder / "eva_stats.json").read_text())
    assert len(table) == len(stored) - 1  # the argmax has a test of its own
    first = next((row for row in table if row[1] > row[2] or row[3] > row[4]), None)
    assert first is None, f"the first stage that differs is {first}"


def test_whole_tensors_agree(run, reference_folder: Path):
    """99 % of the values keep the mark of their stage, and all of them ten times it: single positions of the last
    blocks amplify rounding."""
    failed = []
    print(f"\n{'values':28}{'99 % / std':>14}{'max / std':>14}{'mark':>9}")
    for key, most, worst, mark in fixture.excerpts(reference_folder, run[1]):
        print(f"{key:28}{most:14.1e}{worst:14.1e}{mark:9.0e}")
        failed += [(key, most, worst, mark)] if most > mark or worst > 10 * mark else []
    assert not failed, failed


def test_token_ids_are_the_released_ones(model, reference_folder: Path):
    with np.load(reference_folder / "eva_text_score.npz") as stored:
        assert np.array_equal(model.class_ids.numpy(), stored["tokens"])


def test_the_mask_is_identical(run, reference_folder: Path):
    """Identical but where two classes are equal up to rounding (the stored scores differ by less than 1e-5)."""
    margins = fixture.mask_margins(reference_folder, run[1])
    print(f"\nmask: {len(margins)} of {512 * 512} pixels differ, margins {margins}")
    assert len(margins) <= 2 and all(m < 1e-5 for m in margins)


@pytest.mark.parametrize(("kind", "sampling", "mark"), [("grid112", "grid", 1e-4), ("seed0", "released", 1e-3)])
def test_the_31_losses_agree(model, run, reference_folder: Path, kind: str, sampling: str, mark: float):
    from train.data import CITYSCAPES
    from train.losses import LossWeights, compute_losses
    from train.points import PointSampling
    from train.targets import make_targets

    want = json.loads((reference_folder / "eva_losses.json").read_text())[kind]
    label = np.array(Image.open(reference_folder / "label_512.png"))[None]
    output = run[0]
    torch.manual_seed(0)
    with torch.inference_mode():
        got = compute_losses(
            output.class_logits,
            output.mask_logits,
            model.alignment_logits(output.score_map),
            make_targets(label, [CITYSCAPES]),
            LossWeights(sampling=PointSampling(kind=sampling)),
        )
    terms = {name: value for name, value in want.items() if "loss" in name}
    assert len(terms) == 31 and got.keys() == terms.keys()
    worst = max((abs(got[n].item() / v - 1), n) for n, v in terms.items())
    print(f"\nlosses {kind}: largest relative difference {worst[0]:.1e} ({worst[1]}), mark {mark:.0e}")
    assert worst[0] < mark
