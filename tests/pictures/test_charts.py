"""Contracts of legends, charts and contact sheets, missing numbers included; no model is involved."""

from __future__ import annotations

import numpy as np
import pytest

from mfuser.cityscapes import CLASSES, PALETTE
from mfuser.pictures import charts
from mfuser.pictures.visualize import STREAM_TITLES


def is_picture(picture: np.ndarray) -> bool:
    return picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_legend_is_sorted_and_in_the_palette():
    rows = charts.legend({"car": 0.25, "road": 0.5, "train": 0.0, "bus": 0.25})
    assert [row[0] for row in rows] == ["road", "bus", "car"]
    assert rows[0] == ("road", "#804080", 0.5)
    with pytest.raises(ValueError, match="unicorn"):
        charts.legend({"unicorn": 1.0})


def test_legend_picture_shows_each_colour():
    picture = charts.legend_picture({"car": 0.3, "road": 0.7}, width=500)
    assert is_picture(picture) and picture.shape[1] == 500
    for train_id in (0, 13):
        assert (np.abs(picture.astype(int) - PALETTE[train_id]).sum(axis=-1) == 0).sum() > 100


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.filterwarnings("error::UserWarning")  # matplotlib warns when labels leave no room for the axes
def test_charts_have_the_asked_size_and_page(dark, rng):
    shares = {stream: dict(zip(CLASSES, rng.dirichlet(np.ones(19)), strict=True)) for stream in STREAM_TITLES}
    lines = {stream: {s: 0.8 - 0.1 * s for s in range(6)} for stream in shares}
    page = (24, 24, 27) if dark else (255, 255, 255)
    charts_by_size = {
        (84, 640): charts.colour_bar(-0.1, 0.7, "cosine to $5 & {car}", dark=dark),
        (300, 100): charts.colour_bar(0, 0, "flat", width=100, height=300, dark=dark),
        (520, 960): charts.retention_chart(lines, title="fog $", dark=dark),
        (700, 700): charts.cosine_matrix(np.eye(19), CLASSES, width=700, dark=dark),
    }
    bars = charts.class_bars(shares, dark=dark)
    assert bars.shape[1] == 960
    for size, chart in [*charts_by_size.items(), (bars.shape[:2], bars)]:
        assert is_picture(chart) and chart.shape[:2] == size
        assert tuple(chart[0, 0]) == page and chart.std() > 3


def test_charts_survive_missing_numbers():
    assert is_picture(charts.class_bars({}))
    assert is_picture(charts.class_bars({"vfm": {"car": float("nan")}, "other": {"road": 0.3}}))
    assert is_picture(charts.retention_chart({}))
    assert is_picture(charts.retention_chart({"fused": {0: 0.5, 1: float("nan"), 2: 0.3}}))
    with pytest.raises(ValueError, match="square"):
        charts.cosine_matrix(np.eye(3), ["a", "b"])


@pytest.mark.filterwarnings("error")
def test_a_share_above_that_of_clear_has_its_place():
    assert is_picture(charts.retention_chart({"vfm": {0: 1.0, 1: 20.0}, "fused": {0: 1.0, 1: 0.5}}))


def test_line_colours_differ_by_stream_in_the_chart():
    picture = charts.retention_chart({"vfm": {0: 0.9, 5: 0.8}, "fused": {0: 0.5, 5: 0.4}})
    for stream in ("vfm", "fused"):
        rgb = [int(charts.STREAM_COLOURS[False][stream][i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(picture.astype(int) - rgb).sum(axis=-1) == 0).sum() > 200


def test_contact_sheet_places_pictures_and_marks_missing_cells():
    red, blue = np.zeros((20, 40, 3), np.uint8), np.zeros((20, 40, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = charts.contact_sheet([[red, blue], [None, red]], ["features", "text"], ["VFM", "VLM"], cell_width=200)
    assert is_picture(sheet)
    assert tuple(sheet[100, 100]) == (255, 0, 0) and tuple(sheet[100, 300]) == (0, 0, 255)
    assert tuple(sheet[200, 300]) == (255, 0, 0) and (sheet[165:250, 60:240] == 255).mean() > 0.9
    with pytest.raises(ValueError, match="one title per row"):
        charts.contact_sheet([[red]], ["a", "b"], ["c"])
