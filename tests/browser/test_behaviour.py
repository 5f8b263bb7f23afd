"""How the page behaves: touch, small windows, themes, names, contrast, nothing that jumps."""

from __future__ import annotations

import pytest

from tests.browser.seen import CANVAS, SHOWN, at, bubble, labels_of, pressed, script

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def test_on_a_phone_picture_pills_query_numbers_follow_each_other(visit):
    page = visit(**PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    tops = [
        page.locator(part).first.bounding_box()["y"]
        for part in (".strip", ".stage", ".layers", ".modes", ".command form", ".rail")
    ]
    assert tops == sorted(tops) and tops[4] < 844 - 40  # the query is in the first screen
    canvas = page.locator(CANVAS).bounding_box()
    assert canvas["width"] >= 370 and canvas["y"] + canvas["height"] < 844
    page.locator(CANVAS).tap(position=at(page, 0.75, 0.6))
    assert page.locator(".point-chip").count() == 1 and pressed(page, "layers") == "similarity"
    panel = page.locator(".bubble").bounding_box()
    assert panel["y"] >= canvas["y"] + canvas["height"] - 1 and len(bubble(page)) >= 3
    page.locator('.modes [data-choice="triple"]').tap()
    page.wait_for_function("document.querySelectorAll('.stage-label').length === 3")
    assert [
        box["x"] for box in (page.locator(".stage-label").nth(i).bounding_box() for i in range(3))
    ] == pytest.approx([page.locator(".stage-label").first.bounding_box()["x"]] * 3)  # under each other
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_two_fingers_zoom_and_one_moves(visit):
    page = visit("mode=single", **PHONE)
    shown = page.locator(CANVAS).bounding_box()
    touch = page.context.new_cdp_session(page)
    middle = (shown["x"] + shown["width"] / 2, shown["y"] + shown["height"] / 2)

    def fingers(kind, *offsets):
        points = [{"x": middle[0] + dx, "y": middle[1] + dy, "id": i} for i, (dx, dy) in enumerate(offsets)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (-30, 0), (30, 0))
    for spread in (45, 70, 90):
        fingers("touchMove", (-spread, 0), (spread, 0))
    fingers("touchEnd")
    page.locator(".whole").wait_for(state="visible")
    page.locator(".share").tap()
    scale, x, _ = (
        float(n) for n in page.evaluate("new URLSearchParams(location.hash.slice(1)).get('view')").split(",")
    )
    assert scale == pytest.approx(3, rel=0.1) and x == pytest.approx(0.5, abs=0.05)
    assert page.locator(".point-chip").count() == 0
    page.evaluate("scrollTo(0, 0)")
    fingers("touchStart", (0, 0))
    fingers("touchMove", (30, 0))
    fingers("touchMove", (60, 0))
    fingers("touchEnd")
    page.locator(".share").tap()
    moved = float(page.evaluate("new URLSearchParams(location.hash.slice(1)).get('view')").split(",")[1])
    assert moved == pytest.approx(x - 60 / (3 * shown["width"]), abs=0.02)


def test_the_swipe_is_moved_by_a_finger(visit):
    page = visit(**PHONE)
    handle = page.locator(".swipe-handle")
    grip, shown = handle.bounding_box(), page.locator(CANVAS).bounding_box()
    touch = page.context.new_cdp_session(page)
    y = grip["y"] + grip["height"] / 2
    for kind, x in (
        ("touchStart", grip["x"] + 14),
        ("touchMove", shown["x"] + 100),
        ("touchMove", shown["x"] + 0.8 * shown["width"]),
    ):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function("Number(document.querySelector('.swipe-handle').getAttribute('aria-valuenow')) > 70")


@pytest.mark.parametrize("width", [320, 390, 768, 1440, 2560])
def test_nothing_is_wider_than_the_window(visit, width):
    page = visit(viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for mode in ("triple", "nine", "single"):
        page.locator(f'.modes [data-choice="{mode}"]').click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_jumps_at_the_start(browser, url, width):
    context = browser.new_context(viewport={"width": width, "height": 844})
    context.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => { for (const e of list.getEntries()) "
        "if (!e.hadRecentInput) window.shift += e.value; }).observe({ type: 'layout-shift', buffered: true });"
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector(SHOWN)
    page.wait_for_timeout(500)
    assert page.evaluate("window.shift") <= 0.05
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_contrast_and_targets_have_size_and_names(visit, theme):
    page = visit(color_scheme=theme)
    assert page.locator(".theme").inner_text() == {"light": "Dark", "dark": "Light"}[theme]
    assert page.evaluate(script("contrast")) == []
    assert page.evaluate(script("small")) == []
    assert page.evaluate(script("nameless")) == []
    page.locator(".theme").click()
    assert page.evaluate("document.querySelector('.dark') !== null") == (theme == "light")
    page.wait_for_timeout(400)
    assert page.evaluate(script("contrast")) == []


def test_headings_follow_each_other(page):
    page.locator("#about button").first.click()
    page.locator("#about h2").first.wait_for()
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_the_main_job_by_keyboard_alone(page):
    page.keyboard.press("Tab")
    assert (
        page.locator(":focus").inner_text() == "Skip to the picture" and page.locator(":focus").bounding_box()["x"] >= 0
    )
    page.keyboard.press("Enter")
    assert page.locator(":focus").get_attribute("id") == "stage-canvas"
    assert page.locator(":focus").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator(".point-chip").count() == 1
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    page.wait_for_function("document.querySelector('.swipe-handle').getAttribute('aria-valuenow') === '0'")
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if "queue/join" in r.url else None)
    for _ in range(60):  # through everything: nothing runs because it was left
        page.keyboard.press("Tab")
    assert asked == [] and labels_of(page) == ["VFM only", "MFuser"]


def test_the_page_has_a_name_and_a_preview_of_its_own(page, url):
    html = page.request.get(url).text()
    assert "MFuser" in page.title() and 'content="Gradio"' not in html and "@Gradio" not in html
