"""Loss terms against loops that follow the released code, against its stored values, and the rules for groups."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tests.train.fit.tiny import GridPoints, ReleasedPoints
from train.data import CITYSCAPES, LabelGroups
from train.data.groups import COMMON_SPACE, IDD_SPACE
from train.data.targets import make_targets
from train.fit.losses import LossWeights, alignment_loss, class_loss, compute_losses, mask_losses
from train.fit.point_sampling import PointSampling, sample

K = 19
GRID = GridPoints(points=196)


def outputs(batch: int = 2, predictions: int = 3, seed: int = 0) -> tuple[list[Tensor], list[Tensor], Tensor]:
    g = torch.Generator().manual_seed(seed)
    classes = [torch.randn(batch, K, K + 1, generator=g) for _ in range(predictions)]
    masks = [3 * torch.randn(batch, K, 12, 16, generator=g) for _ in range(predictions)]
    return classes, masks, 5 * torch.randn(batch, K, 3, 4, generator=g)


def blocks(values: list[int], height: int = 48, width: int = 64) -> np.ndarray:
    """Vertical stripes of label values."""
    return np.repeat(np.array(values, np.uint8), -(-width // len(values)))[:width][None].repeat(height, 0)


def released(classes: list[Tensor], masks: list[Tensor], scores: Tensor, labels: np.ndarray) -> dict[str, Tensor]:
    """Section by section what the released code computes for 19 classes, one query and one mask at a time."""
    label = torch.from_numpy(labels).long()
    side = 14
    centres = [((x + 0.5) / side, (y + 0.5) / side) for y in range(side) for x in range(side)]
    points = torch.tensor(centres)
    terms = {}
    for p, (cls, mask) in enumerate(zip(classes, masks, strict=True)):
        name = "decode." if p == len(classes) - 1 else f"decode.d{p}."
        total, weight_sum, bce, dice, count = 0.0, 0.0, 0.0, 0.0, 0
        for b in range(len(label)):
            present = set(label[b].unique().tolist()) - {255}
            for k in range(K):
                y, w = (k, 1.0) if k in present else (K, 0.1)
                total, weight_sum = total + w * F.cross_entropy(cls[b, k], torch.tensor(y)), weight_sum + w
                if k in present:
                    grid = (points * 2 - 1)[None, None]
                    one = F.grid_sample(mask[b, k][None, None], grid, align_corners=False).flatten()
                    truth = (label[b] == k).float()[None, None]
                    truth = F.grid_sample(truth, grid, align_corners=False).flatten()
                    bce = bce + F.binary_cross_entropy_with_logits(one, truth)
                    s = one.sigmoid()
                    dice = dice + 1 - (2 * (s * truth).sum() + 1) / (s.sum() + truth.sum() + 1)
                    count += 1
        terms[name + "loss_cls"] = 2 * total / weight_sum
        terms[name + "loss_mask"], terms[name + "loss_dice"] = 5 * bce / count, 5 * dice / count
    up = F.interpolate(scores, size=label.shape[-2:], mode="bilinear", align_corners=False)
    terms["scr_map.loss_seg"] = F.cross_entropy(up, label, ignore_index=255, reduction="sum") / label.numel()
    return terms


def test_single_classes_give_the_released_losses():
    classes, masks, scores = outputs()
    labels = np.stack([blocks([0, 8, 10, 255, 13]), blocks([0, 1, 18])])
    got = compute_losses(classes, masks, scores, make_targets(labels, [CITYSCAPES] * 2), LossWeights(sampling=GRID))
    want = released(classes, masks, scores, labels)
    assert got.keys() == want.keys() and len(got) == 3 * 3 + 1
    for name, value in want.items():
        torch.testing.assert_close(got[name], value, rtol=2e-5, atol=0, msg=name)


def test_stored_values_of_the_released_code(reference_folder: Path):
    label = np.array(Image.open(reference_folder / "label_512.png"))[None]
    want = json.loads((reference_folder / "eva_losses.json").read_text())["grid112"]
    targets = make_targets(label, [CITYSCAPES])
    classes = torch.from_numpy(np.load(reference_folder / "eva_decoder.npz")["cls"])[:, None]  # (10, 1, 19, 20)
    score = torch.from_numpy(np.load(reference_folder / "eva_text_score.npz")["score_map"])
    got = 2 * class_loss(classes, targets)
    names = [f"decode.d{p}.loss_cls" for p in range(9)] + ["decode.loss_cls"]
    np.testing.assert_allclose(got.numpy(), [want[name] for name in names], rtol=1e-5)
    np.testing.assert_allclose(alignment_loss(score / 0.07, targets).item(), want["scr_map.loss_seg"], rtol=1e-5)


def test_a_group_is_satisfied_by_any_member():
    labels = blocks([10])[None]  # vehicle only
    targets = make_targets(labels, [COMMON_SPACE])
    logits = torch.full((1, 1, K, K + 1), -50.0)
    logits[..., K] = 50.0
    logits[0, 0, 13, K], logits[0, 0, 13, 14] = -50.0, 50.0  # the car's query says "truck"
    torch.testing.assert_close(class_loss(logits, targets), torch.zeros(1), rtol=0, atol=1e-6)
    logits[0, 0, 13, 14], logits[0, 0, 13, 0] = -50.0, 50.0  # ... says "road"
    assert class_loss(logits, targets).item() > 10
    score = torch.full((1, K, 3, 4), -50.0)
    score[:, 15] = 50.0  # every pixel a bus
    assert alignment_loss(score, targets).item() < 1e-6


def test_what_labels_cannot_name_is_ignored():
    """Members of a present group, and classes in no group, never become negatives."""
    only = LabelGroups(("road", "vehicle"), ((0,), (13, 14, 15)), (0, 13))
    targets = make_targets(blocks([0, 1])[None], [only])
    weights = targets.weights[0]
    assert weights[[0, 13]].tolist() == [1, 1] and weights[[14, 15]].tolist() == [0, 0]
    assert weights[[k for k in range(K) if k not in (0, 13)]].abs().max() == 0
    absent = make_targets(blocks([0])[None], [only]).weights[0]
    assert absent[[13, 14, 15]].tolist() == pytest.approx([0.1] * 3) and absent[1] == 0
    score = torch.randn(1, K, 3, 4, requires_grad=True)
    alignment_loss(score, targets).backward()
    assert score.grad[:, [1, 5, 18]].abs().max() == 0 and score.grad[:, 14].abs().max() > 0


def test_representatives_draw_the_masks_of_groups():
    targets = make_targets(np.stack([blocks([9, 10, 255]), blocks([2])]), [COMMON_SPACE] * 2)
    assert targets.matched.tolist() == [[0, 12, 9], [0, 13, 10], [1, 2, 2]]


def test_diverse_groups_teach_the_alignment_only():
    targets = make_targets(blocks([0, 4, 5])[None], [IDD_SPACE])
    assert targets.matched.tolist() == [[0, 0, 0]]
    assert targets.weights[0, [2, 3, 4, 5, 6, 7, 8]].abs().max() == 0
    score = torch.randn(1, K, 3, 4, requires_grad=True)
    alignment_loss(score, targets).backward()
    assert (score.grad[0, [2, 8]].abs().amax((1, 2)) > 0).all()


def test_sets_of_different_groups_share_a_batch():
    """Each sample's terms are those it has alone."""
    classes, masks, scores = outputs()
    one, two = blocks([0, 7, 10]), blocks([3, 6, 255])
    both = make_targets(np.stack([one, two]), [COMMON_SPACE, IDD_SPACE])
    alone = [make_targets(one[None], [COMMON_SPACE]), make_targets(two[None], [IDD_SPACE])]
    mean = sum(alignment_loss(scores[i : i + 1], t) for i, t in enumerate(alone)) / 2
    torch.testing.assert_close(alignment_loss(scores, both), mean)
    stacked = torch.stack(classes)
    sums = [class_loss(stacked[:, i : i + 1], t) * t.weights.sum() for i, t in enumerate(alone)]
    torch.testing.assert_close(class_loss(stacked, both), sum(sums) / both.weights.sum())
    counts = [len(t.matched) for t in alone]
    parts = [mask_losses([m[i : i + 1] for m in masks], t, GRID) for i, t in enumerate(alone)]
    for kind in range(2):
        expected = sum(part[kind] * n for part, n in zip(parts, counts, strict=True)) / sum(counts)
        torch.testing.assert_close(mask_losses(masks, both, GRID)[kind], expected)


