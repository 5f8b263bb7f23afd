"""A painter for street scenes: a pinhole camera and a canvas that draws picture and label in the same stroke.

World coordinates are metres: x to the right, y up from the road, z ahead of the camera. Whoever paints goes from far
to near (painter's algorithm), so the label of a pixel is always that of the surface seen there. The canvas is
SUPERSAMPLE times finer than the result: the picture is averaged down, the label is read at each pixel's centre and
stays exact. Colours are RGB, 0..255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

SUPERSAMPLE = 3
NEAR = 0.8  # metres; everything closer is cut off
HOLE = 254  # label of the see-through texels of a texture
UNLABELLED = 255
ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN, VEGETATION, TERRAIN = range(10)
SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(10, 19)

Colour = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along +z. Lengths on the sensor are fractions of the picture's width or height."""

    width: int  # canvas pixels
    height: int
    x: float = 0.0  # metres from the middle of the road
    y: float = 1.5  # metres above the road
    focal: float = 0.8  # of the width: 64 degrees across
    horizon: float = 0.46  # of the height
    bend: float = 0.0  # 1/m: the world shifts sideways by bend * z^2, so that roads curve

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) metres with z > 0 to (N, 2) canvas pixels."""
        x, y, z = np.asarray(points, np.float64).T
        scale = self.focal * self.width / z
        u = self.width / 2 + (x + self.bend * z**2 - self.x) * scale
        return np.stack([u, self.horizon * self.height + (self.y - y) * scale], axis=1)

    def ground(self, level: float = 0.0) -> tuple[int, np.ndarray, np.ndarray]:
        """Where the rays below the horizon meet the plane y = level: first row, x and z, both (rows, width) float32."""
        top = int(self.horizon * self.height) + 2
        rows = np.arange(top, self.height, dtype=np.float32)[:, None] + 0.5
        z = self.focal * self.width * (self.y - level) / (rows - self.horizon * self.height)
        columns = np.arange(self.width, dtype=np.float32)[None] + 0.5 - self.width / 2
        x = columns * z / (self.focal * self.width) + self.x - self.bend * z**2
        return top, x.astype(np.float32), np.broadcast_to(z, x.shape).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """Sun and sky. A lit colour is colour * (ambient + sun * cos(angle to the sun))."""

    towards: tuple[float, float, float]  # direction to the sun, any length
    sun: Colour = (0.62, 0.58, 0.5)
    ambient: Colour = (0.52, 0.56, 0.62)
    haze: Colour = (200, 214, 228)
    clear_distance: float = 260.0  # metres after which 63 % of a colour is haze
    shadow: float = 0.5  # darkening of the ground in a cast shadow

    @property
    def direction(self) -> np.ndarray:
        vector = np.array(self.towards, np.float64)
        return vector / np.linalg.norm(vector)

    def lit(self, colour: Colour | np.ndarray, normal: Colour) -> np.ndarray:
        """Colour of a matt surface with the given unit normal."""
        facing = max(0.0, float(np.dot(normal, self.direction)))
        return np.asarray(colour, np.float64) * (np.asarray(self.ambient) + facing * np.asarray(self.sun))


@dataclass
class Texture:
    """A painted plane: colour (h, w, 3) uint8 and label (h, w) uint8 with HOLE where one sees through."""

    colour: np.ndarray
    label: np.ndarray


@dataclass
class Canvas:
    """Picture and label under the brush."""

    camera: Camera
    light: Light
    image: np.ndarray = field(init=False)
    label: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.image = np.zeros((self.camera.height, self.camera.width, 3), np.uint8)
        self.label = np.full((self.camera.height, self.camera.width), UNLABELLED, np.uint8)
        small = (self.camera.height // SUPERSAMPLE, self.camera.width // SUPERSAMPLE)
        self._shadow = np.zeros(small, np.float32)

    def hazy(self, colour: Colour | np.ndarray, z: float | np.ndarray) -> np.ndarray:
        """The colour seen through z metres of air."""
        veil = 1 - np.exp(-np.asarray(z, np.float64) / self.light.clear_distance)
        return np.asarray(colour) * (1 - veil) + np.asarray(self.light.haze) * veil

    def polygon(
        self, points: np.ndarray, colour: Colour, label: int, gradient: tuple[float, float] = (1.0, 1.0)
    ) -> None:
        """Fill a planar polygon, (N, 3) metres; gradient multiplies the colour at its top and at its bottom edge."""
        points = clip_near(points)
        if len(points) < 3:
            return
        corners = self.camera.project(points)
        colour = self.hazy(colour, points[:, 2].mean())
        low = np.floor(corners.min(axis=0)).astype(int).clip(0)
        high = np.ceil(corners.max(axis=0)).astype(int) + 1
        high = np.minimum(high, (self.camera.width, self.camera.height))
        if (high <= low).any():
            return
        region = np.s_[low[1] : high[1], low[0] : high[0]]
        inside = np.zeros(self.label[region].shape, np.uint8)
        cv2.fillPoly(inside, [np.rint((corners - low) * 16).astype(np.int32)], 1, shift=4)
        inside = inside.astype(bool)
        top, bottom = corners[:, 1].min(), corners[:, 1].max()
        ramp = (np.arange(low[1], high[1]) - top) / max(1.0, bottom - top)
        factor = gradient[0] + (gradient[1] - gradient[0]) * ramp.clip(0, 1)
        paint = (factor[:, None] * colour).clip(0, 255).astype(np.uint8)  # one colour per row
        self.image[region][inside] = np.broadcast_to(paint[:, None], (*inside.shape, 3))[inside]
        self.label[region][inside] = label

    def decal(self, texture: Texture, corners: np.ndarray, light: Colour = (1.0, 1.0, 1.0)) -> None:
        """Put a texture on a quad: (4, 3) metres in the order top left, top right, bottom right, bottom left."""
        corners = np.asarray(corners, np.float64)
        if corners[:, 2].min() < NEAR:
            return
        quad = self.camera.project(corners)
        low = np.floor(quad.min(axis=0)).astype(int).clip(0)
        high = np.minimum(np.ceil(quad.max(axis=0)).astype(int) + 1, (self.camera.width, self.camera.height))
        if (high - low < 1).any():
            return
        edges = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
        width = int(np.clip(max(edges[0], edges[2]), 2, texture.label.shape[1]))
        height = int(np.clip(max(edges[1], edges[3]), 2, texture.label.shape[0]))
        # Averaged down to the size on the canvas first: sampling a far facade directly would shimmer.
        colour = cv2.resize(texture.colour, (width, height), interpolation=cv2.INTER_AREA)
        label = cv2.resize(texture.label, (width, height), interpolation=cv2.INTER_NEAREST)
        source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
        matrix = cv2.getPerspectiveTransform(source, (quad - low).astype(np.float32))
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        colour = cv2.warpPerspective(colour, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        label = cv2.warpPerspective(
            label, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=HOLE
        )
        solid = label != HOLE
        region = np.s_[low[1] : high[1], low[0] : high[0]]
        paint = self.hazy(colour[solid] * np.asarray(light), corners[:, 2].mean())
        self.image[region][solid] = paint.clip(0, 255).astype(np.uint8)
        self.label[region][solid] = label[solid]

    def cast(self, points: np.ndarray, strength: float = 1.0) -> None:
        """Remember the shadow of a convex hull of (N, 3) points, on the level of the lowest; settle() applies it."""
        points = np.asarray(points, np.float64)
        sun = self.light.direction
        level = points[:, 1].min()  # pavements lie above the road
        fallen = points - sun * ((points[:, 1:2] - level) / max(sun[1], 0.05))
        hull = cv2.convexHull(fallen[:, [0, 2]].astype(np.float32))[:, 0].astype(np.float64)
        outline = clip_near(np.stack([hull[:, 0], np.full(len(hull), level), hull[:, 1]], axis=1))
        if len(outline) >= 3:
            corners = self.camera.project(outline) / SUPERSAMPLE
            layer = np.zeros_like(self._shadow)
            cv2.fillPoly(layer, [np.rint(corners.clip(-2e4, 2e4) * 16).astype(np.int32)], strength, shift=4)
            np.maximum(self._shadow, layer, out=self._shadow)

    def settle(self, softness: float = 1.2) -> None:
        """Darken the ground by all cast shadows. Call it once the ground is painted and nothing else stands on it."""
        soft = cv2.GaussianBlur(self._shadow, (0, 0), softness)
        soft = cv2.resize(soft, (self.camera.width, self.camera.height), interpolation=cv2.INTER_LINEAR)
        rows = slice(int(self.camera.horizon * self.camera.height), None)
        dark = 1 - self.light.shadow * soft[rows, :, None] * np.array([1.0, 0.97, 0.9], np.float32)  # skylight is blue
        ground = np.isin(self.label[rows], (ROAD, SIDEWALK, TERRAIN))[..., None]
        self.image[rows] = np.where(ground, self.image[rows] * dark, self.image[rows]).astype(np.uint8)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """The finished picture (H, W, 3) uint8 and its label (H, W) uint8, in the size that was asked for."""
        size = (self.camera.width // SUPERSAMPLE, self.camera.height // SUPERSAMPLE)
        middle = SUPERSAMPLE // 2
        picture = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        return picture, self.label[middle::SUPERSAMPLE, middle::SUPERSAMPLE].copy()


def clip_near(points: np.ndarray) -> np.ndarray:
    """The part of a polygon beyond the near plane (Sutherland and Hodgman 1974). (N, 3) to (M, 3), M may be 0."""
    points = np.asarray(points, np.float64)
    kept = []
    for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
        if a[2] >= NEAR:
            kept.append(a)
        if (a[2] >= NEAR) != (b[2] >= NEAR):
            kept.append(a + (b - a) * (NEAR - a[2]) / (b[2] - a[2]))
    return np.array(kept).reshape(-1, 3)


def noise(rng: np.random.Generator, height: int, width: int, cells: int = 8, octaves: int = 4) -> np.ndarray:
    """Smooth fractal noise, (height, width) float32 in about [-1, 1]; cells across the first octave."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        across = cells * 2**octave
        grid = rng.uniform(-1, 1, (max(2, across * height // width), max(2, across))).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return total / 1.6
