"""From a sampled street to the mesh of everything that belongs to this place alone: ground, houses, fences, walls."""

from __future__ import annotations

import numpy as np

from train.scenes import ROAD, SIDEWALK, TERRAIN, boundaries, buildings, ground
from train.scenes.ground import FAR, KERB, NEAR
from train.scenes.mesh import Mesh
from train.scenes.road import Road
from train.scenes.street import KINDS, Street

GRASS = ("#6a7a3c", "#5f7338", "#76803f", "#7d7f45")
REACH = 90.0  # metres of the crossing road to each side


def build(street: Street) -> Mesh:
    """Ground, houses and boundaries in world coordinates."""
    rng, mesh, road = np.random.default_rng([street.seed, 4]), Mesh(), street.road
    grass = GRASS[int(rng.integers(len(GRASS)))]
    ground.land(mesh, road, grass)
    _carriageway(mesh, street, road, rng)
    for sign in (-1, 1):
        _side(mesh, street, road, rng, sign, grass)
        _houses(mesh, street, road, rng, sign)
        boundaries.garden(mesh, street, road, rng, sign)
        boundaries.railing(mesh, street, road, sign)
    return mesh


def _parts(street: Street) -> list[tuple[float, float]]:
    """Stretches of road before and behind the junction."""
    if street.junction is None:
        return [(NEAR, FAR)]
    return [(NEAR, street.junction - street.cross), (street.junction + street.cross, FAR)]


def _carriageway(mesh: Mesh, street: Street, road: Road, rng: np.random.Generator) -> None:
    half, tone = street.half, rng.uniform(0.75, 1.25)
    surface = "cobbles" if street.cobbles else "asphalt"
    ground.strip(mesh, road, (NEAR, FAR), (-half, half), 0.0, surface, ROAD, (tone,) * 3)
    middle = 3.3 if street.tracks else 0.0
    if street.tracks:
        bed = rng.random()
        for s in _parts(street):
            if bed < 0.4:
                ground.strip(mesh, road, s, (-3.0, 3.0), ground.MARK / 4, "slabs", ROAD, "#a8a49a")
        for t in (-1.6, 1.6):
            ground.rails(mesh, road, t)
    if street.junction is not None:
        j, w = street.junction, street.cross
        for sign in (-1, 1):
            t = tuple(sorted((sign * half, sign * REACH)))
            ground.strip(mesh, road, (j - w, j + w), t, 0.0, surface, ROAD, (tone,) * 3)
            ground.strip(
                mesh,
                road,
                (j - 0.06, j + 0.06),
                tuple(sorted((sign * (half + 4), sign * 40))),
                ground.MARK,
                "paint",
                ROAD,
                ground.PAINT,
            )
    if street.cobbles:
        return
    for a, b in _parts(street):
        end = b - 4.8 if b < FAR else b
        begin = a + 4.8 if a > NEAR else a
        solid = rng.random() < 0.3
        if not street.tracks:
            ground.dashes(mesh, road, (begin, end), 0.0, gap=0.0 if solid else 4.5)
        for sign in (-1, 1):
            for lane in range(1, street.lanes):
                ground.dashes(mesh, road, (begin, end), sign * (middle + lane * street.lane))
            outer = middle + street.lanes * street.lane
            if street.half - outer > 1:
                ground.dashes(mesh, road, (begin, end), sign * (outer + 0.05), 1.0, 1.0, 0.1)
            elif rng.random() < 0.6:
                ground.dashes(mesh, road, (begin, end), sign * (street.half - 0.2), gap=0.0)
            if street.tracks:
                ground.dashes(mesh, road, (begin, end), sign * (middle - 0.1), gap=0.0)
    if street.junction is not None:
        stop = street.junction - street.cross - (5.4 if street.zebras else 1.0)
        ground.strip(
            mesh,
            road,
            (stop - 0.45, stop),
            (middle, middle + street.lanes * street.lane),
            ground.MARK,
            "paint",
            ROAD,
            ground.PAINT,
        )
        for lane in range(street.lanes):
            if rng.random() < 0.5:
                ground.arrow(mesh, road, stop - 9, middle + street.lane * (lane + 0.5))
    for s in street.zebras:
        ground.zebra(mesh, road, s, street.half)
    for i in range(int(1 + street.wear * 9)):
        ground.repair(mesh, road, rng, middle + 0.4, street.half, 0.002 + 0.0003 * i)
    for _ in range(int(rng.integers(1, 6))):
        ground.manhole(mesh, road, rng.uniform(5, 50), rng.uniform(-street.half + 1, street.half - 1))


