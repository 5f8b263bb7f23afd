"""Street furniture: lamp posts, traffic lights and road signs on their posts."""

from __future__ import annotations

import cv2
import numpy as np

from train.scenes import LIGHT, POLE, SIGN, Canvas, Colour
from train.scenes.textures import Plane
from train.scenes.things import KERB, Thing, tint


def lamp_post(x: float, z: float, reach: float, height: float = 7.5) -> Thing:
    """A street lamp whose arm points to the road; reach is signed."""
    grey = (104, 110, 114)

    def draw(canvas: Canvas) -> None:
        _post(canvas, x, z, KERB, 0.9, 0.11, grey)
        _post(canvas, x, z, 0.9, height, 0.065, grey)
        arm = [
            (x, height - 0.1, z),
            (x + reach, height + 0.25, z),
            (x + reach, height + 0.35, z),
            (x, height + 0.05, z),
        ]
        canvas.polygon(np.array(arm), np.multiply(grey, 0.95), POLE)
        end, tip = x + reach, 0.35 * np.sign(reach)
        head = [(end - tip, height + 0.22, z), (end + tip, height + 0.27, z), (end + tip, height + 0.4, z),
                (end - tip, height + 0.4, z)]  # fmt: skip
        canvas.polygon(np.array(head), (150, 154, 158), POLE)

    return Thing(
        z, draw, [np.array([(x - 0.07, 0, z), (x + 0.07, 0, z), (x + 0.07, height, z), (x - 0.07, height, z)])]
    )


def traffic_light(x: float, z: float, reach: float, lit: int) -> Thing:
    """Signals on a mast and on its arm over the road; lit: 0 red, 1 amber, 2 green. Faces the camera."""

    def head(canvas: Canvas, hx: float, hy: float) -> None:
        box = [(hx - 0.2, hy - 0.5, z), (hx + 0.2, hy - 0.5, z), (hx + 0.2, hy + 0.5, z), (hx - 0.2, hy + 0.5, z)]
        canvas.polygon(np.array(box) + (0, 0, 0.05), (20, 22, 22), LIGHT)
        canvas.polygon(np.array(box) * (1, 1, 1), (38, 42, 42), LIGHT, (1.2, 0.9))
        for index, tone in enumerate(((236, 44, 36), (240, 170, 40), (60, 214, 130))):
            on = index == lit
            at = hy + 0.31 - 0.31 * index
            canvas.polygon(_disc(hx, at, z, 0.125), np.multiply(tone, 1.0 if on else 0.2), LIGHT)
            if on:
                canvas.polygon(_disc(hx, at, z, 0.06), np.multiply(tone, 0.5) + 128, LIGHT)

    def draw(canvas: Canvas) -> None:
        _post(canvas, x, z, KERB, 5.7 if reach else 3.2, 0.09, (92, 98, 100))
        if reach:
            low, high = min(x, x + reach), max(x, x + reach)
            arm = np.array([(low, 5.5, z), (high, 5.5, z), (high, 5.62, z), (low, 5.62, z)])
            canvas.polygon(arm, np.multiply((92, 98, 100), tint(canvas)), POLE)
            head(canvas, x + reach, 5.35)
        head(canvas, x + 0.32 * (np.sign(reach) or -1), 2.9)

    return Thing(z, draw, [np.array([(x - 0.09, 0, z), (x + 0.09, 0, z), (x + 0.09, 5.7, z), (x - 0.09, 5.7, z)])])


def sign(x: float, z: float, kind: str, height: float = 2.5) -> Thing:
    """A road sign: "no entry", "priority", "crossing", "limit" or "parking"."""

    def draw(canvas: Canvas) -> None:
        _post(canvas, x, z, KERB, height + 0.2, 0.035, (150, 154, 158))

        def plate(shape: np.ndarray, colour: Colour) -> None:
            canvas.polygon(shape, np.multiply(colour, tint(canvas) * 0.92), SIGN, (1.06, 0.94))

        if kind == "no entry":
            plate(_disc(x, height, z, 0.34), (240, 240, 240))
            plate(_disc(x, height, z, 0.32), (200, 24, 32))
            plate(np.array([(x - 0.22, height - 0.06, z), (x + 0.22, height - 0.06, z), (x + 0.22, height + 0.06, z),
                            (x - 0.22, height + 0.06, z)]), (244, 244, 244))  # fmt: skip
        elif kind == "limit":
            face = Plane(0.7, 0.7, 180.0, (246, 246, 242))
            face.disc(0.35, 0.35, 0.34, 0.34, (204, 24, 32), SIGN)
            face.disc(0.35, 0.35, 0.25, 0.25, (246, 246, 242), SIGN)
            cv2.putText(face.colour, "30", (28, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.9, (22, 22, 26), 9, cv2.LINE_AA)
            low, high = height - 0.35, height + 0.35
            at = [(x - 0.35, high, z), (x + 0.35, high, z), (x + 0.35, low, z), (x - 0.35, low, z)]
            canvas.decal(face.texture(), np.array(at), tint(canvas) * 0.92)
        elif kind == "priority":
            for r, tone in (
                (0.42, (244, 244, 240)),
                (0.36, (28, 28, 30)),
                (0.34, (244, 244, 240)),
                (0.25, (246, 196, 20)),
            ):
                plate(_disc(x, height, z, r, 4), tone)
        elif kind == "crossing":
            square = _disc(x, height, z, 0.46, 4, np.pi / 4)
            plate(square, (28, 84, 176))
            plate(_disc(x, height - 0.05, z, 0.27, 3), (246, 246, 246))
            plate(_disc(x, height + 0.03, z, 0.045), (20, 20, 24))
            legs = [
                (x - 0.1, height - 0.17, z),
                (x, height - 0.01, z),
                (x + 0.1, height - 0.17, z),
                (x, height - 0.1, z),
            ]
            plate(np.array(legs), (20, 20, 24))
        else:
            plate(_disc(x, height, z, 0.44, 4, np.pi / 4), (28, 84, 176))
            plate(np.array([(x - 0.12, height - 0.2, z), (x - 0.05, height - 0.2, z), (x - 0.05, height + 0.2, z),
                            (x - 0.12, height + 0.2, z)]), (246, 246, 246))  # fmt: skip
            plate(_disc(x + 0.02, height + 0.09, z, 0.12), (246, 246, 246))
            plate(_disc(x + 0.02, height + 0.09, z, 0.055), (28, 84, 176))

    return Thing(z, draw, [np.array([(x - 0.05, 0, z), (x + 0.05, 0, z), (x + 0.3, height, z), (x - 0.3, height, z)])])


def _post(
    canvas: Canvas, x: float, z: float, y0: float, y1: float, r: float, colour: Colour, label: int = POLE
) -> None:
    for x0, x1, tone in ((-r, 0.2 * r, 1.12), (0.2 * r, r, 0.75)):
        quad = np.array([(x + x0, y0, z), (x + x1, y0, z), (x + x1, y1, z), (x + x0, y1, z)])
        canvas.polygon(quad, np.multiply(colour, tone) * tint(canvas), label)


def _disc(x: float, y: float, z: float, r: float, sides: int = 32, turn: float = 0.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False) + turn
    return np.stack([x + r * np.sin(angle), y + r * np.cos(angle), np.full(sides, z)], axis=1)
