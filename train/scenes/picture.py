"""From a street to its picture and label: what is painted when, the own bonnet, and what a camera adds."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from train.scenes import SUPERSAMPLE, UNLABELLED, Canvas, Colour
from train.scenes.backdrop import close_view, paint_sky
from train.scenes.ground import paint_ground
from train.scenes.streets import STREETS, Street


def draw_street(kind: int, seed: int, size: tuple[int, int] = (1024, 512)) -> tuple[np.ndarray, np.ndarray, Street]:
    """Draw one street.

    kind: index into STREETS; seed: same seed, same picture; size: (width, height) in pixels.
    Returns: picture (H, W, 3) uint8 RGB, label (H, W) uint8 train ids with 255 on the own bonnet, the Street.
    """
    rng = np.random.default_rng([seed, kind])
    street = STREETS[kind](rng, (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE))
    canvas = Canvas(street.camera, street.light)
    paint_sky(canvas, rng, *street.sky)
    paint_ground(canvas, rng, street.ground)
    everything = street.frontage + street.things
    for thing in everything:
        for hull in thing.hulls:
            canvas.cast(hull, 0.95)
        if thing.contact is not None:
            canvas.cast(thing.contact, 1.35)
    canvas.settle(softness=size[0] / 700)
    close_view(canvas, rng, street.leaves)
    for thing in sorted(street.frontage, key=lambda t: -t.z) + sorted(street.things, key=lambda t: -t.z):
        thing.draw(canvas)
    paint_hood(canvas, street.hood)
    picture, label = canvas.result()
    return develop(picture, rng), label, street


def paint_hood(canvas: Canvas, colour: Colour) -> None:
    """The bonnet of the camera's own car, unlabelled as in Cityscapes."""
    h, w = canvas.label.shape
    x = (np.arange(w) - w / 2) / (w / 2)
    edge = h * (0.945 + 0.05 * x**2)
    rows = np.arange(h)[int(h * 0.93) :, None]
    depth = (rows - edge[None]) / (h * 0.06)
    inside = depth >= 0
    tone = np.asarray(colour) * (0.62 + 0.9 * np.exp(-((depth - 0.12) ** 2) / 0.02) + 0.25 * (1 - np.abs(x)))[..., None]
    region = np.s_[h - len(rows) :, :]
    canvas.image[region][inside] = tone[inside].clip(0, 255).astype(np.uint8)
    canvas.label[region][inside] = UNLABELLED


def develop(picture: np.ndarray, rng: Generator) -> np.ndarray:
    """What a camera adds: a little bloom, vignette, contrast and grain. (H, W, 3) uint8 to the same."""
    h, w = picture.shape[:2]
    image = picture.astype(np.float32)
    bright = cv2.GaussianBlur((image - 205).clip(0), (0, 0), w / 80)
    image += 0.7 * bright
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    image *= (1 - 0.16 * ((x**2 + y**2) / 2) ** 1.5)[..., None].astype(np.float32)
    unit = (image / 255).clip(0, 1)
    image = 255 * (0.75 * unit + 0.25 * unit * unit * (3 - 2 * unit))
    image += cv2.GaussianBlur(rng.normal(0, 3.2, (h, w, 1)).astype(np.float32), (0, 0), 0.6)[..., None]
    image += rng.normal(0, 1.2, (h, w, 3)).astype(np.float32)
    return image.clip(0, 255).astype(np.uint8)
