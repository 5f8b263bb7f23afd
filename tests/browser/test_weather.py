"""The drawer of adverse weather."""

from __future__ import annotations

from tests.browser.seen import SHOWN, choose

GRID = "#weather .pictures"


def test_weather_answers_for_the_picture_on_the_stage_and_forgets_it_with_the_picture(page, china):
    page.locator("#weather button").first.click()
    page.locator(GRID).wait_for()
    first = page.locator(f"{GRID} .tile.photo img").nth(1).get_attribute("src")
    assert page.locator(f"{GRID} .tile.photo").count() == 2 and page.locator(f"{GRID} .tile.mask").count() == 6
    choose(page, china)
    page.wait_for_selector(SHOWN)
    page.wait_for_function(  # gone at once, or answered anew: never the old one beside a new picture
        "old => (seen => !seen || seen.src !== old)(document.querySelectorAll('#weather .tile.photo img')[1])",
        arg=first,
    )
