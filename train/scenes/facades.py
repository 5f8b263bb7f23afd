"""House fronts: windows with reveals, frames and sills, doors, shops, balconies, in a frame where x runs along the
front, z up, and -y out to the street."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.scenes import BUILDING
from train.scenes.mesh import Colour, Mesh, linear


@dataclass(frozen=True)
class Window:
    """Width, height, sill above the floor, depth in the wall, panes across and down, frame colour, sill and lintel."""

    width: float = 1.1
    height: float = 1.6
    sill: float = 0.9
    depth: float = 0.16
    across: int = 2
    down: int = 1
    frame: str = "#e8e6e0"
    trim: str | None = "#cfc8ba"
    shutter: str | None = None


def opening(window: Window, label: int = BUILDING) -> Mesh:
    """Everything in and around a window's hole but the glass, its lower left corner at the origin."""
    w, h, d = window.width, window.height, window.depth
    mesh = Mesh()
    reveal = [
        [(0, 0, 0), (0, d, 0), (0, d, h), (0, 0, h)],
        [(w, d, 0), (w, 0, 0), (w, 0, h), (w, d, h)],
        [(0, 0, 0), (w, 0, 0), (w, d, 0), (0, d, 0)],
        [(0, d, h), (w, d, h), (w, 0, h), (0, 0, h)],
    ]
    mesh.quads(reveal, "plaster", label, "#b8b2a6")
    bar, front = 0.06, d - 0.04
    for x in np.linspace(0, w - bar, window.across + 1):
        mesh.box((x, front, 0), (x + bar, d, h), "painted", label, window.frame, without="fd")
    for z in np.linspace(0, h - bar, window.down + 1):
        mesh.box((0, front - 0.003, z), (w, d, z + bar), "painted", label, window.frame, without="flr")
    if window.trim:
        mesh.box((-0.08, -0.07, -0.09), (w + 0.08, 0.02, 0), "stone", label, window.trim, without="f")
        mesh.box((-0.1, -0.03, h), (w + 0.1, 0.02, h + 0.16), "stone", label, window.trim, without="f")
        for x in (-0.1, w):
            mesh.box((x, -0.02, 0), (x + 0.1, 0.02, h), "stone", label, window.trim, without="f")
    if window.shutter:
        for x in (-0.56, w + 0.06):
            mesh.box((x, -0.06, 0), (x + 0.5, 0.0, h), "slats", label, window.shutter, without="f")
    return mesh


def wall(
    mesh: Mesh, rng: np.random.Generator, width: float, floor: float, height: float, bays: int, window: Window,
    surface: str, colour: Colour, lit: float = 0.35, balconies: bool = False,
) -> None:  # fmt: skip
    """One storey of wall at z = floor with a window in each bay. lit: share of rooms with a lamp on at night."""
    bay = width / bays
    # A hole of negative borders would turn the wall inside out.
    w, h = min(window.width, bay - 0.3), min(window.height, height - window.sill - 0.15)
    fitted = Window(**{**window.__dict__, "width": w, "height": h})
    left = np.arange(bays) * bay + (bay - w) / 2
    x0, x1, sill, top = np.arange(bays) * bay, np.arange(1, bays + 1) * bay, floor + window.sill, floor + height

    def rectangles(a, b, low, high):
        a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
        z = np.zeros_like(a)
        return np.stack([np.stack([a, z, z + low], -1), np.stack([b, z, z + low], -1),
                         np.stack([b, z, z + high], -1), np.stack([a, z, z + high], -1)], axis=1)  # fmt: skip

    parts = [
        rectangles([0], [width], floor, sill),
        rectangles([0], [width], sill + h, top),
        rectangles(x0, left, sill, sill + h),
        rectangles(left + w, x1, sill, sill + h),
    ]
    mesh.quads(np.concatenate(parts), surface, BUILDING, colour)
    corner = np.stack([left, np.zeros(bays), np.full(bays, sill)], axis=1)
    mesh.join(opening(fitted), corner)
    glass(mesh, rng, corner, w, h, window.depth, lit)
    if balconies:
        deck = Mesh()
        balcony(deck, w + 0.9)
        chosen = corner[rng.random(bays) < 0.5] - (0.45, 0, window.sill - 0.05)
        mesh.join(deck, chosen)


def glass(mesh: Mesh, rng: np.random.Generator, corner: np.ndarray, w: float, h: float, depth: float, lit: float):
    """Panes at (N, 3) corners: some with curtains or blinds, some lit at night."""
    quads = np.stack(
        [corner + (0, depth, 0), corner + (w, depth, 0), corner + (w, depth, h), corner + (0, depth, h)], 1
    )
    on = rng.random(len(corner)) < lit
    room = rng.uniform(0.012, 0.05, (len(corner), 1)) * (1.0, 1.05, 1.12)
    warm = np.array([1.0, 0.62, 0.3]) * rng.uniform(0.35, 1.0, (len(corner), 1))
    for name, chosen, colour in (("window", ~on, room), ("window lit", on, warm)):
        if chosen.any():
            mesh.quads(quads[chosen], name, BUILDING, colour[chosen])
    drawn = rng.random(len(corner)) < 0.45
    for at in corner[drawn]:
        cloth = linear(["#d9d4c6", "#e9e6de", "#b9b0a0", "#c9c2b4"][rng.integers(4)]) * 0.7
        y = depth - 0.004
        if rng.random() < 0.5:  # blind
            low = at[2] + h * rng.uniform(0.35, 0.85)
            mesh.quads([(at[0], y, low), (at[0] + w, y, low), (at[0] + w, y, at[2] + h), (at[0], y, at[2] + h)],
                       "curtain", BUILDING, cloth)  # fmt: skip
        else:
            part = w * rng.uniform(0.15, 0.32)
            for x in (at[0], at[0] + w - part):
                mesh.quads([(x, y, at[2]), (x + part, y, at[2]), (x + part, y, at[2] + h), (x, y, at[2] + h)],
                           "curtain", BUILDING, cloth)  # fmt: skip


