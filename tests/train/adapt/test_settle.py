"""Settling which member of a label group is named."""

from __future__ import annotations

import pytest
import torch

from mfuser.cityscapes import COMMON
from train.adapt.settle import settled_order
from train.data.groups import COMMON_SPACE

CAR, TRUCK, RIDER, BICYCLE, PERSON = 13, 14, 12, 18, 11


@pytest.fixture
def accident() -> torch.Tensor:
    """Logits (N, K, K+1) in which the vehicle query says truck, and the rider query says rider."""
    logits = torch.randn(40, 19, 20, generator=torch.Generator().manual_seed(0))
    logits[:, CAR, TRUCK] += 9
    logits[:, RIDER, RIDER] += 9
    return logits


def test_the_strongest_row_takes_the_name_of_the_group(accident):
    order = settled_order(accident, COMMON_SPACE)
    assert order[CAR] == TRUCK and order[TRUCK] == CAR
    assert order[RIDER] == RIDER and order[BICYCLE] == BICYCLE
    assert (accident[:, CAR].argmax(-1) == TRUCK).all()
    assert (accident[..., order][:, CAR].argmax(-1) == CAR).all()


def test_groups_keep_every_probability(accident):
    before, after = accident.softmax(-1), accident[..., settled_order(accident, COMMON_SPACE)].softmax(-1)
    for members in COMMON.values():
        assert torch.allclose(before[..., list(members)].sum(-1), after[..., list(members)].sum(-1))
    assert torch.allclose(before[..., [PERSON, -1]], after[..., [PERSON, -1]])


def test_a_settled_head_is_settled(accident):
    once = accident[..., settled_order(accident, COMMON_SPACE)]
    assert torch.equal(settled_order(once, COMMON_SPACE), torch.arange(20))
