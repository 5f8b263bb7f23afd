"""Curves of several runs: their mean, their smoothing, and what the picture shows."""

from __future__ import annotations

import numpy as np
import pytest

from train.fit.training_curves import Line, run_curves, smoothed


def test_the_mean_is_over_steps_that_all_runs_have():
    line = Line("a", "#000000", [{1: 2.0, 2: 4.0, 3: 9.0}, {1: 4.0, 2: 6.0}])
    assert line.mean() == {1: 3.0, 2: 5.0}


def test_smoothing_takes_means_around_each_step():
    series = {step: float(step % 2) for step in range(1, 101)}
    flat = smoothed(series, share=0.1)
    assert list(flat) == list(series) and flat[50] == pytest.approx(6 / 11) and flat[51] == pytest.approx(5 / 11)
    assert flat[1] == pytest.approx(3 / 6)  # 1 to 6
    line = {step: 3.0 * step for step in range(10, 1001, 10)}
    assert smoothed(line)[500] == pytest.approx(1500) and smoothed({7: 2.0}) == {7: 2.0}


def shown(picture: np.ndarray, colour: str) -> int:
    """Pixels of a colour."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture.astype(int) - rgb).sum(2) < 12).sum())


def test_every_row_has_its_colour_and_its_runs():
    runs = [{100 * i: 50 + i + seed for i in range(1, 31)} for seed in range(3)]
    lines = [
        Line("first", "#0072b2", runs),
        Line("second", "#d55e00", [{s: v + 5 for s, v in r.items()} for r in runs]),
    ]
    picture = run_curves({"mIoU (%)": lines})
    assert picture.shape[1] == 900 and (picture[0] == 255).all(), "a light page"
    assert shown(picture, "#0072b2") > 500 and shown(picture, "#d55e00") > 500
    mean_only = run_curves({"mIoU (%)": [Line(line.title, line.colour, [line.mean()]) for line in lines]})
    assert (picture < 250).any(2).sum() > (mean_only < 250).any(2).sum() + 500, "a thin line for each run"
    assert run_curves({"a": lines, "b": lines}).shape[0] > 1.8 * picture.shape[0]


def test_the_axis_fits_what_comes_after_the_first_quarter():
    line = Line("a", "#0072b2", [{1: 1e6, **{step: 10.0 + step % 3 for step in range(30, 101)}}])
    huge = Line("a", "#0072b2", [{step: value for step, value in line.runs[0].items() if step > 1}])
    rest = np.s_[:, 420:]
    assert shown(run_curves({"loss": [line]})[rest], "#0072b2") == pytest.approx(
        shown(run_curves({"loss": [huge]})[rest], "#0072b2"), rel=0.1
    )
