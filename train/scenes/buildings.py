"""Buildings: a front, plain sides, a roof. Their frame: x along the front from 0, -y out to the street, z up."""

from __future__ import annotations

import numpy as np

from train.scenes import BUILDING
from train.scenes.facades import Window, door, glass, opening, shop, wall
from train.scenes.mesh import Mesh, linear

STUCCO = ("#d9c7a3", "#cdb091", "#c9c6bd", "#bf9c80", "#d8d0c2", "#b3a896", "#d6c08f", "#c08a6c", "#a9b3a3", "#c7b7a9",
          "#e0d9cc", "#b7a38c")  # fmt: skip
BRICK = ("#9c5f48", "#8a4f3c", "#a8735a", "#b58a66", "#74483a", "#b09a7c")
MODERN = ("#c9c9c5", "#b4b2ac", "#8f928f", "#d9d6ce", "#a39a8d", "#6e7478")
ROOFS = ("#7d4a38", "#6a4034", "#4d4a4a", "#5c5f63", "#8a5a42", "#3f4145")
DOORS = ("#3b4a3f", "#5a2f28", "#2f3f57", "#4a4038", "#7a2a28", "#22272b", "#7c6a4a")
FRAMES = ("#e8e6e0", "#dcd8cc", "#6a625a", "#3e4246", "#8c8478")


def townhouse(rng: np.random.Generator, width: float, floors: int, shops: bool, open_side: int = 0) -> Mesh:
    """A house of an old or new row: plaster or brick, a shop or rooms below, cornice, tiled or flat roof. open_side:
    -1 or 1 gives the wall at x = 0 or x = width windows as well."""
    mesh, depth = Mesh(), rng.uniform(10, 13)
    brick = rng.random() < 0.35
    surface, colour = ("brick", _pick(rng, BRICK)) if brick else ("plaster", _pick(rng, STUCCO))
    tone = linear(colour) * rng.uniform(0.75, 1.1)
    ground, storey = rng.uniform(3.4, 4.1), rng.uniform(2.9, 3.3)
    bays = max(2, round(width / rng.uniform(2.3, 3.0)))
    window = Window(
        rng.uniform(0.95, 1.3),
        rng.uniform(1.45, 1.95),
        rng.uniform(0.7, 0.95),
        rng.uniform(0.1, 0.22),
        2,
        int(rng.integers(1, 4)),
        _pick(rng, FRAMES[:3]),
        _pick(rng, ("#cfc8ba", "#ddd8cd", "#a89a84")) if rng.random() < 0.75 else None,
        _pick(rng, ("#4a5f52", "#6b4a3a", "#5b6b78")) if rng.random() < 0.15 else None,
    )
    if shops:
        shop(mesh, rng, width, ground, int(rng.integers(32)), _pick(rng, DOORS))
    else:
        base = "stone" if rng.random() < 0.5 else surface
        wall(mesh, rng, width, 0.0, ground, bays, window, base, tone * 0.85)
        bay = width / bays
        at = int(rng.integers(bays)) * bay + (bay - 1.05) / 2
        door(mesh, at, _pick(rng, DOORS))
        mesh.box((0, -0.06, 0), (width, 0, 0.5), "stone", BUILDING, tone * 0.55, without="f")
    with_balconies = rng.random() < 0.2
    for floor in range(1, floors):
        z = ground + (floor - 1) * storey
        wall(mesh, rng, width, z, storey, bays, window, surface, tone, 0.35, with_balconies)
    top = ground + (floors - 1) * storey
    mesh.box(
        (-0.02, -0.12, ground - 0.08), (width + 0.02, 0, ground + 0.12), "stone", BUILDING, tone * 0.9, without="f"
    )
    mesh.box((-0.02, -0.35, top - 0.05), (width + 0.02, 0, top + 0.22), "stone", BUILDING, tone * 1.05, without="f")
    _flank(mesh, rng, open_side, width, depth, ground, storey, floors, window, surface, tone)
    _sides(mesh, width, depth, top, surface, tone * 0.9, open_side)
    if rng.random() < 0.72:
        gable_roof(mesh, rng, width, depth, top + 0.2, rng.uniform(2.6, 4.2), dormers=rng.random() < 0.45)
    else:
        flat_roof(mesh, width, depth, top, tone)
    # A downpipe at the seam between houses.
    mesh.box((width - 0.09, -0.12, 0), (width + 0.01, -0.01, top), "painted", BUILDING, "#6a6660", without="td")
    return mesh


