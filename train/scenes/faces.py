"""Painted faces: traffic signs, shop names, number plates, direction boards, displays. Row 0 is the top."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.scenes.furniture import SIGNS

RED, BLUE, YELLOW, WHITE, BLACK, GREEN = "#b81f24", "#1d4f9c", "#f0c419", "#f2f2ee", "#151515", "#1f6b45"
SHOPS = (
    "BAKERY",
    "Café Linde",
    "OPTIK",
    "Books & Co",
    "FLORA",
    "Pizzeria",
    "PHARMACY",
    "Zur Post",
    "MODE",
    "Bistro 12",
    "COPY SHOP",
    "Friseur",
    "MARKET",
    "Juwelier",
    "KEBAB",
    "Teahouse",
    "BIKES",
    "Schuhe",
    "GALERIE",
    "Hotel Adler",
    "Fruit",
    "TRAVEL",
    "Noodle Bar",
    "APOTHEKE",
    "Wine",
    "PHONES",
    "Antik",
    "Sport",
    "BUTCHER",
    "Kino",
    "TOYS",
    "Bar",
)
_BOARDS = ("#3a2a22", "#1f3b30", "#20304f", "#7a1f24", "#e6e0d2", "#2a2a2c", "#c9a13a", "#4a2f4f", "#d8d8d4", "#0f4f5a")
CELL = 160


def picture(name: str) -> np.ndarray:
    """(H, W, 3) uint8 of "signs", "shops", "plate", "directions" or "display". Raises ValueError for other names."""
    if name not in _PICTURES:
        raise ValueError(f"There is no picture {name!r}: choose one of {', '.join(sorted(_PICTURES))}.")
    return np.asarray(_PICTURES[name]().convert("RGB"))


def _text(draw: ImageDraw.ImageDraw, box, text: str, fill: str, share: float = 0.6) -> None:
    """Text in the middle of a box, as high as share of it, or smaller to fit its width."""
    x0, y0, x1, y1 = box
    size = (y1 - y0) * share
    while size > 6:
        font = ImageFont.load_default(size)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        if right - left <= (x1 - x0) * 0.9:
            break
        size *= 0.92
    draw.text(((x0 + x1 - left - right) / 2, (y0 + y1 - top - bottom) / 2), text, fill=fill, font=font)


def _signs() -> Image.Image:
    sheet = Image.new("RGB", (4 * CELL, 4 * CELL), "#7a7d80")
    for index, name in enumerate(SIGNS):
        sheet.paste(_sign(name), (index % 4 * CELL, index // 4 * CELL))
    return sheet


def _sign(name: str) -> Image.Image:
    n = CELL
    image = Image.new("RGB", (n, n), WHITE)
    draw, outline = ImageDraw.Draw(image), SIGNS[name]
    m = n / 2
    if outline == "disc":
        if name in ("ahead", "cycles"):
            image.paste(BLUE, (0, 0, n, n))
            if name == "ahead":
                draw.rectangle((m - 9, m - 20, m + 9, m + 48), fill=WHITE)
                draw.polygon([(m - 34, m - 14), (m + 34, m - 14), (m, m - 56)], fill=WHITE)
            else:
                _bike(draw, m, m + 8, WHITE)
        elif name == "no entry":
            image.paste(RED, (0, 0, n, n))
            draw.rectangle((m - 54, m - 14, m + 54, m + 14), fill=WHITE)
        else:
            image.paste(RED, (0, 0, n, n))
            r = m - 22
            draw.ellipse((m - r, m - r, m + r, m + r), fill=BLUE if name == "no parking" else WHITE)
            if name == "no parking":
                draw.line((m - r * 0.7, m - r * 0.7, m + r * 0.7, m + r * 0.7), fill=RED, width=18)
            else:
                _text(draw, (0, 0, n, n), name.split()[1], BLACK, 0.48)
    elif outline in ("triangle", "yield"):
        image.paste(RED, (0, 0, n, n))
        up = outline == "triangle"
        angle = np.radians(90 if up else -90) + np.arange(3) * 2 * np.pi / 3
        shift = -0.12 if up else 0.12
        inner = [(m + np.cos(a) * m * 0.62, m - (np.sin(a) * m * 0.62 + shift * m)) for a in angle]
        draw.polygon(inner, fill=WHITE)
        y = m + 12
        if name == "crossroads":
            draw.line((m - 18, y - 22, m + 18, y + 22), fill=BLACK, width=9)
            draw.line((m + 18, y - 22, m - 18, y + 22), fill=BLACK, width=9)
        elif name == "children":
            _walker(draw, m - 10, y, BLACK, 0.8)
            _walker(draw, m + 12, y + 5, BLACK, 0.65)
        elif name == "roadworks":
            _walker(draw, m - 4, y, BLACK, 0.8)
            draw.polygon([(m + 6, y + 26), (m + 30, y + 26), (m + 18, y + 10)], fill=BLACK)
    elif outline == "diamond":
        image.paste(WHITE, (0, 0, n, n))
        draw.polygon([(m, 26), (n - 26, m), (m, n - 26), (26, m)], fill=YELLOW)
    elif outline == "octagon":
        image.paste(RED, (0, 0, n, n))
        _text(draw, (0, 0, n, n), "STOP", WHITE, 0.42)
    else:
        image.paste(BLUE if name != "town" else YELLOW, (0, 0, n, n))
        if name == "crossing":
            draw.polygon([(m, 16), (n - 16, n - 22), (16, n - 22)], fill=WHITE)
            _walker(draw, m, m + 22, BLACK, 0.9)
        elif name == "parking":
            _text(draw, (0, 0, n, n), "P", WHITE, 0.9)
        elif name == "one way":
            draw.rectangle((22, m - 10, n - 60, m + 10), fill=WHITE)
            draw.polygon([(n - 66, m - 34), (n - 66, m + 34), (n - 18, m)], fill=WHITE)
        else:
            _text(draw, (0, 0, n, n * 0.55), "Lindau", BLACK, 0.5)
            _text(draw, (0, n * 0.5, n, n), "Mitte", BLACK, 0.4)
        draw.rectangle((3, 3, n - 4, n - 4), outline=WHITE if name != "town" else BLACK, width=4)
    return image


def _walker(draw: ImageDraw.ImageDraw, x: float, y: float, fill: str, k: float) -> None:
    draw.ellipse((x - 7 * k, y - 48 * k, x + 7 * k, y - 34 * k), fill=fill)
    for line in (
        ((0, -32), (0, -6)),
        ((0, -6), (-14, 22)),
        ((0, -6), (14, 22)),
        ((0, -28), (-15, -10)),
        ((0, -28), (15, -12)),
    ):
        (a, b), (c, d) = line
        draw.line((x + a * k, y + b * k, x + c * k, y + d * k), fill=fill, width=max(3, int(9 * k)))


def _bike(draw: ImageDraw.ImageDraw, x: float, y: float, fill: str) -> None:
    for cx in (x - 32, x + 32):
        draw.ellipse((cx - 24, y - 20, cx + 24, y + 28), outline=fill, width=6)
    draw.line([(x - 32, y + 4), (x - 12, y - 30), (x + 22, y - 30), (x, y + 4), (x - 32, y + 4)], fill=fill, width=6)
    draw.line([(x + 32, y + 4), (x + 18, y - 44)], fill=fill, width=6)


def _shops() -> Image.Image:
    w, h = 384, 64
    sheet, rng = Image.new("RGB", (4 * w, 8 * h)), np.random.default_rng(5)
    draw = ImageDraw.Draw(sheet)
    for index, text in enumerate(SHOPS):
        x, y = index % 4 * w, index // 4 * h
        board = _BOARDS[int(rng.integers(len(_BOARDS)))]
        light = sum(int(board[i : i + 2], 16) for i in (1, 3, 5)) > 380
        ink = (
            ("#20242a", "#7a1f24", "#1f3b30")[int(rng.integers(3))]
            if light
            else ("#efe6cf", "#e8c46a", "#f2f2ee")[int(rng.integers(3))]
        )
        draw.rectangle((x, y, x + w, y + h), fill=board)
        _text(draw, (x, y, x + w, y + h), text, ink, 0.66)
    return sheet


def _plate() -> Image.Image:
    image = Image.new("RGB", (416, 92), "#eceae2")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 36, 92), fill=BLUE)
    _text(draw, (40, 0, 416, 92), "MF 2025", BLACK, 0.85)
    draw.rectangle((0, 0, 415, 91), outline="#3a3a3a", width=3)
    return image


def _directions() -> Image.Image:
    image = Image.new("RGB", (512, 256), BLUE)
    draw = ImageDraw.Draw(image)
    for y, text, left in ((18, "Zentrum", True), (96, "Messe", False), (174, "Hafen", True)):
        _text(draw, (110, y, 402, y + 64), text, WHITE, 0.8)
        x = 60 if left else 452
        d = -1 if left else 1
        draw.polygon([(x + 34 * d, y + 32), (x - 6 * d, y + 4), (x - 6 * d, y + 60)], fill=WHITE)
        draw.rectangle(
            sorted((x - 6 * d, x - 34 * d))[:1] + [y + 24] + sorted((x - 6 * d, x - 34 * d))[1:] + [y + 40], fill=WHITE
        )
    draw.rectangle((4, 4, 507, 251), outline=WHITE, width=5)
    return image


def _display() -> Image.Image:
    image = Image.new("RGB", (384, 64), "#0a0a08")
    _text(ImageDraw.Draw(image), (0, 0, 384, 64), "12  Hafen", "#ffb22e", 0.85)
    return image


_PICTURES = {"signs": _signs, "shops": _shops, "plate": _plate, "directions": _directions, "display": _display}
