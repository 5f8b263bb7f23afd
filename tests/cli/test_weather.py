"""`weather`: pictures and sweeps."""

from __future__ import annotations

import numpy as np
import pytest

from mfuser import weather
from tests.cli.commands import read, refusal, run


def test_weather_writes_one_picture(folder):
    arguments = ("--condition", "fog+night", "--severity", "4", "--seed", "7", "--out", "deep/foggy.png")
    assert run("weather", "street.png", *arguments) == 0
    expected = weather.apply("street.png", "fog+night", 4, 7)
    assert np.array_equal(read(folder / "deep" / "foggy.png")[..., ::-1], expected)


def test_weather_sweeps_into_a_folder(folder):
    arguments = ("--condition", "fog,rain", "--severity", "1,5", "--quiet", "--out", "sweep")
    assert run("weather", "street.png", "lane.jpg", *arguments) == 0
    names = {p.name for p in (folder / "sweep").iterdir()}
    assert names == {f"{i}-{c}-{s}.png" for i in ("street", "lane") for c in ("fog", "rain") for s in (1, 5)}
    assert np.array_equal(read(folder / "sweep" / "lane-rain-5.png")[..., ::-1], weather.apply("lane.jpg", "rain", 5))


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["--condition", "hail"], ["'hail'", "fog, rain, snow, night"]),
        (["--condition", ","], ["condition", "fog, rain, snow, night"]),
        (["--severity", "6"], ["--severity", "1 to 5", "'6'"]),
        (["--severity", "x"], ["--severity", "1 to 5", "'x'"]),
        (["--seed", "-1"], ["seed", "-1", "whole number"]),
        (["--condition", "fog,rain", "--out", "one.png"], ["'one.png'", "--out", "folder"]),
        (["--out", "street.png/x"], ["'street.png/x'", "folder"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_weather_mistakes(folder, capsys, arguments: list[str], facts: list[str]):
    sentence = refusal(capsys, "weather", "street.png", "--out", "out", *arguments)
    assert all(fact in sentence for fact in facts), sentence