def modern_block(rng: np.random.Generator, width: float, floors: int, shops: bool, open_side: int = 0) -> Mesh:
    """A block of flats or offices: bands of glass or regular windows, balconies, flat roof. open_side: as of a
    townhouse."""
    mesh, depth, storey = Mesh(), rng.uniform(12, 16), rng.uniform(2.9, 3.4)
    tone = linear(_pick(rng, MODERN)) * rng.uniform(0.8, 1.1)
    office = rng.random() < 0.45
    frame = _pick(rng, FRAMES[2:] if office else FRAMES)
    bays = max(2, round(width / (1.9 if office else 3.2)))
    window = (
        Window(1.7, 2.1, 0.6, 0.08, 1, 1, frame, None)
        if office
        else Window(rng.uniform(1.4, 2.1), rng.uniform(1.4, 2.1), 0.5, 0.12, 2, 1, frame, None)
    )
    surface = ("concrete", "plaster", "panels")[rng.integers(3)]
    if shops:
        shop(mesh, rng, width, 4.0, int(rng.integers(32)), _pick(rng, FRAMES[2:]))
    else:
        wall(mesh, rng, width, 0.0, 4.0, bays, window, surface, tone * 0.7)
        door(mesh, width / 2, _pick(rng, DOORS), 1.6, 2.4)
    for floor in range(1, floors):
        z = 4.0 + (floor - 1) * storey
        wall(mesh, rng, width, z, storey, bays, window, surface, tone, 0.4, not office)
        if office:
            mesh.box((0, -0.1, z - 0.1), (width, 0, z + 0.1), "panels", BUILDING, tone * 0.7, without="f")
    top = 4.0 + (floors - 1) * storey
    _flank(mesh, rng, open_side, width, depth, 4.0, storey, floors, window, surface, tone)
    _sides(mesh, width, depth, top, surface, tone, open_side)
    flat_roof(mesh, width, depth, top, tone)
    return mesh


def cottage(rng: np.random.Generator, width: float) -> Mesh:
    """A detached house with a gabled roof, a door and a chimney, its side windows included."""
    mesh, depth = Mesh(), rng.uniform(8, 10)
    surface, colour = ("brick", _pick(rng, BRICK)) if rng.random() < 0.45 else ("plaster", _pick(rng, STUCCO))
    tone = linear(colour) * rng.uniform(0.85, 1.15)
    floors = 1 if rng.random() < 0.3 else 2
    window = Window(rng.uniform(1.0, 1.6), 1.35, 0.9, 0.12, 2, 1 + int(rng.random() < 0.4), _pick(rng, FRAMES),
                    None if rng.random() < 0.5 else "#d8d2c6", "#4a5f52" if rng.random() < 0.25 else None)  # fmt: skip
    bays = max(2, round(width / 3.2))
    for floor in range(floors):
        wall(mesh, rng, width, floor * 2.8, 2.8, bays, window, surface, tone)
    door(mesh, width / bays * (bays - 0.5) - 0.5, _pick(rng, DOORS))
    top = floors * 2.8
    side, hole = Mesh(), opening(window)
    side.join(hole)
    glass(side, rng, np.zeros((1, 3)), window.width, window.height, 0.02, 0.4)
    _sides(mesh, width, depth, top, surface, tone)
    for z in np.arange(floors) * 2.8 + 0.9:
        for x, heading in ((0.0, -np.pi / 2), (width, np.pi / 2)):
            y = depth / 2 + (0.7 if heading < 0 else -0.7)
            mesh.join(side, [(x, y, z)], heading)
    if rng.random() < 0.5:
        gable_roof(mesh, rng, width, depth, top, rng.uniform(2.4, 3.6), dormers=False, eaves=0.5)
    else:  # the gable looks at the street
        ridge = rng.uniform(2.6, 3.8)
        colour = _pick(rng, ROOFS)
        a, b, half = -0.5, depth + 0.3, width / 2
        e = top - 0.35
        mesh.quads([[(-0.5, b, e), (-0.5, a, e), (half, a, top + ridge), (half, b, top + ridge)],
                    [(width + 0.5, a, e), (width + 0.5, b, e), (half, b, top + ridge), (half, a, top + ridge)]],
                   "roof", BUILDING, colour)  # fmt: skip
        for y in (0.0, depth):
            mesh.add([(0, y, top), (width, y, top), (half, y, top + ridge)], [[0, 1, 2]], surface, BUILDING, tone)
        small = Window(0.8, 0.9, 0, 0.05, 2, 1, window.frame, window.trim)
        mesh.join(opening(small), [(half - 0.4, -0.055, top + 0.5)])
        glass(mesh, rng, np.array([[half - 0.4, -0.055, top + 0.5]]), 0.8, 0.9, 0.05, 0.3)
    chimney = rng.uniform(0.2, 0.8) * width
    mesh.box((chimney, depth * 0.6, top), (chimney + 0.6, depth * 0.6 + 0.6, top + 4.3), "brick", BUILDING, "#8a5a48")
    return mesh


