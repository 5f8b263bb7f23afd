"""Sampling and batches: fixed by seed and step, each set its share, workers change nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from train.__main__ import own_words
from train.data import open_dataset
from train.data.augment import Augmentation
from train.data.batches import Batch, TrainingBatches, make_loader
from train.data.sampling import Sampler, share_places


def counts(images: int, groups: int = 3) -> np.ndarray:
    """Group 0 everywhere, group 1 in every second image, group 2 in one."""
    table = np.zeros((images, groups), np.int64)
    table[:, 0], table[::2, 1], table[0, 2] = 9000, 800, 200
    return table


def test_every_image_once_an_epoch():
    sampler = Sampler([counts(10)], batch=4, seed=3)
    seen = [sampler.choose(step, slot, np.random.default_rng(0)).index for step in range(10) for slot in range(4)]
    epochs = [seen[i : i + 10] for i in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs) and epochs[0] != epochs[1]


def test_each_set_gets_its_share():
    assert share_places(8, (1, 1), 2) == [4, 4] and share_places(8, (3, 1), 2) == [6, 2]
    assert share_places(7, (1, 1, 1), 3) == [3, 2, 2]
    sampler = Sampler([counts(10), counts(4)], batch=8, seed=0, mix=(3, 1))
    chosen = [sampler.choose(step, slot, np.random.default_rng(0)) for step in range(2) for slot in range(8)]
    assert Counter(c.dataset for c in chosen) == {0: 12, 1: 4}
    assert sorted(c.index for c in chosen if c.dataset == 1) == [0, 1, 2, 3]


def test_impossible_mixes_are_named():
    with pytest.raises(ValueError, match="batch of 2 cannot hold 3 sets"):
        share_places(2, (1, 1, 1), 3)
    with pytest.raises(ValueError, match="one positive share"):
        share_places(8, (1, 0), 2)


def test_rare_classes_come_more_often():
    choices = {}
    for temperature in (0.1, 100.0):
        sampler = Sampler([counts(40)], 1, 0, rare=temperature)
        choices[temperature] = [sampler.choose(0, 0, np.random.default_rng(s)) for s in range(600)]
    even = Counter(c.group for c in choices[100.0])
    assert all(150 < even[g] < 250 for g in range(3))  # temperature 100 is nearly uniform, as released
    skewed = Counter(c.group for c in choices[0.1])
    assert skewed[2] > skewed[1] > skewed[0]
    assert {c.index for c in choices[100.0] if c.group == 2} == {0}
    assert all(c.index % 2 == 0 for c in choices[100.0] if c.group == 1)


@pytest.fixture
def dataset(tmp_path: Path):
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "images" / f"{i}.png")
        label = np.full((40, 60), (0, 1, 2, 4, 13)[i], np.uint8)
        label[:10] = 10
        Image.fromarray(label).save(tmp_path / "labels" / f"{i}.png")
    return open_dataset(f"camvid:{tmp_path}")


def batches(dataset, seed: int = 0) -> TrainingBatches:
    return TrainingBatches([dataset], Sampler([dataset.counts], 3, seed), Augmentation(crop=32), seed)


def equal(a: Batch, b: Batch) -> bool:
    same = torch.equal(a.pixels, b.pixels) and torch.equal(a.targets.labels, b.targets.labels)
    return same and torch.equal(a.targets.matched, b.targets.matched)


def test_a_step_is_the_same_whatever_came_before(dataset):
    first, again = batches(dataset), batches(dataset)
    for step in range(5):
        first[step]
    assert equal(first[5], again[5]) and not equal(first[5], first[6]) and not equal(first[5], batches(dataset, 1)[5])


def test_workers_keep_order_and_content(dataset):
    plain = list(make_loader(batches(dataset), 2, 7, workers=0, pin=False))
    forked = list(make_loader(batches(dataset), 2, 7, workers=2, pin=False))
    assert len(plain) == 5 and all(equal(a, b) for a, b in zip(plain, forked, strict=True))
    assert equal(plain[0], batches(dataset)[2])


def test_batch_layout(dataset):
    batch = batches(dataset)[0].to("cpu")
    assert batch.pixels.shape == (3, 3, 32, 32) and batch.pixels.dtype == torch.uint8
    t = batch.targets
    assert t.labels.shape == (3, 32, 32) and t.members.shape == (3, 11, 19)
    assert t.classes.shape == (3, 19, 20) and t.weights.shape == (3, 19)
    for b, _, g in t.matched.tolist():
        assert (t.labels[b] == g).any()


def test_two_views_are_for_two_encoders(dataset):
    sampler = Sampler([dataset.counts], 3, 0)
    apart = TrainingBatches([dataset], sampler, Augmentation(crop=32, apart=1.0), 0)
    both, alone = apart.of("fused")[4], apart.of("vlm")[4]
    assert both.pixels.shape == (3, 2, 3, 32, 32) and alone.pixels.shape == (3, 3, 32, 32)
    assert both.pixels.is_contiguous() and (both.pixels[:, 0] != both.pixels[:, 1]).any()
    assert equal(alone, batches(dataset)[4]), "a stream alone is trained as ever"
    assert [len(part.pixels) for part in both.parts(3)] == [1, 1, 1]


def test_an_error_in_a_loading_process_ends_the_command(streets, tiny_run, tmp_path):
    for path in (streets / "train" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:-200])  # the header is whole, so that opening the set finds no fault
    command = [sys.executable, str(Path(__file__).parents[1] / "tiny_command.py"), "fit", "--preset", "tiny"]
    command += ["--data", f"camvid:{streets}", "--encoders", str(tiny_run), "--out", str(tmp_path / "out")]
    command += ["--cache", "0", "--workers", "1", "--streams", "vlm", "--crop", "64", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 2
    assert "fit: 8 files in a row cannot be read; the last: " in done.stderr and "Traceback" not in done.stderr


def test_a_worker_sends_its_traceback_along_and_only_its_words_are_shown():
    sent = "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File\n"
    assert own_words(ValueError(sent + "ValueError: the file: gone\n")) == "the file: gone"
    assert own_words(ValueError("the file: gone")) == "the file: gone"
