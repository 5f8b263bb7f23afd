"""Lorries, buses and trams: long boxes with windows, doors, lamps and wheels. Front to +y."""

from __future__ import annotations

import numpy as np

from train.scenes import BUS, TRAIN, TRUCK
from train.scenes.mesh import Mesh
from train.scenes.vehicles import plate, wheel


def truck(kind: str) -> Mesh:
    """ "box", "tarpaulin", "tank", "tipper" or "rubbish": a cab in the colour of the copy, and its load."""
    mesh, front = Mesh(), 4.1
    w = 1.24
    # Cab with a sloping face.
    side = np.array(
        [
            (front, 0.55),
            (front + 0.05, 1.25),
            (front - 0.05, 1.55),
            (front - 0.35, 2.75),
            (front - 1.95, 2.8),
            (front - 1.95, 0.55),
        ]
    )
    for x, order in ((-w, 1), (w, -1)):
        mesh.fan(np.column_stack([np.full(6, x), side])[::order], "car paint", TRUCK)
    for i in range(5):
        (y0, z0), (y1, z1) = side[i], side[i + 1]
        surface, colour = ("car glass", "#0c1013") if i == 2 else ("car paint", "#ffffff")
        mesh.quads([(w, y0, z0), (-w, y0, z0), (-w, y1, z1), (w, y1, z1)], surface, TRUCK, colour)
    for x in (-w - 0.004, w + 0.004):
        quad = np.array([(x, front - 1.3, 1.6), (x, front - 0.25, 1.6), (x, front - 0.5, 2.5), (x, front - 1.3, 2.5)])
        mesh.quads(quad if x > 0 else quad[::-1], "car glass", TRUCK, "#0c1013")
        mesh.box((x - 0.12, front - 0.1, 1.7), (x + 0.12, front + 0.02, 2.3), "gloss", TRUCK, "#111214")
        mesh.box(
            (x * 0.8 - 0.18, front - 0.02, 0.75), (x * 0.8 + 0.18, front + 0.09, 0.95), "head lamp", TRUCK, "#dfe5ea"
        )
    mesh.box((-w, front - 0.1, 0.4), (w, front + 0.1, 0.72), "rubber", TRUCK, "#1a1b1d")
    mesh.box((-0.8, front, 1.0), (0.8, front + 0.07, 1.22), "gloss", TRUCK, "#131416")
    plate(mesh, front + 0.11, 0.48, 1, TRUCK)
    mesh.box((-1.0, -4.0, 0.65), (1.0, front - 0.3, 0.95), "rubber", TRUCK, "#161616")
    _load(mesh, kind, front)
    for y in (front - 1.0, -2.0, -3.1):
        for x in (-1.05, 1.05):
            wheel(mesh, (x, y, 0.5), 0.5, 0.3, TRUCK, "#6d6f72")
    mesh.box((-1.15, -4.1, 0.55), (1.15, -3.95, 0.7), "rubber", TRUCK, "#202020")
    for x in (-0.95, 0.95):
        mesh.box((x - 0.2, -4.13, 0.72), (x + 0.2, -4.05, 0.86), "tail lamp", TRUCK, "#7d0a0a")
    plate(mesh, -4.14, 0.74, -1, TRUCK)
    return mesh


def _load(mesh: Mesh, kind: str, front: float) -> None:
    y0, y1, w = -4.1, front - 2.1, 1.26
    if kind == "tank":
        angle = np.linspace(0, 2 * np.pi, 25)
        ring = np.stack([1.2 * np.cos(angle), np.zeros(25), 2.05 + 1.05 * np.sin(angle)], axis=1)
        mesh.grid(np.stack([ring + (0, y1, 0), ring + (0, y0, 0)]), "metal", TRUCK, "#b9bcc0")
        mesh.fan((ring + (0, y0, 0))[:-1], "metal", TRUCK, "#a9acb0")
        mesh.fan((ring + (0, y1, 0))[:-1][::-1], "metal", TRUCK, "#a9acb0")
        return
    top, surface, colour = {
        "box": (3.7, "painted", "#dcdcd8"),
        "tarpaulin": (3.6, "cloth", "#3f5f86"),
        "tipper": (2.2, "painted", "#b5642a"),
        "rubbish": (3.1, "painted", "#d9822b"),
    }[kind]
    mesh.box((-w, y0, 1.0), (w, y1, top), surface, TRUCK, colour)
    for x in np.linspace(-w, w, 2):
        for y in np.linspace(y0, y1 - 0.06, 7 if kind != "box" else 2):
            mesh.box((x - 0.02, y, 1.0), (x + 0.02, y + 0.06, top), "painted", TRUCK, "#8c8f92")
    mesh.box((-0.015, y0 - 0.02, 1.05), (0.015, y0, top - 0.05), "rubber", TRUCK, "#3a3a3a")
    for x in (-0.5, -0.3, 0.3, 0.5):
        mesh.box((x - 0.015, y0 - 0.04, 1.1), (x + 0.015, y0, top - 0.1), "metal", TRUCK, "#8a8d90")
    if kind == "rubbish":
        mesh.box((-1.1, y0 - 0.5, 1.1), (1.1, y0, 2.4), "painted", TRUCK, "#9a5c1e")


def bus(length: float = 12.0) -> Mesh:
    """A city bus in the colour of the copy."""
    mesh = Mesh()
    _coach(mesh, length, 1.275, 0.32, 3.05, BUS, doors=(0.06, 0.5), windows=7)
    for y in (length / 2 - 2.6, -length / 2 + 3.2):
        for x in (-1.12, 1.12):
            wheel(mesh, (x, y, 0.48), 0.48, 0.3, BUS, "#6d6f72")
    mesh.box((-1.1, -length / 2 + 1, 3.05), (1.1, -length / 2 + 4, 3.25), "painted", BUS, "#c9c9c6")
    return mesh