def hall(rng: np.random.Generator, width: float) -> Mesh:
    """An industrial or market hall: ribbed metal, a band of windows, roller doors."""
    mesh, depth, height = Mesh(), rng.uniform(18, 26), rng.uniform(6, 9)
    tone = linear(_pick(rng, ("#8f9aa3", "#a9a79e", "#6d7f8c", "#b3aa98", "#77807a", "#9a5a48")))
    window = Window(2.2, 1.2, height - 2.4, 0.06, 2, 1, "#54585c", None)
    wall(mesh, rng, width, 0.0, height, max(2, round(width / 3.2)), window, "ribbed", tone, 0.2)
    mesh.box((0, -0.06, 0), (width, 0, 0.9), "concrete", BUILDING, "#9c988f", without="f")
    for x in np.arange(2.0, width - 5, rng.uniform(7, 11)):
        mesh.box((x, -0.1, 0), (x + 3.6, 0, 3.4), "ribbed", BUILDING, _pick(rng, ("#c9c6bd", "#8c3b32", "#35506b")))
    _sides(mesh, width, depth, height, "ribbed", tone)
    flat_roof(mesh, width, depth, height, tone)
    return mesh


def gable_roof(mesh: Mesh, rng, width: float, depth: float, z: float, ridge: float, dormers: bool, eaves=0.35) -> None:
    """Two slopes with the ridge along the front, gables at the sides, perhaps dormers and chimneys."""
    colour, half = _pick(rng, ROOFS), depth / 2
    front, back, low = -eaves, depth + eaves, z - eaves * ridge / half
    top = z + ridge
    mesh.quads(
        [
            [(0, front, low), (width, front, low), (width, half, top), (0, half, top)],
            [(width, back, low), (0, back, low), (0, half, top), (width, half, top)],
        ],
        "roof",
        BUILDING,
        colour,
    )
    mesh.box((0, front - 0.08, low - 0.1), (width, front + 0.04, low + 0.02), "painted", BUILDING, "#5a564f")
    for x, order in ((0.0, 1), (width, -1)):
        gable = np.array([(x, depth, z), (x, 0, z), (x, half, top)])[::order]
        mesh.add(gable, [[0, 1, 2]], "plaster", BUILDING, "#a89c8a")
    if dormers:
        count = max(1, int(width / 4))
        for x in (np.arange(count) + 0.5) * width / count - 0.75:
            y, base = half * 0.28, z + ridge * 0.22
            mesh.box((x, y, base), (x + 1.5, half, base + 1.5), "plaster", BUILDING, "#c9c2b4", without="f")
            mesh.box((x - 0.15, y - 0.2, base + 1.5), (x + 1.65, half, base + 1.62), "roof", BUILDING, colour)
            glass(mesh, rng, np.array([[x + 0.25, y - 0.06, base + 0.3]]), 1.0, 1.05, 0.04, 0.3)
    for _ in range(int(rng.integers(0, 3))):
        x, y = rng.uniform(0.3, width - 1), half + rng.uniform(-1, 1)
        mesh.box((x, y, z), (x + 0.7, y + 0.55, top + 0.9), "brick", BUILDING, "#86584a", without="d")


def flat_roof(mesh: Mesh, width: float, depth: float, z: float, tone) -> None:
    """A parapet, the roof behind it, and a box of machinery."""
    mesh.quads([(0, 0, z), (width, 0, z), (width, depth, z), (0, depth, z)], "concrete", BUILDING, "#77736c")
    for low, high in (((0, -0.05, z), (width, 0.2, z + 0.6)), ((0, 0.2, z), (0.2, depth, z + 0.6)),
                      ((width - 0.2, 0.2, z), (width, depth, z + 0.6))):  # fmt: skip
        mesh.box(low, high, "plaster", BUILDING, tone, without="d")
    mesh.box((width * 0.3, depth * 0.4, z), (width * 0.5, depth * 0.7, z + 2.0), "panels", BUILDING, "#8d8f90")


def _sides(mesh: Mesh, width: float, depth: float, height: float, surface: str, tone, open_side: int = 0) -> None:
    without = "btd" + {-1: "l", 0: "", 1: "r"}[open_side]
    mesh.box((0, 0, 0), (width, depth, height), surface, BUILDING, tone, without=without)


def _flank(mesh: Mesh, rng, side: int, width, depth, ground, storey, floors, window, surface, tone) -> None:
    """Windows along the open side of a house."""
    if not side:
        return
    flank, bays = Mesh(), max(2, round(depth / 3.4))
    for floor in range(floors):
        low, high = (0.0, ground) if floor == 0 else (ground + (floor - 1) * storey, storey)
        wall(flank, rng, depth, low, high, bays, window, surface, tone * 0.95)
    at, heading = ((0, depth, 0), -np.pi / 2) if side < 0 else ((width, 0, 0), np.pi / 2)
    mesh.join(flank, [at], heading)


def _pick(rng: np.random.Generator, choices):
    return choices[int(rng.integers(len(choices)))]
