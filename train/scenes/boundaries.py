"""Fences, walls and railings along the road."""

from __future__ import annotations

import numpy as np

from train.scenes.furniture import fence, garden_wall
from train.scenes.ground import KERB
from train.scenes.mesh import Mesh
from train.scenes.road import Road
from train.scenes.street import Street


def garden(mesh: Mesh, street: Street, road: Road, rng: np.random.Generator, sign: int) -> None:
    """The fence or wall of the gardens, or of the park, with gates."""
    side = street.side(sign)
    kind = side.boundary
    if side.park and kind == "none":
        kind = "railing"
    if kind in ("none", "hedge"):
        return
    t, step = sign * (street.half + side.verge + side.walk + 0.25), 4.0
    colour = {
        "pickets": ("#d9d6cc", "#8a6a48", "#5f4a38"),
        "railing": ("#2c3032", "#39423c", "#4a4e52"),
        "mesh": ("#5c7060", "#6b6f70", "#4f5a52"),
        "wall": ("#a88468", "#9a9488", "#8f5a48"),
    }[kind][rng.integers(3)]
    if kind == "wall":
        height = rng.uniform(0.8, 2.2)
        piece = garden_wall(("brick", "stone", "concrete")[rng.integers(3)], step, height, colour)
    else:
        piece = fence(kind, step, colour)
    gate = rng.uniform(15, 24)
    for s in np.arange(-8, 130, step):
        if not street.in_junction(s + 2, 4.5) and (s % gate) >= step:
            mesh.join(piece, [road.at(s, t, KERB - 0.03)], float(road.heading(s + step / 2)))
    if street.kind == "industrial" and sign < 0 and rng.random() < 0.5:
        rail = fence("guard", step, "#9a9da0")
        for s in np.arange(-8, 130, step):
            if not street.in_junction(s + 2, 4.5):
                mesh.join(rail, [road.at(s, sign * (street.half + 0.4), KERB)], float(road.heading(s + step / 2)))


def railing(mesh: Mesh, street: Street, road: Road, sign: int) -> None:
    """On some streets, a railing at the kerb that keeps people off the road between crossings."""
    rng = np.random.default_rng([street.seed, 12, int(sign > 0)])
    if rng.random() > 0.3 or street.side(sign).parking and rng.random() < 0.5:
        return
    kind = "guard" if street.kind in ("industrial", "park") else "railing"
    step, colour = 2.0, ("#5c6266", "#8a8d8f", "#3d4a41", "#a03a32")[rng.integers(4)]
    piece, begin = fence(kind, step, colour), rng.uniform(3, 18)
    for s in np.arange(begin, begin + rng.uniform(20, 90), step):
        open_here = street.in_junction(s + 1, 3.5) or any(abs(s + 1 - z) < 4 for z in street.zebras)
        if not open_here:
            mesh.join(piece, [road.at(s, sign * (street.half + 0.3), KERB)], float(road.heading(s + 1)))
