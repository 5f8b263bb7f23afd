"""Poles, lamps, traffic lights, signs, fences, garden walls, benches and bins. Faces look to -y, at who drives past."""

from __future__ import annotations

import numpy as np

from train.scenes import FENCE, LIGHT, POLE, SIGN, WALL
from train.scenes.mesh import Colour, Mesh, linear

STEEL = "#8b8e90"
# Cells of the picture "signs", 4 across and 4 down, and the outline that each has.
SIGNS = {
    "no entry": "disc",
    "limit 30": "disc",
    "limit 50": "disc",
    "no parking": "disc",
    "ahead": "disc",
    "cycles": "disc",
    "yield": "yield",
    "crossroads": "triangle",
    "children": "triangle",
    "roadworks": "triangle",
    "priority": "diamond",
    "crossing": "square",
    "parking": "square",
    "one way": "square",
    "stop": "octagon",
    "town": "square",
}


def pole(mesh: Mesh, height: float, radius: float = 0.05, colour: Colour = STEEL) -> None:
    mesh.tube([(0, 0, 0), (0, 0, height)], radius, "metal", POLE, colour, 10)


def lamp_post(height: float = 8.0, reach: float = 1.8) -> Mesh:
    """A street lamp whose arm hangs over +x."""
    mesh = Mesh()
    mesh.tube(
        [(0, 0, 0), (0, 0, 1.0), (0, 0, height - 0.6), (reach * 0.15, 0, height - 0.12), (reach, 0, height + 0.08)],
        np.array([0.1, 0.09, 0.06, 0.05, 0.04]),
        "metal",
        POLE,
        STEEL,
        10,
    )
    mesh.box(
        (reach - 0.15, -0.13, height), (reach + 0.55, 0.13, height + 0.13), "painted", POLE, "#5a5d60", without="d"
    )
    mesh.quads([(reach - 0.12, 0.11, height), (reach + 0.52, 0.11, height), (reach + 0.52, -0.11, height),
                (reach - 0.12, -0.11, height)], "street lamp", POLE, "#d8d2c0")  # fmt: skip
    return mesh


def lantern() -> Mesh:
    """An old town's lantern on a cast post."""
    mesh = Mesh()
    mesh.lathe(
        [(0.16, 0), (0.16, 0.25), (0.07, 0.5), (0.055, 3.2), (0.09, 3.3), (0.04, 3.4)], "painted", POLE, "#23282a", 10
    )
    mesh.lathe([(0.1, 3.4), (0.2, 3.85)], "street lamp", POLE, "#d8cfb4", 6)
    mesh.lathe([(0.24, 3.85), (0.1, 4.05), (0.0, 4.15)], "painted", POLE, "#23282a", 6)
    return mesh


def traffic_light(phase: str, reach: float = 0.0) -> Mesh:
    """Three lamps in a black head, facing -y; phase "red", "amber" or "green". reach: metres of a mast arm over -x."""
    mesh = Mesh()
    pole(mesh, 6.2 if reach else 3.3, 0.08 if reach else 0.055, "#6f7375")
    heads = [(0.0, -0.17, 2.35)]
    if reach:
        mesh.tube([(0, 0, 5.9), (-reach, 0, 6.0)], np.array([0.06, 0.045]), "metal", POLE, "#6f7375", 8)
        heads.append((-reach, -0.17, 5.2))
    for x, y, z in heads:
        mesh.box((x - 0.16, y - 0.1, z), (x + 0.16, y + 0.12, z + 0.95), "painted", LIGHT, "#17191a")
        mesh.box((x - 0.24, y + 0.1, z - 0.1), (x + 0.24, y + 0.12, z + 1.05), "painted", LIGHT, "#101112")
        for i, (name, off, on) in enumerate(
            (
                ("green", "#0c2a1c", (0.05, 1.0, 0.45)),
                ("amber", "#3a2a08", (1.0, 0.5, 0.03)),
                ("red", "#360c0a", (1.0, 0.06, 0.03)),
            )
        ):
            centre = (x, y - 0.115, z + 0.17 + 0.305 * i)
            lit = name == phase
            mesh.disc(centre, 0.105, "signal" if lit else "gloss", LIGHT, on if lit else off, "y", 16)
            arc = np.linspace(0.0, np.pi, 8)
            hood = np.stack([x + 0.115 * np.cos(arc), np.full(8, y - 0.1), centre[2] + 0.115 * np.sin(arc)], axis=1)
            mesh.grid(np.stack([hood, hood - (0, 0.16, 0)]), "painted", LIGHT, "#131415")
    return mesh


def sign(names: tuple[str, ...], height: float = 2.3) -> Mesh:
    """A post with one or two plates from `SIGNS`, the lower edge of the lowest at height."""
    mesh = Mesh()
    pole(mesh, height + 0.68 * len(names) - 0.05, 0.035)
    for i, name in enumerate(names):
        plate(mesh, name, (0, -0.05, height + 0.32 + 0.68 * i), 0.32)
    return mesh


