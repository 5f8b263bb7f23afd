"""The view of adverse weather in a real browser."""

from __future__ import annotations

import re

import numpy as np

from tests.browser.seen import different, picture_of


def test_weather_shows_both_and_follows_its_controls(page):
    page.get_by_role("tab", name="Adverse weather").click()
    page.locator("#weather-grid h3", has_text="Fog, severity 3").wait_for()
    photos = page.locator("#weather-grid .tile.photo img")
    assert photos.count() == 2 and page.locator("#weather-grid .tile.mask").count() == 6
    clear, fog = picture_of(photos.nth(0)), picture_of(photos.nth(1))
    assert different(clear, fog)
    assert np.asarray(fog).std() < np.asarray(clear).std()  # fog takes contrast
    page.get_by_label("Night").check()
    page.locator("#weather-grid h3", has_text="Fog + night, severity 3").wait_for()
    assert np.asarray(picture_of(photos.nth(1))).mean() < 0.7 * np.asarray(fog).mean()
    scores = page.locator("#weather-grid .foot .score").all_inner_texts()
    assert len(scores) == 6 and all(re.search(r"\d+\.\d %", s) for s in scores)


def test_an_example_is_shown_in_weather_rendered_in_its_scene(page):
    page.get_by_role("tab", name="Adverse weather").click()
    page.locator("#weather-grid h3", has_text="Fog, severity 3").wait_for()
    simulated = picture_of(page.locator("#weather-grid .tile.photo img").nth(1))
    page.get_by_label("rendered in the scene").check()
    page.locator("#weather-grid h3", has_text="Fog, rendered in the scene").wait_for()
    assert different(simulated, picture_of(page.locator("#weather-grid .tile.photo img").nth(1)))
    assert "real mIoU" in page.locator("#weather-grid .foot .score").all_inner_texts()[1]
    page.get_by_label("Night").check()
    page.locator("#weather-notice .notice", has_text="one condition at a time").wait_for()