def tram(sections: int = 3) -> Mesh:
    """A tram of sections with dark bellows between, in the colour of the copy."""
    mesh, length = Mesh(), 8.5
    for i in range(sections):
        part = Mesh()
        ends = (i == 0, i == sections - 1)
        _coach(part, length, 1.3, 0.28, 3.3, TRAIN, doors=(0.45,), windows=5, faces=ends)
        mesh.join(part, [(0, -i * (length + 0.7) + (sections - 1) * (length + 0.7) / 2, 0)])
        if i:
            y = (sections - 1) * (length + 0.7) / 2 - (i - 0.5) * (length + 0.7)
            mesh.box((-1.1, y - 0.4, 0.4), (1.1, y + 0.4, 3.1), "rubber", TRAIN, "#1c1d1f")
    y = 0.0
    mesh.tube([(0, y - 0.7, 3.4), (0, y + 0.3, 4.3), (0, y - 0.5, 5.2)], 0.05, "metal", TRAIN, "#3a3c3e", 6)
    mesh.box((-0.9, y - 0.6, 5.17), (0.9, y - 0.4, 5.25), "metal", TRAIN, "#3a3c3e")
    return mesh


def _coach(mesh: Mesh, length, w, low, top, label, doors, windows, faces=(True, True)) -> None:
    """A body with rounded shoulders, a band of windows along both sides, doors on the right, and faces at the ends."""
    y0, y1 = -length / 2, length / 2
    section = np.array(
        [(w, low), (w, low + 0.5), (w, top - 0.5), (w - 0.05, top - 0.18), (w - 0.28, top - 0.02), (0, top + 0.03)]
    )
    ring = np.concatenate([section, section[-2::-1] * (-1, 1)])
    cuts = np.array([y1, y1 - 0.12, y1 - 0.3, y0 + 0.3, y0 + 0.12, y0])
    # Ends are drawn in a little, so that edges catch the light.
    squeeze = np.array(
        [0.93 if faces[0] else 1, 0.985 if faces[0] else 1, 1, 1, 0.985 if faces[1] else 1, 0.93 if faces[1] else 1]
    )
    net = np.stack(
        [
            np.column_stack([ring[:, 0] * q, np.full(len(ring), y), ring[:, 1]])
            for y, q in zip(cuts, squeeze, strict=True)
        ]
    )
    mesh.grid(net[:, ::-1], "car paint", label)
    for k, order in ((0, 1), (-1, -1)):
        mesh.fan(net[k][::order], "car paint", label)
    mesh.box((-w + 0.03, y0 + 0.2, low - 0.12), (w - 0.03, y1 - 0.2, low + 0.05), "rubber", label, "#151515")
    edges = np.linspace(y0 + 0.55, y1 - 0.55, windows + 1)
    for x in (-w - 0.006, w + 0.006):
        for a, b in zip(edges[:-1], edges[1:], strict=True):
            quad = np.array(
                [(x, a + 0.05, 1.25), (x, b - 0.05, 1.25), (x, b - 0.05, top - 0.55), (x, a + 0.05, top - 0.55)]
            )
            mesh.quads(quad if x > 0 else quad[::-1], "coach glass", label, "#0e1316")
        mesh.box((x - 0.004, y0 + 0.4, 0.75), (x + 0.004, y1 - 0.4, 0.88), "painted", label, "#e4e2dc")
    for share in doors:
        y = y1 - length * share - 0.7
        x = w + 0.012
        mesh.box((w - 0.02, y - 1.25, low), (x, y, top - 0.45), "gloss", label, "#17191b")
        for a in (y - 1.18, y - 0.58):
            mesh.quads([(x + 0.003, a, low + 0.15), (x + 0.003, a + 0.5, low + 0.15), (x + 0.003, a + 0.5, top - 0.6),
                        (x + 0.003, a, top - 0.6)], "coach glass", label, "#0e1316")  # fmt: skip
    for end, y, turn in ((faces[0], y1, 1), (faces[1], y0, -1)):
        if not end:
            continue
        v, x = y + turn * 0.012, w * 0.86
        base = 1.15 if turn > 0 else 1.5
        mesh.quads([(turn * x, v, base), (-turn * x, v, base), (-turn * x, v, top - 0.5), (turn * x, v, top - 0.5)],
                   "coach glass", label, "#0b0f12")  # fmt: skip
        mesh.quads([(turn * 0.75, v, top - 0.42), (-turn * 0.75, v, top - 0.42), (-turn * 0.75, v, top - 0.15),
                    (turn * 0.75, v, top - 0.15)], "display", label, uv=[[(0, 0), (1, 0), (1, 1), (0, 1)]])  # fmt: skip
        for side in (-1, 1):
            name, colour = ("head lamp", "#dfe5ea") if turn > 0 else ("tail lamp", "#7d0a0a")
            mesh.box(
                (side * 0.9 - 0.17, min(y, y + turn * 0.03), 0.72),
                (side * 0.9 + 0.17, max(y, y + turn * 0.03), 0.9),
                name,
                label,
                colour,
            )
        mesh.box(
            (-w * 0.9, min(y, y + turn * 0.02), low),
            (w * 0.9, max(y, y + turn * 0.02), 0.5),
            "rubber",
            label,
            "#1b1c1e",
        )
        plate(mesh, y + turn * 0.03, 0.55, turn, label)
