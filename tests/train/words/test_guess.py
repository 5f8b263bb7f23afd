"""The linear probe of sentence embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from train.words import guess


def test_what_is_near_a_class_gets_its_chance():
    generator = torch.Generator().manual_seed(0)
    axes = torch.eye(8)[:3]
    known = F.normalize(axes.repeat(20, 1) + 0.1 * torch.randn(60, 8, generator=generator), dim=-1)
    found = guess.chances(known, [0, 1, 3] * 20, axes, 5)
    assert found.shape == (3, 5) and torch.allclose(found.sum(1), torch.ones(3), atol=1e-5)
    assert found.argmax(1).tolist() == [0, 1, 3] and not found[:, [2, 4]].any(), "no chance without an example"
