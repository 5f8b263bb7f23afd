"""Screenshots of every view of a running page: `python -m tests.browser.screenshots ADDRESS --out DIR`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

WIDTHS = {1440: 900, 768: 1024, 390: 844}  # pixels: width -> height
THEMES = ("light", "dark")
READY = 'document.querySelector(".mfuser .stage")?.dataset.shown'


def _press(selector: str) -> Callable:
    return lambda page: page.locator(selector).click()


def _hover(page) -> None:
    box = page.locator("#stage-canvas").bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.62 * box["height"])


def _points(page) -> None:
    canvas = page.locator("#stage-canvas")
    box = canvas.bounding_box()
    canvas.click(position={"x": 0.62 * box["width"], "y": 0.6 * box["height"]})
    canvas.click(position={"x": 0.2 * box["width"], "y": 0.2 * box["height"]}, modifiers=["Shift"])
    canvas.click(position={"x": 0.5 * box["width"], "y": 0.9 * box["height"]}, modifiers=["Alt"])


def _follow(page) -> None:
    page.locator(".follow input").check()
    _hover(page)


def _words(page) -> None:
    page.get_by_label("Look for").fill("car")
    page.get_by_label("Look for").press("Enter")
    page.locator('.layers [data-choice="similarity"][aria-pressed="true"]').wait_for()


def _zoomed(page) -> None:
    canvas = page.locator("#stage-canvas")
    canvas.focus()
    for _ in range(3):
        canvas.press("+")


def _drawer(name: str) -> Callable:
    def show(page) -> None:
        head = page.locator(f"#{name} button").first
        head.click()
        head.scroll_into_view_if_needed()
        page.wait_for_timeout(4000 if name == "weather" else 800)

    return show


# name -> (what follows the #, what is done)
VIEWS: dict[str, tuple[str, Callable | None]] = {
    "start": ("", None),
    "hover": ("", _hover),
    "triple-features": ("mode=triple&layer=features", None),
    "nine": ("mode=nine&points=0.6,0.6,1", None),
    "single-confidence": ("mode=single&layer=confidence", None),
    "differences": ("layer=disagreement", None),
    "errors": ("layer=truth", None),
    "words": ("mode=triple", _words),
    "points": ("mode=triple", _points),
    "follow": ("mode=triple", _follow),
    "zoomed": ("", _zoomed),
    "isolated": ("", lambda page: page.locator("button.rail-row").nth(1).click()),
    "settings": ("", _drawer("settings")),
    "weather": ("", _drawer("weather")),
    "about": ("", _drawer("about")),
}


def take(address: str, out: Path, views: list[str], widths: list[int]) -> list[Path]:
    """Write one PNG for each view, width and theme.

    Args:
        address: of the running page.
        out: folder, made when missing.
        views: names of `VIEWS`.
        widths: of `WIDTHS`.

    Returns:
        The files written.
    """
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    written = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width in widths:
            for theme in THEMES:
                phone = width < 700
                size = {"width": width, "height": WIDTHS[width]}
                context = chromium.new_context(
                    viewport=size, color_scheme=theme, is_mobile=phone, has_touch=phone, device_scale_factor=1
                )
                for view in views:
                    if phone and view == "follow":  # a finger has no pointer to follow
                        continue
                    link, act = VIEWS[view]
                    page = context.new_page()
                    page.goto(f"{address}/?__theme={theme}#{link}")
                    page.wait_for_function(READY, timeout=60_000)
                    if act is not None:
                        act(page)
                    page.wait_for_timeout(300)
                    path = out / f"{view}-{width}-{theme}.png"
                    page.screenshot(path=path)
                    page.close()
                    written.append(path)
                    print(path, flush=True)
                context.close()
        chromium.close()
    return written


def main(arguments: list[str] | None = None) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="of the running page, such as http://127.0.0.1:7860")
    parser.add_argument("--out", type=Path, default=Path("screenshots"), help="folder (default: %(default)s)")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS), metavar="VIEW", help=", ".join(VIEWS))
    parser.add_argument("--widths", nargs="+", type=int, choices=WIDTHS, default=list(WIDTHS), metavar="PIXELS")
    args = parser.parse_args(arguments)
    take(args.address.rstrip("/"), args.out, args.views, args.widths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
