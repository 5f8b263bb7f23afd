"""The full-size EVA02-CLIP model against every stored value of the released code: run with -m slow -s for the tables.

The stored values hold at their marks on torch's own operators (`exact.plain_torch`). A CPU's fast path sums in another
order, which 24 random blocks amplify beyond some marks, so it is compared with the exact path.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mfuser.ops import exact
from tests.train.fit.tiny import GridPoints, ReleasedPoints
from train.fit.point_sampling import PointSampling
from train.measure import parity

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
FAST = 3  # how many times the marks the fast path may be away from the exact one


@pytest.fixture(scope="module")
def model(reference_folder: Path):
    """Built from the recipe's weights as from a checkpoint."""
    return parity.build(reference_folder)


@pytest.fixture(scope="module")
def run(model, reference_folder: Path):
    """One forward pass by torch's operators: the output, and what every stage gave, by the names of eva_stats.json."""
    with exact.plain_torch():
        return parity.run(model, reference_folder)


@pytest.fixture(scope="module")
def fast(model, reference_folder: Path):
    """The same as it runs on a CPU for users."""
    return parity.run(model, reference_folder)


def show(title: str, rows: list[dict[str, str]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    print("\n".join("| " + " | ".join(row.values()) + " |" for row in rows))


def test_every_stage_agrees(run, reference_folder: Path):
    table = list(parity.rows(reference_folder, run[1]))
    show("Exact path", parity.grouped(table, parity.excerpts(reference_folder, run[1])))
    stored = json.loads((reference_folder / "eva_stats.json").read_text())
    assert len(table) == len(stored) - 1  # the argmax has a test of its own
    first = next((row for row in table if row[1] > row[2] or row[3] > row[4]), None)
    assert first is None, f"the first stage that differs is {first}"


def test_whole_tensors_agree(run, reference_folder: Path):
    """99 % of the values keep the mark of their stage, and all of them ten times it: single positions of the last
    blocks amplify rounding."""
    failed = [row for row in parity.excerpts(reference_folder, run[1]) if row[1] > row[3] or row[2] > 10 * row[3]]
    assert not failed, failed


def test_the_fast_path_agrees_with_the_exact_one(run, fast, reference_folder: Path):
    """99 % of the values of every stage, and its deviation, within FAST times the marks."""
    stored = list(parity.rows(reference_folder, fast[1]))
    show("Fast path", parity.grouped(stored, parity.excerpts(reference_folder, fast[1])))
    over = [row[0] for row in stored if row[1] > row[2] or row[3] > row[4]]
    print(f"\nfast path, over the marks of the stored values: {', '.join(over) or 'no stage'}")
    table = list(parity.differences(fast[1], run[1]))
    show("Fast path against exact path", parity.grouped(table, []))
    failed = [row for row in table if row[1] > FAST * row[2] or row[3] > FAST * row[4]]
    assert not failed, failed


def test_token_ids_are_the_released_ones(model, reference_folder: Path):
    with np.load(reference_folder / "eva_text_score.npz") as stored:
        assert np.array_equal(model.class_ids.numpy(), stored["tokens"])


@pytest.mark.parametrize("path", ["exact", "fast"])
def test_the_mask_differs_in_ties_alone(path: str, run, fast, reference_folder: Path):
    """Two pixels at most, where two classes are equal up to rounding (their scores differ by less than 1e-5)."""
    margins = parity.mask_margins(reference_folder, (run if path == "exact" else fast)[1])
    print(f"\n{path} path, mask: {len(margins)} of {512 * 512} pixels differ, margins {margins}")
    assert len(margins) <= 2 and all(m < 1e-5 for m in margins)


@pytest.mark.parametrize("path", ["exact", "fast"])
@pytest.mark.parametrize(("kind", "points", "mark"), [("grid112", GridPoints, 1e-4), ("seed0", ReleasedPoints, 1e-3)])
def test_the_31_losses_agree(
    model, run, fast, reference_folder: Path, path: str, kind: str, points: type[PointSampling], mark: float
):
    from train.data import CITYSCAPES
    from train.data.targets import make_targets
    from train.fit.losses import LossWeights, compute_losses

    want = json.loads((reference_folder / "eva_losses.json").read_text())[kind]
    label = np.array(Image.open(reference_folder / "label_512.png"))[None]
    output = (run if path == "exact" else fast)[0]
    torch.manual_seed(0)
    with torch.inference_mode():
        got = compute_losses(
            output.class_logits,
            output.mask_logits,
            model.alignment_logits(output.score_map),
            make_targets(label, [CITYSCAPES]),
            LossWeights(sampling=points()),
        )
    terms = {name: value for name, value in want.items() if "loss" in name}
    assert len(terms) == 31 and got.keys() == terms.keys()
    worst = max((abs(got[n].item() / v - 1), n) for n, v in terms.items())
    print(f"\n{path} path, losses {kind}: largest relative difference {worst[0]:.1e} ({worst[1]}), mark {mark:.0e}")
    assert worst[0] < mark


def test_prepared_for_inference_the_mask_differs_in_ties_alone(model, run, fast, reference_folder: Path):
    """What `mfuser.load("iter_20000.pth")` runs. The last test: the model is another one afterwards."""
    _, stages = parity.run(model.for_inference(), reference_folder)
    margins = parity.mask_margins(reference_folder, stages)
    error = (stages["sem_512"] - run[1]["sem_512"]).norm() / run[1]["sem_512"].norm()
    print(f"\nprepared for inference, mask: {len(margins)} of {512 * 512} pixels differ, scores by {error:.1e}")
    assert len(margins) <= 2 and all(m < 1e-5 for m in margins) and error < 1e-4
