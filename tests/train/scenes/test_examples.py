"""The page's example streets: gathered from frames, listed as the page reads them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mfuser.demo.examples import find
from train.scenes import CONDITIONS, card, examples, frames, scene, weather

SIZE = (96, 64)


@pytest.fixture
def rendered(tmp_path, monkeypatch):
    """Frames of one chosen street in every weather."""
    monkeypatch.setattr(examples, "CHOSEN", {7: ("A street", "a street with cars.")})
    made, label = scene.make(7), np.arange(SIZE[0] * SIZE[1]).reshape(SIZE[::-1]).astype(np.uint8) % 19
    for number, condition in enumerate(CONDITIONS):
        picture = np.full((*SIZE[::-1], 3), 40 * number + 20, np.uint8)
        known = card.card(made, weather.sample(7, condition), label, SIZE)
        frames.write(tmp_path / "frames", frames.stem(7, condition), picture, label, np.full(SIZE[::-1], 9.0), known)
    return tmp_path, label


def test_the_page_finds_every_street_with_its_weather(rendered):
    folder, label = rendered
    entries = examples.gather(folder / "frames", folder / "out")
    assert str(folder) not in str(entries)
    (example,) = find(folder / "out")
    assert example.title == "A street" and example.alt == "Rendered street scene: a street with cars."
    np.testing.assert_array_equal(example.labels, label)
    assert list(example.weather) == list(CONDITIONS[1:])
    for number, condition in enumerate(CONDITIONS[1:], 1):
        picture = cv2.imread(str(example.weather[condition].path))
        assert abs(int(picture.mean()) - (40 * number + 20)) <= 1
    assert "visibility" in example.weather["fog"].text and example.weather["night"].text


def test_streets_that_are_not_finished_are_named(rendered):
    folder, _ = rendered
    frames.paths(folder / "frames", frames.stem(7, "snow"))["image"].unlink()
    with pytest.raises(ValueError, match="0000007-snow"):
        examples.gather(folder / "frames", folder / "out")


def test_the_chosen_streets_are_described_for_people():
    titles = [title for title, _ in examples.CHOSEN.values()]
    assert len(set(titles)) == len(titles) >= 12
    assert all(len(alt) > 30 and alt.endswith(".") for _, alt in examples.CHOSEN.values())
