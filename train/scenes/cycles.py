"""Bicycles and motorcycles, alone or with a rider. Front to +y."""

from __future__ import annotations

import numpy as np

from train.scenes import BICYCLE, MOTORCYCLE
from train.scenes.mesh import Colour, Mesh


def bicycle(colour: Colour, basket: bool = False) -> Mesh:
    """A town bicycle of tubes with spoked wheels, mudguards, saddle, and a basket if asked."""
    mesh, r = Mesh(), 0.34
    for y in (-0.52, 0.54):
        _hoop(mesh, (0, y, r), r, 0.022, "rubber", "#141414", BICYCLE)
        _hoop(mesh, (0, y, r), r - 0.035, 0.012, "metal", "#b4b6b8", BICYCLE)
        for a in np.arange(0, np.pi, np.pi / 7):
            d = np.array([0, np.cos(a), np.sin(a)]) * (r - 0.03)
            mesh.tube([np.array([0, y, r]) - d, np.array([0, y, r]) + d], 0.004, "metal", BICYCLE, "#9a9c9e", 3, False)
        arc = np.linspace(0.3, 2.6, 9)
        guard = np.stack([np.zeros(9), y + (r + 0.05) * np.cos(arc), r + (r + 0.05) * np.sin(arc)], axis=1)
        mesh.tube(guard, 0.03, "painted", BICYCLE, "#1d1e20", 5)
    crank, seat, head = (0, -0.08, 0.29), (0, -0.2, 0.82), (0, 0.36, 0.86)
    for line in (
        (crank, seat),
        (crank, (0, 0.37, 0.72)),
        (seat, (0, 0.37, 0.76)),
        (seat, (0, -0.52, r)),
        (crank, (0, -0.52, r)),
        (head, (0, 0.54, r)),
    ):
        mesh.tube(line, 0.021, "painted", BICYCLE, colour, 7)
    mesh.tube([head, (0, 0.3, 1.05)], 0.016, "metal", BICYCLE, "#a0a2a4", 6)
    mesh.tube([(-0.28, 0.14, 1.06), (-0.2, 0.28, 1.07), (0, 0.3, 1.06), (0.2, 0.28, 1.07), (0.28, 0.14, 1.06)], 0.014,
              "metal", BICYCLE, "#3a3b3c", 6)  # fmt: skip
    mesh.box((-0.08, -0.36, 0.9), (0.08, -0.1, 0.97), "rubber", BICYCLE, "#191716")
    mesh.tube([seat, (0, -0.23, 0.92)], 0.014, "metal", BICYCLE, "#a0a2a4", 6)
    mesh.disc((0.05, -0.08, 0.29), 0.09, "metal", BICYCLE, "#55575a", "x", 12, 0.01)
    mesh.box((-0.09, -0.8, 0.72), (0.09, -0.35, 0.74), "metal", BICYCLE, "#2a2b2c")
    mesh.box((-0.04, -0.89, 0.62), (0.04, -0.85, 0.7), "tail lamp", BICYCLE, "#8d1010")
    mesh.box((-0.04, 0.44, 0.86), (0.04, 0.5, 0.94), "head lamp", BICYCLE, "#dde2e6")
    if basket:
        mesh.box((-0.17, 0.38, 0.86), (0.17, 0.66, 1.1), "wicker", BICYCLE, "#8c6a44", without="t")
    return mesh


