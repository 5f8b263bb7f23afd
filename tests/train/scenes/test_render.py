"""The command: frames that are whole, resumed and readable; labels exact to the pixel; one sentence for what is
wrong."""

from __future__ import annotations

import builtins
import json

import cv2
import numpy as np
import pytest

from mfuser.cityscapes import CLASSES
from train.__main__ import main as train
from train.scenes import card, command, frames, scene, weather
from train.scenes.street import Street

SIZE = (96, 64)


@pytest.fixture
def no_blender(monkeypatch):
    """As if Blender's module were not installed."""
    real = builtins.__import__

    def refuse(name, *rest):
        if name == "bpy":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)


def write(out, name: str, seed: int = 0) -> None:
    """A finished frame without rendering one."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 19, SIZE[::-1]).astype(np.uint8)
    label[:3] = 255
    made = scene.make(seed)
    frames.write(out, name, rng.integers(0, 255, (*SIZE[::-1], 3)).astype(np.uint8), label, np.full(SIZE[::-1], 12.344),
                 card.card(made, weather.sample(seed, "clear"), label, SIZE))  # fmt: skip


def test_without_the_renderer_one_sentence_says_how_to_get_it(no_blender, tmp_path, capsys):
    assert train(["render", "--count", "1", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "pip install -r train/scenes/requirements.txt" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--count", "0"], "--count is 0"),
        (["--count", "1", "--size", "big"], "WIDTHxHEIGHT"),
        (["--count", "1", "--size", "8x8"], "64x64"),
        (["--count", "1", "--weather", "clear,hail"], "'hail'"),
        (["--count", "1", "--weather", ","], "nothing"),
        (["--count", "1", "--seed", "-2"], "--seed is -2"),
        (["--count", "1", "--samples", "0"], "--samples is 0"),
    ],
)
def test_bad_settings_are_one_sentence(arguments, sentence, tmp_path, capsys):
    assert train(["render", "--out", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def test_finished_frames_are_skipped_even_without_the_renderer(no_blender, tmp_path, capsys):
    for seed in (5, 6):
        write(tmp_path, frames.stem(seed, "clear"), seed)
    arguments = ["render", "--count", "2", "--seed", "5", "--size", "96x64", "--out", str(tmp_path), "--sheet"]
    assert train(arguments) == 0
    assert "2 frames in" in capsys.readouterr().out and (tmp_path / "sheet.jpg").is_file()
    frames.paths(tmp_path, frames.stem(6, "clear"))["image"].unlink()
    assert train(arguments) == 2, "a frame that is not whole is rendered again"


def test_frames_are_read_by_the_trainer(tmp_path):
    pytest.importorskip("torch", reason="the trainer wants the project's own environment")
    from train.data import open_dataset

    write(tmp_path, "a")
    data = open_dataset(str(tmp_path))
    image, label = data[0]
    assert image.shape == (*SIZE[::-1], 3) and label.shape == SIZE[::-1] and (label[:3] == 255).all()
    depth = cv2.imread(str(tmp_path / "depth" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and (depth == 1234).all()
    assert not list(tmp_path.rglob("*.part"))


def test_cards_tell_what_is_in_the_frame(tmp_path):
    write(tmp_path, "a", 9)
    known = json.loads((tmp_path / "cards" / "a.json").read_text())
    assert known["seed"] == 9 and known["weather"]["condition"] == "clear" and known["size"] == list(SIZE)
    assert sum(known["shares"].values()) == pytest.approx(1, abs=1e-4)  # of the labelled pixels
    found, count = card.mean_shares([tmp_path / "cards" / "a.json"])
    assert count == 1 and found.sum() == pytest.approx(1, abs=1e-4)
    assert card.mean_shares([])[1] == 0
    text = card.table(found)
    assert all(name in text for name in CLASSES) and len(text.splitlines()) == 20


def test_published_shares_are_complete():
    assert list(card.CITYSCAPES_SHARES) == list(CLASSES)
    assert sum(card.CITYSCAPES_SHARES.values()) == pytest.approx(100, abs=0.2)


def test_no_sheet_without_frames(tmp_path):
    with pytest.raises(ValueError, match="no finished frame"):
        frames.sheet(tmp_path)


@pytest.fixture(scope="module")
def renderer():
    pytest.importorskip("bpy", reason="renders with Blender: install train/scenes/requirements.txt")
    from train.scenes.blender import Renderer

    return Renderer(threads=1)


def load(renderer, made: scene.Scene) -> Street:
    renderer.load(made.street, made.static, made.camera)
    return made.street


def test_labels_are_exactly_the_classes_of_the_things_seen(blender, renderer):
    from train.scenes import prototypes

    made = scene.make(11, "avenue")
    street = load(renderer, made)
    truth = renderer.truth((160, 80))
    seen = [i for i in np.unique(truth.thing) if i]
    assert len(seen) > 10
    for index in seen:
        here = set(np.unique(truth.label[truth.thing == index]))
        assert here <= prototypes.make(street.things[index - 1].name).labels, street.things[index - 1]
    rest = set(np.unique(truth.label[(truth.thing == 0) & np.isfinite(truth.depth)]))
    assert rest <= made.static.labels
    assert ((truth.label == 10) == np.isinf(truth.depth)).all()


def test_depth_is_that_of_the_road_below_the_camera(blender, renderer):
    made = scene.make(12, "suburb")
    street = load(renderer, made)
    truth = renderer.truth((160, 80))
    rays = made.camera.rays(160, 80)
    near = (truth.label == 0) & (truth.thing == 0) & (truth.depth < 14)
    height = made.camera.height + truth.depth[near] * rays[near][:, 2]
    assert near.sum() > 500 and street.rise is not None
    np.testing.assert_allclose(height, 0, atol=0.03)


def test_the_command_renders_the_same_street_twice_in_every_weather(blender, tmp_path):
    for name in ("a", "b"):
        made = command.render(
            tmp_path / name, [21], ("clear", "rain", "night"), (128, 64), "town", samples=1, threads=1
        )
        assert made == 3
    assert command.render(tmp_path / "a", [21], ("clear",), (128, 64), "town", samples=1) == 0
    labels = []
    for condition in ("clear", "rain", "night"):
        stem = frames.stem(21, condition)
        first, again = (frames.paths(tmp_path / name, stem) for name in ("a", "b"))
        labels.append(first["label"].read_bytes())
        assert labels[-1] == again["label"].read_bytes()
        one, two = (cv2.imread(str(paths["image"])).astype(int) for paths in (first, again))
        assert np.abs(one - two).mean() < 0.5
    assert labels[0] == labels[1] == labels[2]
