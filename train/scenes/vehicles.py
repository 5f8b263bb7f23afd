"""Cars and vans: a skin drawn through cross sections, then wheels, lamps, plates and mirrors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.scenes import CAR
from train.scenes.mesh import Mesh


@dataclass(frozen=True)
class Shape:
    """Side view of a car. Lengths in metres; positions along the car are measured from its front bumper.

    bonnet: height of its front and rear edge. screen: foot and head of the windscreen. rear: head and foot of the rear
    window. tail: height of the boot's edge. roof: height. pillars: positions of the posts between side windows.
    """

    length: float
    width: float
    roof: float
    bonnet: tuple[float, float]
    screen: tuple[float, float]
    rear: tuple[float, float]
    tail: float
    pillars: tuple[float, ...]
    axles: tuple[float, float]
    wheel: float = 0.32
    belt: float = 0.92
    panel_from: float = 99.0  # a van's side is closed behind this


SHAPES = {
    "hatch": Shape(4.0, 1.76, 1.48, (0.72, 0.95), (1.0, 1.75), (3.5, 3.88), 0.98, (2.3,), (0.82, 3.3)),
    "saloon": Shape(4.65, 1.82, 1.44, (0.7, 0.93), (1.25, 2.05), (3.35, 4.0), 1.02, (2.6,), (0.9, 3.65), 0.33),
    "estate": Shape(4.7, 1.82, 1.49, (0.7, 0.94), (1.25, 2.0), (4.2, 4.58), 1.0, (2.6, 3.5), (0.9, 3.65), 0.33),
    "suv": Shape(4.5, 1.88, 1.68, (0.88, 1.08), (1.15, 1.8), (4.05, 4.4), 1.12, (2.5, 3.4), (0.9, 3.6), 0.37, 1.06),
    "mini": Shape(3.5, 1.64, 1.5, (0.74, 0.98), (0.75, 1.45), (3.15, 3.42), 1.0, (1.95,), (0.68, 2.95), 0.29),
    "van": Shape(5.3, 2.0, 2.35, (1.05, 1.3), (0.8, 1.6), (5.15, 5.24), 1.25, (2.3,), (0.95, 4.3), 0.35, 1.3, 2.35),
    "minivan": Shape(
        4.4, 1.84, 1.82, (0.85, 1.12), (0.75, 1.6), (4.15, 4.34), 1.1, (2.1, 3.2), (0.85, 3.55), 0.32, 1.08
    ),
}
_PAINT, _GLASS, _DARK, _PILLAR = 0, 1, 2, 3


def car(shape: Shape, label: int = CAR) -> Mesh:
    """The mesh of a car whose paint takes the colour of its copy. Its front points to +y."""
    mesh = Mesh()
    _skin(mesh, shape, label)
    for axle in shape.axles:
        y = shape.length / 2 - axle
        half = shape.width / 2 * float(_plan(shape, axle))
        for side in (-1, 1):
            # The arch is a dark plate on the skin: nobody sees that there is no hole behind the tyre.
            mesh.disc(
                (side * (half - 0.03), y, shape.wheel + 0.01),
                shape.wheel + 0.055,
                "rubber",
                label,
                "#070708",
                "x",
                24,
                0.068,
            )
            wheel(mesh, (side * (half - 0.098), y, shape.wheel), shape.wheel, 0.21, label)
    _fittings(mesh, shape, label)
    return mesh


def _plan(s: Shape, along):
    """Width in plan view, as a share of the whole: ends drawn in, sides nearly straight."""
    places = [0, 0.05, 0.22, 0.62, s.length * 0.5, s.length - 0.62, s.length - 0.18, s.length - 0.05, s.length]
    return np.interp(along, places, [0.76, 0.86, 0.95, 0.995, 1.0, 0.99, 0.94, 0.88, 0.82])


def _skin(mesh: Mesh, s: Shape, label: int) -> None:
    """The body as a net of cross sections (right half mirrored), with its faces sorted into paint, glass and trim."""
    cuts = {
        0.0,
        0.05,
        0.22,
        s.length - 0.18,
        s.length - 0.05,
        *s.screen,
        *s.rear,
        s.length,
        (s.screen[0] + s.screen[1]) / 2,
        (s.rear[0] + s.rear[1]) / 2,
        (s.screen[1] + s.rear[0]) / 2,
    }
    for pillar in s.pillars:
        cuts |= {pillar - 0.045, pillar + 0.045}
    cuts |= {s.screen[1] + 0.06, s.rear[0] - 0.1}
    if s.screen[0] > 0.7:
        cuts.add(0.6)
    if s.length - s.rear[1] > 0.35:
        cuts.add(s.length - 0.3)
    stations = np.array(sorted(c for c in cuts if 0 <= c <= s.length))
    foot, head, rear_head, rear_foot = *s.screen, *s.rear
    top = np.interp(
        stations,
        [0, 0.05, 0.22, foot, head, (head + rear_head) / 2, rear_head, rear_foot, s.length - 0.05, s.length],
        [
            s.bonnet[0] - 0.1,
            s.bonnet[0],
            s.bonnet[0] + 0.05,
            s.bonnet[1],
            s.roof - 0.035,
            s.roof,
            s.roof - 0.03,
            s.tail,
            s.tail - 0.04,
            s.tail - 0.14,
        ],
    )
    plan = _plan(s, stations)
    half = s.width / 2 * plan
    belt = np.minimum(top - 0.02, np.interp(stations, [0, foot, s.length], [s.bonnet[0] - 0.02, s.belt, s.belt + 0.05]))
    cabin = np.clip((top - belt) / (s.roof - s.belt), 0, 1)
    low = np.interp(stations, [0, 0.3, s.length - 0.3, s.length], [0.24, 0.17, 0.19, 0.3])
    tuck = 0.03 + 0.17 * cabin if s.panel_from > 10 else 0.02 + 0.08 * cabin
    rows = [  # (half width, height) of each row of the net, from sill to roof
        (half * 0.9, low),
        (half * 0.985, low + 0.09),
        (half, low + (belt - low) * 0.55),
        (half * 0.985, belt - 0.06),
        (half * 0.965, belt),
        (half * 0.965 - tuck * 0.85, belt + (top - belt) * 0.86),
        (half * 0.95 - tuck - 0.09, belt + (top - belt) * 0.985),
        (half * 0.45, top + 0.018),
        (half * 0, top + 0.026),
    ]
    right = np.stack([np.stack([w, s.length / 2 - stations, z], axis=-1) for w, z in rows], axis=1)
    left = right[:, -2::-1] * (-1, 1, 1)
    net = np.concatenate([right, left], axis=1)
    middle = (stations[1:] + stations[:-1]) / 2
    kind = np.full((len(middle), net.shape[1] - 1), _PAINT)
    kind[:, [0, -1]] = _DARK
    screen = (middle > foot) & (middle < head)
    back = (middle > rear_head) & (middle < min(rear_foot, s.length - 0.02))
    van = s.panel_from < 10
    kind[np.ix_(screen | (back & (not van)), [6, 7, 8, 9])] = _GLASS
    side = (middle > foot) & (middle < rear_foot) & (middle < s.panel_from)
    for column in (4, net.shape[1] - 2 - 4):
        kind[side, column] = _GLASS
        for pillar in s.pillars:
            kind[np.abs(middle - pillar) < 0.05, column] = _PILLAR
        kind[(middle > rear_head - 0.11) & (middle < rear_head) & side, column] = _PAINT
        kind[(middle > head) & (middle < head + 0.06), column] = _PILLAR
    index = np.arange(net.shape[0] * net.shape[1]).reshape(net.shape[:2])
    faces = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], axis=-1)
    for value, surface, colour in ((_PAINT, "car paint", "#ffffff"), (_GLASS, "car glass", "#0b0e10"),
                                   (_DARK, "rubber", "#141416"), (_PILLAR, "gloss", "#08090a")):  # fmt: skip
        chosen = faces[kind == value]
        if len(chosen):
            mesh.add(net.reshape(-1, 3), chosen, surface, label, colour, smooth=True)
    mesh.fan(net[0], "car paint", label)
    mesh.fan(net[-1][::-1], "car paint", label)


def _fittings(mesh: Mesh, s: Shape, label: int) -> None:
    front, back, half = s.length / 2, -s.length / 2, s.width / 2
    # Grille, bumpers, plates, lamps: thin boxes on the skin.
    mesh.box(
        (-half * 0.5, front - 0.1, 0.5), (half * 0.5, front + 0.006, s.bonnet[0] - 0.12), "gloss", label, "#0a0b0c"
    )
    mesh.box((-half * 0.72, front - 0.15, 0.24), (half * 0.72, front + 0.012, 0.4), "rubber", label, "#121314")
    mesh.box((-half * 0.74, back - 0.012, 0.27), (half * 0.74, back + 0.2, 0.44), "rubber", label, "#121314")
    for y, turn in ((front + 0.02, 1), (back - 0.022, -1)):
        z = 0.44 if turn > 0 else min(0.62, s.tail - 0.35)
        plate(mesh, y, z, turn, label)
    for side in (-1, 1):
        x0, x1 = sorted((side * half * 0.46, side * half * 0.79))
        z = s.bonnet[0] - 0.09
        mesh.box((x0, front - 0.14, z - 0.07), (x1, front + 0.006, z + 0.045), "head lamp", label, "#dfe5ea")
        mesh.box((x0 - 0.02, front - 0.14, z - 0.085), (x1 + 0.02, front + 0.002, z + 0.055), "gloss", label, "#15171a")
        x0, x1 = sorted((side * half * 0.56, side * half * 0.83))
        z = s.tail - 0.2 if s.panel_from > 10 else 1.0
        tall = 0.24 if s.rear[1] > s.length - 0.3 else 0.13
        mesh.box((x0, back - 0.012, z - tall / 2), (x1, back + 0.1, z + tall / 2), "tail lamp", label, "#7d0a0a")
        # Mirrors, door handles and seams.
        x = side * (half + 0.09)
        y = front - s.screen[0] - 0.42
        mesh.box((x - 0.1, y - 0.05, s.belt + 0.02), (x + 0.1, y + 0.07, s.belt + 0.17), "car paint", label)
        for seam in (s.screen[0] + 0.15, *s.pillars):
            edge = side * half * 1.001
            mesh.box((edge - 0.012, front - seam - 0.008, 0.3), (edge + 0.002, front - seam + 0.008, s.belt - 0.05),
                     "rubber", label, "#0a0a0a")  # fmt: skip
            mesh.box(
                (edge - 0.03, front - seam - 0.3, s.belt - 0.16),
                (edge + 0.012, front - seam - 0.14, s.belt - 0.12),
                "gloss",
                label,
                "#1b1c1e",
            )
    if s.panel_from < 10:  # a van's doors at the back
        mesh.box((-0.012, back - 0.008, 0.5), (0.012, back + 0.1, s.roof - 0.25), "rubber", label, "#0a0a0a")
        for x0, x1 in ((-half * 0.66, -half * 0.1), (half * 0.1, half * 0.66)):
            mesh.box((x0, back - 0.01, s.belt + 0.15), (x1, back + 0.06, s.roof - 0.38), "car glass", label, "#0b0e10")
    mesh.box((-half * 0.95, back + 0.25, 0.16), (half * 0.95, front - 0.25, 0.3), "rubber", label, "#060606")


def plate(mesh: Mesh, y: float, z: float, turn: int, label: int) -> None:
    """A number plate facing +y (turn 1) or -y (-1)."""
    x = 0.26
    quad = [(turn * x, y, z), (-turn * x, y, z), (-turn * x, y, z + 0.115), (turn * x, y, z + 0.115)]
    mesh.quads(quad, "plate", label, uv=[[(0, 0), (1, 0), (1, 1), (0, 1)]])


def wheel(mesh: Mesh, centre, radius: float, width: float, label: int, rim: str = "#9a9ca0") -> None:
    """A tyre with a rim of five spokes, axis along x."""
    x, y, z = centre
    mesh.disc(centre, radius, "rubber", label, "#101011", "x", 24, width)
    outside = np.sign(x) * (width / 2 + 0.004)
    mesh.disc((x + outside, y, z), radius * 0.66, "metal", label, "#2a2b2d", "x", 20)
    for k in range(5):
        a = k * 2 * np.pi / 5 + 0.3
        tip, side = np.array([np.cos(a), np.sin(a)]) * radius * 0.64, np.array([-np.sin(a), np.cos(a)]) * radius * 0.13
        ring = np.array([side * 0.8, side, tip + side, tip - side, -side])
        points = np.column_stack([np.full(5, x + outside * 1.03), y + ring[:, 0], z + ring[:, 1]])
        mesh.fan(points if outside < 0 else points[::-1], "metal", label, rim)
        mesh.fan(points[::-1] if outside < 0 else points, "metal", label, rim)