def test_gradients_are_finite_and_reach_every_prediction():
    classes, masks, scores = outputs()
    leaves = [t.requires_grad_() for t in (*classes, *masks, scores)]
    targets = make_targets(np.stack([blocks([0, 255]), blocks([255])]), [COMMON_SPACE, IDD_SPACE])
    terms = compute_losses(classes, masks, scores, targets, LossWeights(sampling=PointSampling(64)))
    sum(terms.values()).backward()
    assert all(t.grad is not None and t.grad.isfinite().all() and t.grad.abs().sum() > 0 for t in leaves)


def test_nothing_matched_is_zero_and_still_has_a_gradient():
    classes, masks, scores = outputs(batch=1)
    masks = [m.requires_grad_() for m in masks]
    targets = make_targets(blocks([255])[None], [CITYSCAPES])
    mask, dice = mask_losses(masks, targets, GRID)
    assert mask.tolist() == dice.tolist() == [0, 0, 0]
    (mask.sum() + dice.sum()).backward()
    assert masks[0].grad.abs().sum() == 0
    assert compute_losses(classes, masks, scores, targets)["scr_map.loss_seg"] == 0


def test_losses_stay_float32_under_autocast():
    classes, masks, scores = outputs()
    targets = make_targets(np.stack([blocks([0, 1])] * 2), [CITYSCAPES] * 2)
    plain = compute_losses(classes, masks, scores, targets, LossWeights(sampling=GRID))
    with torch.autocast("cpu", torch.bfloat16):
        under = compute_losses(classes, masks, scores, targets, LossWeights(sampling=GRID))
    for name, value in plain.items():
        assert under[name].dtype == torch.float32
        torch.testing.assert_close(under[name], value)


