"""Retrieval of regions against loops over them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from train.measure.probe.retrieval import regions_of, retrieval_scores


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def pictures() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Eight pictures of 4 x 5 patches whose embeddings lean towards the texts of what they show."""
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        shares = torch.from_numpy(rng.dirichlet(np.full(4, 0.2), (4, 5))).float() * (torch.rand(4, 5, 1) > 0.1)
        shares[..., rng.integers(4)] = 0
        found.append((F.normalize(0.25 * shares @ unit(4, 16) + unit(4, 5, 16, seed=seed + 1), dim=-1), shares))
    return found


def test_equals_loops_over_regions():
    texts, minimum = unit(4, 16), 0.2
    regions, found = [], []
    for patches, shares in pictures():
        regions.append(regions_of(patches, shares, minimum))
        for group in range(4):
            if shares[..., group].sum() >= minimum * shares.sum():
                mean = sum(shares[y, x, group] * patches[y, x] for y in range(4) for x in range(5))
                found.append((group, mean / mean.norm()))
    right = [int((texts @ e).argmax()) == group for group, e in found]
    precisions = []
    for group in sorted({g for g, _ in found}):
        near = sorted(found, key=lambda r: -float(texts[group] @ r[1]))
        count = sum(g == group for g, _ in found)
        precisions.append(sum(g == group for g, _ in near[:count]) / count)
    scores = retrieval_scores(*map(torch.cat, zip(*regions, strict=True)), texts)
    assert scores["regions"] == len(found) and scores["to text"] == pytest.approx(np.mean(right))
    assert scores["to region"] == pytest.approx(np.mean(precisions))
    assert 0.3 < np.mean(right) < 0.95 and 0.3 < np.mean(precisions) < 0.95 and np.mean(right) != np.mean(precisions)


def test_a_region_lies_where_its_pixels_are():
    patches = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    embeddings, groups = regions_of(patches, torch.tensor([[[0.9, 0.2], [0.1, 0.8]]]))
    assert groups.tolist() == [0, 1]
    torch.testing.assert_close(embeddings, F.normalize(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), dim=-1))
    assert retrieval_scores(embeddings, groups, torch.eye(2)) == {"regions": 2, "to text": 1.0, "to region": 1.0}


def test_small_regions_and_groups_without_a_name_are_left_out():
    patches, shares = unit(1, 2, 3), torch.tensor([[[0.5, 0.499, 0.001], [0.5, 0.5, 0.0]]])
    assert regions_of(patches, shares, minimum=0.01)[1].tolist() == [0, 1]
    near_the_second = torch.tensor([[0.1, 0.9, 0.0], [0.0, 1.0, 0.0]])
    scores = retrieval_scores(near_the_second, torch.tensor([0, 1]), torch.eye(3), {1})
    assert scores == {"regions": 1, "to text": 1, "to region": 1}, "a name that stands for nothing is not asked either"


def test_nothing_labelled_is_no_region():
    embeddings, groups = regions_of(unit(2, 2, 3), torch.zeros(2, 2, 3))
    assert retrieval_scores(embeddings, groups, torch.eye(3)) == {"regions": 0, "to text": None, "to region": None}
