"""What stands in the street: things that draw themselves and cast shadows, convex solids, upright painted planes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from train.scenes import Canvas, Colour, Texture

KERB = 0.13  # metres, height of the pavements above the road


@dataclass
class Thing:
    """Something that stands in the street: its distance orders the painting, its hulls cast the shadows."""

    z: float
    draw: Callable[[Canvas], None]
    hulls: Sequence[np.ndarray] = ()
    contact: np.ndarray | None = None  # outline on the ground that lies in the thing's own dark


@dataclass
class Face:
    """One side of a solid, with what is painted on it afterwards."""

    points: np.ndarray
    colour: Colour
    gradient: tuple[float, float] = (1.04, 0.86)
    details: Sequence[tuple[np.ndarray, Colour, tuple[float, float]]] = ()


def to_world(points: np.ndarray, x: float, z: float, yaw: float) -> np.ndarray:
    """Local (across, up, along) to world; yaw 0 drives away from the camera, pi towards it."""
    across, up, along = np.asarray(points, np.float64).T
    return np.stack([
        x + across * np.cos(yaw) + along * np.sin(yaw), up, z - across * np.sin(yaw) + along * np.cos(yaw)
    ], axis=1)  # fmt: skip


def draw_solid(canvas: Canvas, faces: Sequence[Face], label: int, place: tuple[float, float, float]) -> None:
    """Draw the faces of a convex solid that look at the camera, far ones first, lit by the sun."""
    eye = np.array([canvas.camera.x, canvas.camera.y, 0.0])
    heart = np.mean([to_world(face.points, *place).mean(axis=0) for face in faces], axis=0)
    eye[0] -= canvas.camera.bend * heart[2] ** 2  # the camera as the bent world sees it
    visible = []
    for face in faces:
        points = to_world(face.points, *place)
        normal = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
        normal /= max(np.linalg.norm(normal), 1e-9)
        centre = points.mean(axis=0)
        if np.dot(normal, centre - heart) < 0:
            normal = -normal
        if np.dot(normal, eye - centre) > 0:
            visible.append((np.linalg.norm(centre - eye), points, normal, face))
    for _, points, normal, face in sorted(visible, key=lambda item: -item[0]):
        canvas.polygon(points, canvas.light.lit(face.colour, normal), label, face.gradient)
        for detail, colour, gradient in face.details:
            canvas.polygon(to_world(detail, *place), canvas.light.lit(colour, normal), label, gradient)


def inset(quad: np.ndarray, u0: float, u1: float, v0: float, v1: float) -> np.ndarray:
    """Part of a quad (lower left, lower right, upper right, upper left), u along its base, v up."""
    a, b, c, d = np.asarray(quad, np.float64)
    return np.array([
        (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))
    ])  # fmt: skip


def block(width: float, y0: float, y1: float, l0: float, l1: float, paint: Colour) -> dict[str, Face]:
    """A box with named faces; quads start lower left as seen from outside."""
    w = width / 2
    quads = {
        "rear": [(-w, y0, l0), (w, y0, l0), (w, y1, l0), (-w, y1, l0)],
        "front": [(w, y0, l1), (-w, y0, l1), (-w, y1, l1), (w, y1, l1)],
        "left": [(-w, y0, l1), (-w, y0, l0), (-w, y1, l0), (-w, y1, l1)],
        "right": [(w, y0, l0), (w, y0, l1), (w, y1, l1), (w, y1, l0)],
        "top": [(-w, y1, l0), (w, y1, l0), (w, y1, l1), (-w, y1, l1)],
    }
    return {name: Face(np.array(quad, np.float64), paint, (1.03, 0.88), []) for name, quad in quads.items()}


def billboard(texture: Texture, x: float, z: float, width: float, height: float, base: float = 0.0) -> Thing:
    """A painted plane that faces the camera."""
    left, right, top = x - width / 2, x + width / 2, base + height
    corners = np.array([(left, top, z), (right, top, z), (right, base, z), (left, base, z)])
    body = np.array([(x + s * width * 0.22, y, z) for s in (-1, 1) for y in (base, top)])
    foot = np.array([(x + width * 0.32 * np.cos(a), base, z + 0.22 * np.sin(a)) for a in np.linspace(0, 6, 10)])
    return Thing(z, lambda canvas: canvas.decal(texture, corners, tint(canvas)), [body], foot)


def tint(canvas: Canvas) -> np.ndarray:
    """Light on things whose texture has its own shading."""
    return np.asarray(canvas.light.ambient) + 0.75 * np.asarray(canvas.light.sun)
