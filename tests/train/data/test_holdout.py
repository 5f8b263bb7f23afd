"""Stretches of photographs that teach nothing: which they are, and that they stay out of the training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from train.data.holdout import divided
from train.fit.config import FitConfig, defaults
from train.fit.inputs import make_batches, open_data


@pytest.mark.parametrize(("count", "every"), [(367, 5), (367, 2), (6, 3), (2, 2), (7, 7), (100, 5)])
def test_neighbours_are_held_out_together(count, every):
    kept, held = divided(count, every, "set")
    assert sorted(kept + held) == list(range(count)) and kept and held
    borders = sum((i in held) != (i + 1 in held) for i in range(count - 1))
    stretches = count / min(20, count // every) / every  # that are held out
    assert borders <= 2 * stretches + 1, "frames next to frames that teach are near copies of them"
    assert len(held) / count == pytest.approx(1 / every, abs=20 / count)


def test_what_is_held_out_is_scored_and_never_drawn(streets):
    path = streets / "train" / "labels" / "5.png"
    Image.fromarray(np.where(np.asarray(Image.open(path)) == 13, 0, 10).astype(np.uint8)).save(path)
    config = replace(
        defaults("nano"), data=(f"camvid:{streets}",), holdout=3, crop=32, base=0, batch=2, weather=0, points=64
    )
    (kept,), (held,) = open_data(config)
    assert [p.image.stem for p in kept.pairs] == ["0", "1", "2", "3"] and [p.image.stem for p in held.pairs] == [
        "4",
        "5",
    ]
    assert held.name == "camvid:streets/train, held out" and kept.counts.shape[0] == 4
    whole = open_data(replace(config, holdout=0))[0][0]
    assert (held.image(0) == whole.image(4)).all() and (held.label(1) == whole.label(5)).all()
    assert (held.counts == whole.counts[4:]).all() and (kept.counts == whole.counts[:4]).all()
    batches = make_batches(config, [kept])
    seen = set()
    for dataset in batches.datasets:
        read = dataset.image
        dataset.image = lambda index, read=read, dataset=dataset: (
            seen.add(dataset.pairs[index].image.stem) or read(index)
        )
    for step in range(20):
        batches[step]
    assert seen == {"0", "1", "2", "3"}
    assert [p.image.stem for p in open_data(replace(config, eval_limit=1))[1][0].pairs] == ["4"]


def test_it_is_a_setting_of_the_weights_when_it_is_used():
    assert "holdout" not in FitConfig().recipe() and FitConfig(holdout=4).recipe()["holdout"] == 4


def test_faults_are_named(streets):
    config = replace(defaults("nano"), data=(f"camvid:{streets}",), holdout=7)
    with pytest.raises(ValueError, match="--holdout 7 cannot divide the 6 photographs of camvid:streets/train"):
        open_data(config)
    with pytest.raises(ValueError, match="--holdout must be 2 or more, or 0"):
        FitConfig(holdout=1)
    with pytest.raises(ValueError, match="--holdout and --val contradict"):
        FitConfig(holdout=3, val=("a",))