def balcony(mesh: Mesh, width: float) -> None:
    """Slab and railing before the origin's wall."""
    mesh.box((0, -1.1, -0.14), (width, 0, 0.0), "concrete", BUILDING, "#bdb9b0", without="f")
    for x in np.arange(0, width, 0.13):
        mesh.box((x, -1.08, 0), (x + 0.025, -1.055, 0.95), "painted", BUILDING, "#3c3f42", without="td")
    mesh.box((0, -1.1, 0.95), (width, -1.03, 1.0), "painted", BUILDING, "#3c3f42")


def door(mesh: Mesh, x: float, colour: Colour, width: float = 1.05, height: float = 2.25) -> None:
    """A panelled door with frame and step, standing before the wall by a hand."""
    mesh.box((x - 0.12, -0.05, 0), (x + width + 0.12, 0.02, height + 0.14), "stone", BUILDING, "#d2ccbf", without="fd")
    mesh.box((x, -0.07, 0.1), (x + width, 0, height), "painted", BUILDING, colour, without="fd")
    for low in (0.3, 1.25):
        for side in (0.1, width / 2 + 0.05):
            dark = linear(colour) * 0.6
            mesh.box(
                (x + side, -0.085, low),
                (x + side + width / 2 - 0.15, -0.05, low + 0.75),
                "painted",
                BUILDING,
                dark,
                without="fd",
            )
    mesh.box((x - 0.2, -0.4, 0), (x + width + 0.2, 0, 0.1), "concrete", BUILDING, "#a8a49a", without="fd")


def shop(mesh: Mesh, rng: np.random.Generator, width: float, height: float, sign: int, colour: Colour) -> None:
    """A ground floor of shop windows: plinth, panes, a door, the name above, often an awning. sign: cell of "shops"."""
    z0, z1, depth = 0.45, height - 0.75, 0.22
    frame = linear(colour)
    mesh.quads(
        [
            [(0, 0, z1), (width, 0, z1), (width, 0, height), (0, 0, height)],
            [(0, 0, 0), (width, 0, 0), (width, 0, z0), (0, 0, z0)],
            [(0, 0, z0), (width, 0, z0), (width, depth, z0), (0, depth, z0)],
            [(0, depth, z1), (width, depth, z1), (width, 0, z1), (0, 0, z1)],
        ],
        "painted",
        BUILDING,
        frame,
    )
    panes = max(2, round(width / 1.7))
    step = width / panes
    entrance = int(rng.integers(panes))
    for i in range(panes + 1):
        x = min(i * step, width - 0.12)
        mesh.box((x, -0.02, 0), (x + 0.12, depth, z1), "painted", BUILDING, frame, without="ftd")
    for i in range(panes):
        corner = np.array([[i * step, 0, 0.1 if i == entrance else z0]])
        high = z1 - corner[0, 2]
        quads = [corner[0] + (0, depth - 0.02, 0), corner[0] + (step, depth - 0.02, 0),
                 corner[0] + (step, depth - 0.02, high), corner[0] + (0, depth - 0.02, high)]  # fmt: skip
        on = rng.random() < 0.7
        tone = np.array([1.0, 0.8, 0.55]) * rng.uniform(0.6, 1.3) if on else np.full(3, 0.03)
        mesh.quads(quads, "window lit" if on else "window", BUILDING, tone)
        if i != entrance:  # goods in the window
            for _ in range(4):
                x, w, h = i * step + rng.uniform(0.15, step - 0.6), rng.uniform(0.2, 0.45), rng.uniform(0.2, 0.9)
                y = depth - 0.03
                mesh.quads([(x, y, z0), (x + w, y, z0), (x + w, y, z0 + h), (x, y, z0 + h)], "curtain", BUILDING,
                           rng.uniform(0.02, 0.4, 3))  # fmt: skip
    u0, v0 = (sign % 4) / 4, 1 - (sign // 4 + 1) / 8
    cell = [(u0, v0), (u0 + 0.25, v0), (u0 + 0.25, v0 + 0.125), (u0, v0 + 0.125)]
    board = min(width * 0.86, 5.2)
    left = (width - board) / 2
    mesh.box((left - 0.06, -0.1, z1 + 0.1), (left + board + 0.06, 0, height - 0.08), "painted", BUILDING, frame * 0.5,
             without="f")  # fmt: skip
    mesh.quads([(left, -0.105, z1 + 0.14), (left + board, -0.105, z1 + 0.14), (left + board, -0.105, height - 0.12),
                (left, -0.105, height - 0.12)], "shops", BUILDING, uv=[cell])  # fmt: skip
    if rng.random() < 0.45:
        stripes = int(width / 0.35)
        x = np.linspace(0.05, width - 0.05, stripes + 1)
        tone = linear(["#a63a32", "#2f6b50", "#3a5f8a", "#c99a3a", "#7a3b5a"][rng.integers(5)])
        a = np.stack([x, np.full_like(x, -0.02), np.full_like(x, z1 + 0.05)], -1)
        b, c = a + (0, -1.25, -0.45), a + (0, -1.25, -0.65)
        quads = np.concatenate(
            [np.stack([b[:-1], b[1:], a[1:], a[:-1]], 1), np.stack([c[:-1], c[1:], b[1:], b[:-1]], 1)]
        )
        stripe = np.where((np.arange(stripes) % 2)[:, None] == 0, tone, linear("#e6e0d2"))
        mesh.quads(quads, "cloth", BUILDING, np.concatenate([stripe, stripe]))
