"""What lies behind every street: the sky with its clouds, and a wood far ahead."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from train.scenes import SKY, Canvas, Colour, noise
from train.scenes.plants import crown, hedge


def paint_sky(canvas: Canvas, rng: Generator, zenith: Colour, rim: Colour, cover: float, glow: Colour | None) -> None:
    """Gradient, clouds on a plane overhead, and a glow around a low sun. Fills the picture above the horizon."""
    camera = canvas.camera
    rows = int(camera.horizon * camera.height) + 3
    rise = (camera.horizon * camera.height - np.arange(rows, dtype=np.float32)[:, None] - 0.5) / (
        camera.focal * camera.width
    )
    across = (np.arange(camera.width, dtype=np.float32)[None] - camera.width / 2) / (camera.focal * camera.width)
    blend = np.sqrt((rise / 0.32).clip(0, 1))[..., None]
    sky = np.asarray(rim, np.float32) * (1 - blend) + np.asarray(zenith, np.float32) * blend
    tile = noise(rng, 1024, 1024, 7, 6)
    height = rise.clip(0.012) + 0.05  # keeps the far clouds from shrinking to nothing
    u, v = np.broadcast_to(across / height, (rows, camera.width)), np.broadcast_to(1 / height, (rows, camera.width))

    def cloud(du: float, dv: float) -> np.ndarray:
        return cv2.remap(tile, np.mod((u + 9 + du) * 95, 1023).astype(np.float32),
                         np.mod((v + dv) * 95, 1023).astype(np.float32), cv2.INTER_LINEAR)  # fmt: skip

    density = ((cloud(0, 0) - 0.55 + cover) * 2.2).clip(0, 1)
    density = density * density * (3 - 2 * density)
    shade = (0.5 + 0.5 * (cloud(0, 0) - cloud(0.25 * np.sign(canvas.light.direction[0]), -0.2))).clip(0, 1)
    white = np.asarray(rim, np.float32) * 0.35 + 165 + 28 * (shade[..., None] - 0.5)
    sky = sky * np.ones((1, camera.width, 1), np.float32)
    sky += (white - sky) * (0.9 * density * (rise / 0.03).clip(0.25, 1))[..., None]
    if glow is not None:
        sun = canvas.light.direction
        ahead = (across - sun[0] / max(sun[2], 0.2)) ** 2 + (rise - sun[1] / max(sun[2], 0.2)) ** 2
        halo = (0.75 * np.exp(-ahead / 0.03) + 0.35 * np.exp(-ahead / 0.4))[..., None]
        sky += (np.asarray(glow, np.float32) - sky) * halo.clip(0, 1)
    canvas.image[:rows] = sky.clip(0, 255).astype(np.uint8)
    canvas.label[:rows] = SKY


def close_view(canvas: Canvas, rng: Generator, leaves: Colour) -> None:
    """A wood far ahead, so that no street ends in bare sky."""
    belt = hedge(rng, 20.0, 1.5, leaves)
    for x in (-180.0, -60.0, 60.0):
        canvas.decal(belt, np.array([(x, 8.0, 235.0), (x + 120, 8.0, 235.0), (x + 120, 0, 235.0), (x, 0, 235.0)]))
    tufts = [crown(rng, np.multiply(leaves, tone), 160, 500, 1.2) for tone in (0.9, 1.0, 1.1)]
    for index, x in enumerate(np.arange(-180, 180, 7.0)):
        z, top, half = rng.uniform(200, 230), rng.uniform(11, 19), rng.uniform(6, 9)
        canvas.decal(
            tufts[index % 3], np.array([(x - half, top, z), (x + half, top, z), (x + half, -2, z), (x - half, -2, z)])
        )