def motorcycle(kind: str) -> Mesh:
    """ "scooter" or "motorcycle", bodywork in the colour of the copy."""
    mesh = Mesh()
    r = 0.24 if kind == "scooter" else 0.31
    ends = (-0.6, 0.66) if kind == "scooter" else (-0.7, 0.75)
    for y in ends:
        mesh.disc((0, y, r), r, "rubber", MOTORCYCLE, "#121212", "x", 20, 0.13)
        mesh.disc((0, y, r), r * 0.62, "metal", MOTORCYCLE, "#7d8084", "x", 16, 0.14)
    fork = [(0, ends[1], r), (0, ends[1] - 0.22, 0.8), (0, ends[1] - 0.3, 1.02)]
    for x in (-0.08, 0.08):
        mesh.tube(np.array(fork) + (x, 0, 0), 0.028, "metal", MOTORCYCLE, "#8d9094", 6)
    bar = ends[1] - 0.3
    mesh.tube(
        [(-0.38, bar - 0.08, 1.04), (-0.1, bar, 1.05), (0.1, bar, 1.05), (0.38, bar - 0.08, 1.04)],
        0.02,
        "rubber",
        MOTORCYCLE,
        "#1b1b1b",
        6,
    )
    for x in (-0.4, 0.4):
        mesh.disc((x, bar - 0.05, 1.2), 0.07, "gloss", MOTORCYCLE, "#15171a", "y", 12, 0.02)
        mesh.tube([(x * 0.8, bar - 0.05, 1.06), (x, bar - 0.05, 1.16)], 0.01, "rubber", MOTORCYCLE, "#1b1b1b", 5)
    if kind == "scooter":
        shield = [(-0.2, bar + 0.12, 0.3), (0.2, bar + 0.12, 0.3), (0.15, bar + 0.05, 1.0), (-0.15, bar + 0.05, 1.0)]
        mesh.quads([shield, shield[::-1]], "car paint", MOTORCYCLE)
        mesh.box((-0.17, -0.2, 0.24), (0.17, bar + 0.1, 0.32), "rubber", MOTORCYCLE, "#202122")
        _pod(mesh, -0.42, 0.52, 0.2, 0.5, 0.27, "car paint", "#ffffff")
        mesh.box((-0.15, -0.72, 0.76), (0.15, 0.02, 0.85), "rubber", MOTORCYCLE, "#191717")
        mesh.box((-0.18, -1.0, 0.86), (0.18, -0.68, 1.16), "painted", MOTORCYCLE, "#222426")
    else:
        _pod(mesh, 0.16, 0.88, 0.17, 0.32, 0.15, "car paint", "#ffffff")
        _pod(mesh, -0.55, 0.84, 0.14, 0.36, 0.09, "car paint", "#ffffff")
        mesh.box((-0.14, -0.6, 0.8), (0.14, 0.0, 0.88), "rubber", MOTORCYCLE, "#191717")
        mesh.box((-0.16, -0.25, 0.32), (0.16, 0.3, 0.68), "metal", MOTORCYCLE, "#3b3d40")
        mesh.tube([(0.17, 0.2, 0.35), (0.19, -0.3, 0.3), (0.21, -0.85, 0.42)], 0.05, "metal", MOTORCYCLE, "#8d9094", 8)
    mesh.disc((0, bar + 0.16, 0.9), 0.1, "head lamp", MOTORCYCLE, "#dfe5ea", "y", 14, 0.08)
    mesh.box((-0.08, ends[0] - 0.32, 0.7), (0.08, ends[0] - 0.27, 0.78), "tail lamp", MOTORCYCLE, "#8d1010")
    mesh.quads([(-0.09, ends[0] - 0.33, 0.48), (0.09, ends[0] - 0.33, 0.48), (0.09, ends[0] - 0.33, 0.62),
                (-0.09, ends[0] - 0.33, 0.62)], "plate", MOTORCYCLE, uv=[[(0, 0), (1, 0), (1, 1), (0, 1)]])  # fmt: skip
    return mesh


def _hoop(mesh: Mesh, centre, radius: float, thick: float, surface: str, colour: Colour, label: int) -> None:
    angle = np.linspace(0, 2 * np.pi, 29)
    ring = np.stack([np.zeros(29), radius * np.cos(angle), radius * np.sin(angle)], axis=1) + np.asarray(centre)
    mesh.tube(ring, thick, surface, label, colour, 5, False)


def _pod(mesh: Mesh, y: float, z: float, rx: float, ry: float, rz: float, surface: str, colour: Colour) -> None:
    """An egg of bodywork."""
    u, v = np.meshgrid(np.linspace(0, np.pi, 9), np.linspace(0, 2 * np.pi, 15), indexing="ij")
    net = np.stack([rx * np.sin(u) * np.cos(v), y + ry * np.sin(u) * np.sin(v), z + rz * np.cos(u)], axis=-1)
    mesh.grid(net[:, ::-1], surface, MOTORCYCLE, colour)