def plate(mesh: Mesh, name: str, centre, radius: float) -> None:
    """One sign: its outline cut from the cell of the picture."""
    cell = list(SIGNS).index(name)
    outline = {"disc": (24, 0.0), "triangle": (3, 90), "yield": (3, -90), "diamond": (4, 90), "square": (4, 45),
               "octagon": (8, 22.5)}[SIGNS[name]]  # fmt: skip
    count, start = outline
    angle = np.radians(start) + np.arange(count) * 2 * np.pi / count
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if count == 3:
        ring[:, 1] -= ring[:, 1].mean() + np.sign(start) * 0.12
    if SIGNS[name] == "square":
        ring /= np.abs(ring).max()
    local = np.concatenate([ring, ring.mean(axis=0, keepdims=True)])
    points = np.column_stack([local[:, 0], np.zeros(len(local)), local[:, 1]]) * radius + np.asarray(centre)
    faces = np.stack([np.full(count, count), np.arange(count), (np.arange(count) + 1) % count], axis=1)
    uv = ((local * 0.98 + 1) / 2 + (cell % 4, 3 - cell // 4)) / 4
    mesh.add(points, faces, "signs", SIGN, uv=uv[faces])
    mesh.add(points + (0, 0.012, 0), faces[:, ::-1], "metal", SIGN, "#7a7d80")


def name_board(width: float = 3.2) -> Mesh:
    """A large direction sign on two posts."""
    mesh = Mesh()
    for x in (-width * 0.35, width * 0.35):
        mesh.tube([(x, 0, 0), (x, 0, 3.9)], 0.06, "metal", POLE, STEEL, 8)
    y = -0.08
    mesh.box((-width / 2, y, 2.3), (width / 2, y + 0.04, 3.9), "metal", SIGN, "#7a7d80", without="b")
    mesh.quads(
        [(-width / 2, y, 2.3), (width / 2, y, 2.3), (width / 2, y, 3.9), (-width / 2, y, 3.9)],
        "directions",
        SIGN,
        uv=[[(0, 0), (1, 0), (1, 1), (0, 1)]],
    )
    return mesh


def bollard() -> Mesh:
    mesh = Mesh()
    mesh.lathe([(0.07, 0), (0.07, 0.82), (0.05, 0.9), (0, 0.93)], "painted", POLE, "#4b4f52", 10)
    mesh.lathe([(0.073, 0.66), (0.073, 0.74)], "painted", POLE, "#d8d8d4", 10)
    return mesh


def fence(kind: str, length: float, colour: Colour) -> Mesh:
    """A fence along y from 0: "pickets", "mesh", "railing" or "guard" rail."""
    mesh = Mesh()
    if kind == "guard":
        for y in np.arange(0.5, length, 2.0):
            mesh.box((-0.06, y - 0.05, 0), (0.06, y + 0.05, 0.72), "metal", FENCE, "#7f8285")
        profile = np.array([(-0.08, 0.42), (-0.13, 0.5), (-0.08, 0.57), (-0.13, 0.65), (-0.08, 0.73)])
        net = np.stack([np.column_stack([profile[:, 0], np.full(5, y), profile[:, 1]]) for y in (0, length)])
        mesh.grid(net, "metal", FENCE, "#9a9da0")
        return mesh
    height = {"pickets": 1.0, "mesh": 1.7, "railing": 1.05}[kind]
    step = {"pickets": 0.13, "mesh": 0.09, "railing": 0.12}[kind]
    wide = {"pickets": 0.045, "mesh": 0.004, "railing": 0.011}[kind]
    surface = "wood" if kind == "pickets" else "painted"
    bars = Mesh()
    bars.box(
        (-wide / 2 if kind != "pickets" else -0.012, -wide, 0.06),
        (wide / 2 if kind != "pickets" else 0.012, wide, height),
        surface,
        FENCE,
        colour,
        without="d",
    )
    mesh.join(bars, [(0, y, 0) for y in np.arange(step / 2, length, step)])
    for z in (0.2, height - 0.12) if kind != "mesh" else np.arange(0.1, height, 0.1):
        size = 0.03 if kind != "mesh" else 0.004
        mesh.box((0.012, 0, z), (0.012 + size, length, z + size * 1.5), surface, FENCE, colour)
    for y in np.arange(0, length + 0.1, 2.0 if kind != "mesh" else 2.5):
        mesh.box((-0.04, y - 0.04, 0), (0.05, y + 0.04, height + 0.05), surface, FENCE, colour)
    return mesh


def garden_wall(kind: str, length: float, height: float, colour: Colour) -> Mesh:
    """A wall along y from 0, "brick", "stone" or "concrete", with a coping and pillars."""
    mesh = Mesh()
    mesh.box((-0.13, 0, 0), (0.13, length, height), kind, WALL, colour, without="d")
    mesh.box((-0.18, 0, height), (0.18, length, height + 0.07), "concrete", WALL, linear("#a9a498"))
    for y in np.arange(0, length + 0.1, 4.0):
        mesh.box((-0.2, y - 0.2, 0), (0.2, y + 0.2, height + 0.22), kind, WALL, linear(colour) * 0.95)
    return mesh


def bin_(colour: Colour) -> Mesh:
    """A litter bin; Cityscapes counts such things as nothing, so its class is 255."""
    mesh = Mesh()
    mesh.lathe([(0.2, 0.1), (0.24, 0.85), (0.25, 0.9), (0.0, 0.98)], "painted", 255, colour, 12)
    return mesh


def bench() -> Mesh:
    """A park bench along y; of class 255 as the bin is."""
    mesh = Mesh()
    for x in (-0.2, -0.05, 0.1):
        mesh.box((x, -0.8, 0.43), (x + 0.12, 0.8, 0.46), "wood", 255, "#7c5a38")
    for z in (0.62, 0.78):
        mesh.box((0.24, -0.8, z), (0.27, 0.8, z + 0.12), "wood", 255, "#7c5a38")
    for y in (-0.6, 0.6):
        mesh.box((-0.2, y - 0.03, 0), (0.27, y + 0.03, 0.43), "metal", 255, "#2a2c2e")
    return mesh