def _side(mesh: Mesh, street: Street, road: Road, rng: np.random.Generator, sign: int, grass: str) -> None:
    side, half = street.side(sign), street.half
    paving = ("slabs", "slabs", "concrete", "bricks laid", "asphalt")[rng.integers(5)]
    tone = {"slabs": "#a9a59b", "concrete": "#a29e95", "bricks laid": "#96786a", "asphalt": (1.35,) * 3}[paving]

    def across(a: float, b: float) -> tuple[float, float]:
        return tuple(sorted((sign * a, sign * b)))

    inner, outer = half + side.verge, half + side.verge + side.walk
    for s in _parts(street):
        if side.verge > 0.9:
            ground.kerbed(mesh, road, s, across(half, half + 0.2), "kerb", SIDEWALK, "#9c9a94")
            if street.kind == "avenue" and not side.park:  # tree pits in paving
                ground.strip(mesh, road, s, across(half + 0.2, inner), KERB, "gravel", SIDEWALK, "#8f8676")
            else:
                ground.strip(mesh, road, s, across(half + 0.2, inner), KERB - 0.01, "grass", TERRAIN, grass)
            ground.strip(mesh, road, s, across(inner, outer), KERB, paving, SIDEWALK, tone)
        else:
            ground.kerbed(mesh, road, s, across(half, outer), paving, SIDEWALK, tone)
        if side.park or side.setback > 0.5:
            depth = 75 if side.park else side.setback + 16
            paved = not side.park and KINDS[street.kind].frontage in ("halls", "rows", "mixed")
            surface, label, colour = ("asphalt", SIDEWALK, (1.1,) * 3) if paved else ("grass", TERRAIN, grass)
            ground.strip(
                mesh,
                road,
                s,
                across(outer, outer + depth),
                (KERB, 0.05) if sign > 0 else (0.05, KERB),
                surface,
                label,
                colour,
            )
        else:
            ground.strip(mesh, road, s, across(outer, outer + 14), KERB - 0.03, "concrete", SIDEWALK, "#8d897f")
    if street.junction is not None:
        for edge, far in ((street.junction - street.cross, -2.6), (street.junction + street.cross, 2.6)):
            s = tuple(sorted((edge, edge + far)))
            ground.strip(mesh, road, s, across(outer, REACH), KERB + 0.004, paving, SIDEWALK, tone)
            net = np.stack(
                [road.at(edge, np.linspace(*across(outer, REACH), 12), z) for z in (0.0, KERB + 0.004)], axis=1
            )
            mesh.grid(net, "kerb", SIDEWALK, "#86847e")
            mesh.grid(net[:, ::-1], "kerb", SIDEWALK, "#86847e")


def _houses(mesh: Mesh, street: Street, road: Road, rng: np.random.Generator, sign: int) -> None:
    side, k = street.side(sign), KINDS[street.kind]
    if side.park:
        return
    front = street.front(sign)
    for a, b in _parts(street):
        margin = 2.7
        s = a if a == NEAR else a + margin
        end = b if b == FAR else b - margin
        gap = float(a != NEAR)
        while s < end - 4:
            # The wall that looks back at the camera has windows where nothing hides it.
            width, gap, house = _house(rng, k, end - s, sign if gap else 0)
            if width > end - s:
                break
            _place(mesh, house, road, s, width, sign, front)
            s += width + gap
    if street.junction is not None:
        _side_street(mesh, street, road, rng, sign, k, front)


def _house(rng: np.random.Generator, k, room: float, open_side: int = 0) -> tuple[float, float, Mesh]:
    """(width, gap behind it, mesh) of the next house."""
    frontage = k.frontage
    if frontage == "mixed":
        frontage = "rows" if rng.random() < 0.6 else "blocks"
    if frontage == "park":
        frontage = "rows" if rng.random() < 0.5 else "blocks"
    floors = int(rng.integers(k.floors[0], k.floors[1] + 1))
    shops = rng.random() < k.shops
    if frontage == "cottages":
        width = rng.uniform(9, 14)
        return width, rng.uniform(3, 8), buildings.cottage(rng, width)
    if frontage == "halls":
        width = rng.uniform(22, 40)
        if width < room:
            return width, rng.uniform(4, 14), buildings.hall(rng, width)
    width = rng.uniform(16, 28) if frontage == "blocks" else rng.uniform(7.5, 15)
    width = min(width, room) if room > 7 else width
    make = buildings.modern_block if frontage == "blocks" or rng.random() < 0.12 else buildings.townhouse
    gap = (
        rng.uniform(4, 12)
        if frontage == "blocks" and rng.random() < 0.6
        else (rng.uniform(3, 5) if rng.random() < 0.06 else 0)
    )
    return width, gap, make(rng, width, max(floors, 2), shops, open_side)


def _place(mesh: Mesh, house: Mesh, road: Road, s: float, width: float, sign: int, front: float) -> None:
    heading = float(road.heading(s + width / 2))
    at = road.at(s + width if sign > 0 else s, sign * front, KERB - 0.06)
    mesh.join(house, [at], heading - sign * np.pi / 2)


def _side_street(mesh: Mesh, street: Street, road: Road, rng, sign: int, k, front: float) -> None:
    """Houses along the crossing road, behind those at its corners."""
    heading = float(road.heading(street.junction))
    for toward in (-1, 1):
        s = street.junction + toward * (street.cross + 2.7 + (4 if k.setback[1] > 3 else 0))
        t = front + (14 if k.frontage != "halls" else 26)
        while t < REACH - 10:
            width, gap, house = _house(rng, k, 60)
            # Front towards the crossing road: beyond it houses look back at the camera.
            start = t if (toward > 0) == (sign > 0) else t + width
            mesh.join(house, [road.at(s, sign * start, KERB - 0.06)], heading + (0 if toward > 0 else np.pi))
            t += width + gap
