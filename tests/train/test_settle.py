"""Settling which member of a label group is named."""

from __future__ import annotations

import pytest
import torch

from train.data.groups import COMMON_SPACE
from train.settle import SettleConfig, group_shift

CAR, TRUCK, BUS, TRAIN, ROAD = 13, 14, 15, 16, 0


def shares(logits: torch.Tensor, members: list[int]) -> torch.Tensor:
    mass = logits.softmax(-1)[..., members].sum((0, 1))
    return mass / mass.sum()


@pytest.fixture
def accident() -> torch.Tensor:
    """Logits (N, K, K+1) in which every vehicle query prefers truck to car, and never train."""
    logits = torch.randn(40, 19, 20, generator=torch.Generator().manual_seed(0))
    logits[:, CAR, CAR] += 4
    logits[:, CAR, TRUCK] += 7
    logits[:, :, TRAIN] -= 30
    return logits


def test_the_representative_takes_its_share(accident):
    assert shares(accident, [CAR, TRUCK, BUS, TRAIN])[1] > 0.4
    settled = accident + group_shift(accident, COMMON_SPACE, 0.9)
    car, truck, bus, train = shares(settled, [CAR, TRUCK, BUS, TRAIN])
    assert car >= 0.9 - 1e-3
    assert max(truck, bus, train) / car <= (0.1 / 3) / 0.9 + 1e-3


def test_members_are_only_lowered_and_the_rest_stays(accident):
    shift = group_shift(accident, COMMON_SPACE, 0.9)
    assert (shift <= 0).all() and shift[TRUCK] < -1
    alone = [ROAD, CAR, 1, 4, 5, 10, 11, 19]  # representatives, groups of one class, "no object"
    assert (shift[alone] == 0).all()
    assert shift[TRAIN] == 0  # never named, so nothing to lower


def test_evidence_still_wins(accident):
    accident[0, CAR, TRUCK] += 12  # one photograph with a truck beyond doubt
    settled = accident + group_shift(accident, COMMON_SPACE, 0.9)
    assert settled[0, CAR].argmax() == TRUCK
    assert (settled[1:, CAR].argmax(-1) == CAR).float().mean() > 0.9


def test_bad_share_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        SettleConfig(share=1.0)