def test_random_points_prefer_uncertain_places():
    logits = torch.full((1, 2, 32, 32), 8.0)
    logits[..., 16:] = -8.0  # uncertain only along the middle column
    points = PointSampling(points=400).draw(logits, torch.Generator().manual_seed(0))
    assert points.shape == (1, 2, 400, 2) and points.min() >= 0 and points.max() <= 1
    doubtful = sample(logits[0], points[0]).abs()
    assert (doubtful[:, :300] < 8).float().mean() > 3 * (doubtful[:, 300:] < 8).float().mean()


def test_released_order_of_random_draws():
    """The points are those of a plain loop over predictions with the same seed."""
    logits = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    got = ReleasedPoints(points=40, batch=2).draw(logits, torch.Generator().manual_seed(7))
    g = torch.Generator().manual_seed(7)
    for p in range(3):
        for _ in range(2):
            torch.rand(1, 40, 2, generator=g)
        candidates = torch.rand(4, 120, 2, generator=g)
        values = F.grid_sample(logits[p][:, None], 2 * candidates[:, None] - 1, align_corners=False)[:, 0, 0]
        kept = torch.stack([c[v.abs().argsort()[:30]] for c, v in zip(candidates, values, strict=True)])
        anywhere = torch.rand(4, 10, 2, generator=g)
        assert torch.equal(got[p, :, 30:], anywhere)
        assert torch.equal(got[p, :, :30].sort(1).values, kept.sort(1).values)


def test_a_label_that_its_set_does_not_have_is_named():
    with pytest.raises(ValueError, match="holds group 11"):
        make_targets(blocks([11])[None], [COMMON_SPACE])
