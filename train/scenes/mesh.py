"""Meshes as arrays: patches of triangles or quads, each of one surface and one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Colour = str | Sequence[float]


@dataclass
class Patch:
    """Faces of one surface and class.

    surface: a name of `surfaces.SURFACES`. label: train id. vertices: (V, 3) float. faces: (F, 3 or 4) int. uv: (F, 3
    or 4, 2) float, metres along the surface. colour: (F, 3) linear RGB. smooth: shade across soft edges.
    """

    surface: str
    label: int
    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    colour: np.ndarray
    smooth: bool = False


def linear(colour: Colour) -> np.ndarray:
    """ "#rrggbb" (sRGB) or three linear values, to (3,) linear RGB."""
    if not isinstance(colour, str):
        return np.asarray(colour, np.float64)
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


class Mesh:
    """A list of patches with ways to add to it. Every shape takes its surface, class and colour last."""

    def __init__(self) -> None:
        self.patches: list[Patch] = []

    def add(self, vertices, faces, surface: str, label: int, colour: Colour = (1, 1, 1), uv=None, smooth=False) -> None:
        """Add a patch. colour: one for all faces, or (F, 3) linear. uv: default is a box projection in metres."""
        vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
        colour = np.broadcast_to(linear(colour), (len(faces), 3))
        uv = box_projection(vertices[faces]) if uv is None else np.asarray(uv, np.float64)
        self.patches.append(Patch(surface, label, vertices, faces, uv, colour, smooth))

    def quads(self, corners, surface: str, label: int, colour: Colour = (1, 1, 1), uv=None, smooth=False) -> None:
        """corners: (N, 4, 3) or (4, 3), counter-clockwise seen from outside."""
        corners = np.asarray(corners, np.float64).reshape(-1, 4, 3)
        faces = np.arange(len(corners) * 4).reshape(-1, 4)
        self.add(corners.reshape(-1, 3), faces, surface, label, colour, uv, smooth)

    def box(self, low, high, surface: str, label: int, colour: Colour = (1, 1, 1), without: str = "") -> None:
        """An upright box. without: faces left out, of "lrfbtd" (left, right, front +y, back, top, down)."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        sides = {
            "l": [(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)],
            "r": [(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)],
            "f": [(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)],
            "b": [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)],
            "t": [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)],
            "d": [(x0, y1, z0), (x1, y1, z0), (x1, y0, z0), (x0, y0, z0)],
        }
        self.quads([q for name, q in sides.items() if name not in without], surface, label, colour)

    def grid(
        self, points, surface: str, label: int, colour: Colour = (1, 1, 1), closed=False, uv=None, smooth=True
    ) -> None:
        """A net over (n, m, 3) points; closed joins the last column to the first. uv: (n, m, 2) per point. colour may
        be (n - 1, m - 1, 3) linear."""
        points = np.asarray(points, np.float64)
        n, m = points.shape[:2]
        index = np.arange(n * m).reshape(n, m)
        if closed:
            index = np.concatenate([index, index[:, :1]], axis=1)
        faces = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], axis=-1).reshape(-1, 4)
        if not isinstance(colour, str) and np.ndim(colour) == 3:
            colour = np.asarray(colour).reshape(-1, 3)
        corner_uv = None if uv is None else np.asarray(uv, np.float64).reshape(-1, 2)[faces]
        self.add(points.reshape(-1, 3), faces, surface, label, colour, corner_uv, smooth)

    def tube(self, points, radius, surface: str, label: int, colour: Colour = (1, 1, 1), sides=8, caps=True) -> None:
        """A pipe along (n, 3) points. radius: one, or one a point."""
        points = np.asarray(points, np.float64)
        radius = np.broadcast_to(radius, len(points))
        along = np.gradient(points, axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True).clip(1e-9)
        mean = np.abs(along.mean(axis=0))
        helper = np.eye(3)[int(np.argmin(mean))]
        side = np.cross(along, helper)
        side /= np.linalg.norm(side, axis=1, keepdims=True).clip(1e-9)
        up = np.cross(side, along)
        angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
        ring = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * up[:, None]
        net = points[:, None] + ring * radius[:, None, None]
        length = np.concatenate([[0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
        around = np.arange(sides + 1) / sides * 2 * np.pi * float(radius.max())
        uv = np.stack(np.broadcast_arrays(around[None], length[:, None]), axis=-1)
        closed = np.concatenate([net, net[:, :1]], axis=1)
        self.grid(closed[:, ::-1], surface, label, colour, uv=uv[:, ::-1])
        if caps:
            for end, order in ((0, 1), (-1, -1)):
                self.fan(net[end][::order], surface, label, colour)

    def fan(self, ring, surface: str, label: int, colour: Colour = (1, 1, 1)) -> None:
        """A flat convex polygon, (n, 3), as triangles around its middle."""
        ring = np.asarray(ring, np.float64)
        n = len(ring)
        faces = np.stack([np.full(n, n), np.arange(n), (np.arange(n) + 1) % n], axis=1)
        self.add(np.concatenate([ring, ring.mean(axis=0, keepdims=True)]), faces, surface, label, colour)

    def lathe(self, profile, surface: str, label: int, colour: Colour = (1, 1, 1), sides=12, centre=(0, 0, 0)) -> None:
        """Turn a profile of (radius, z) about the upright axis through centre."""
        profile = np.asarray(profile, np.float64)
        angle = np.linspace(0, 2 * np.pi, sides + 1)
        x, y = np.cos(angle), np.sin(angle)
        net = np.stack(np.broadcast_arrays(profile[:, :1] * x, profile[:, :1] * y, profile[:, 1:]), axis=-1)
        self.grid(net + np.asarray(centre), surface, label, colour)

    def disc(self, centre, radius: float, surface: str, label: int, colour: Colour, axis="x", sides=20, thick=0.0):
        """A round plate about an axis "x" or "y", thick along it and centred."""
        angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
        cos, sin = radius * np.cos(angle), radius * np.sin(angle)
        for sign in (-1, 1):
            level = np.full(sides, sign * thick / 2)
            ring = np.stack([level, cos, sin] if axis == "x" else [cos, level, sin], axis=1)
            outwards = sign if axis == "x" else -sign
            self.fan((ring + np.asarray(centre))[::outwards], surface, label, colour)
        if thick:
            ends = np.asarray(centre) + np.outer((-thick / 2, thick / 2), np.eye(3)["xy".index(axis)])
            self.tube(ends, radius, surface, label, colour, sides, caps=False)

    def join(self, other: Mesh, offsets=((0.0, 0.0, 0.0),), heading: float = 0.0, scale=1.0) -> None:
        """Add copies of another mesh, turned by heading (radians, counter-clockwise), at each of (N, 3) offsets."""
        offsets = np.asarray(offsets, np.float64).reshape(-1, 3)
        if not len(offsets):
            return
        turn = rotation(heading)
        for p in other.patches:
            moved = (p.vertices * scale) @ turn.T
            vertices = (offsets[:, None] + moved[None]).reshape(-1, 3)
            faces = (p.faces[None] + np.arange(len(offsets))[:, None, None] * len(p.vertices)).reshape(
                -1, p.faces.shape[1]
            )
            repeat = len(offsets)
            self.patches.append(
                Patch(p.surface, p.label, vertices, faces, np.tile(p.uv, (repeat, 1, 1)),
                      np.tile(p.colour, (repeat, 1)), p.smooth)
            )  # fmt: skip

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner, (3,) each."""
        every = np.concatenate([p.vertices for p in self.patches])
        return every.min(axis=0), every.max(axis=0)

    @property
    def labels(self) -> set[int]:
        return {p.label for p in self.patches}


def rotation(heading: float) -> np.ndarray:
    """Counter-clockwise about z, seen from above, (3, 3)."""
    c, s = np.cos(heading), np.sin(heading)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def box_projection(corners: np.ndarray) -> np.ndarray:
    """(F, k, 3) corners to (F, k, 2) metres in the plane that each face is most parallel to."""
    normal = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    facing = normal.argmax(axis=1)
    planes = np.array([[1, 2], [0, 2], [0, 1]])[facing]
    return np.take_along_axis(corners, np.broadcast_to(planes[:, None], (*corners.shape[:2], 2)), axis=2)
