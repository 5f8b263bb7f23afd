"""What stands beside the road and stays: trees, lamps, lights, signs, hedges, grass."""

from __future__ import annotations

import numpy as np

from train.scenes.ground import KERB
from train.scenes.prototypes import TREES
from train.scenes.street import KINDS, Street, Thing

PLATES = (
    "no-entry",
    "limit-30",
    "limit-50",
    "no-parking",
    "ahead",
    "cycles",
    "yield",
    "crossroads",
    "children",
    "roadworks",
    "priority",
    "crossing",
    "parking",
    "one-way",
    "stop",
    "town",
)


def furnish(street: Street) -> None:
    """Add what stands beside the road. Depends on the street's seed alone."""
    rng = np.random.default_rng([street.seed, 3])
    for sign in (-1, 1):
        _lamps(street, rng, sign)
        _trees(street, rng, sign)
        _signs(street, rng, sign)
        _grass(street, rng, sign)
        _small(street, rng, sign)
        if street.side(sign).boundary == "hedge":
            _hedge(street, rng, sign)
        _garden(street, rng, sign)
    if street.junction is not None and rng.random() < 0.7:
        _lights(street, rng)
    elif street.zebras and rng.random() < 0.5:
        _lights(street, rng)
    _backdrop(street, rng)


def _free(street: Street, s: float, margin: float = 2.0) -> bool:
    return not street.in_junction(s, margin) and not any(abs(s - z) < 2.2 for z in street.zebras)


def _lamps(street: Street, rng: np.random.Generator, sign: int) -> None:
    side, old = street.side(sign), street.kind == "town" and street.lanes == 1
    gap = rng.uniform(15, 20) if old else rng.uniform(22, 30)
    for s in np.arange(rng.uniform(3, gap), 150, gap):
        if _free(street, s):
            t = sign * (street.half + 0.45)
            heading = np.pi if sign > 0 else 0.0
            street.things.append(
                Thing("lantern" if old else "lamp", s, t, KERB if not side.verge else KERB - 0.02, heading)
            )


def _trees(street: Street, rng: np.random.Generator, sign: int) -> None:
    k, side = KINDS[street.kind], street.side(sign)
    kinds = (
        ["autumn"] if street.autumn else ["broad", "broad", "broad", "slim", "bare" if rng.random() < 0.3 else "broad"]
    )
    kind = kinds[rng.integers(len(kinds))]
    if k.trees and (side.verge > 0.9 or (street.kind == "tram" and rng.random() < 0.6)):
        t = street.half + (side.verge / 2 if side.verge > 0.9 else 0.8)
        for s in np.arange(rng.uniform(5, 12), 170, k.trees * rng.uniform(0.85, 1.3)):
            if _free(street, s, 3.5) and rng.random() < 0.9:
                name = f"tree/{kind}/{rng.integers(TREES[kind])}"
                z = KERB - 0.05
                street.things.append(
                    Thing(
                        name, s + rng.uniform(-0.5, 0.5), sign * t, z, rng.uniform(0, 6.3), scale=rng.uniform(0.7, 1.1)
                    )
                )
    count = 34 if side.park else int(side.setback * 1.6)
    for _ in range(count):
        s = rng.uniform(4, 150)
        depth = rng.uniform(1.5, 45) if side.park else rng.uniform(0.35, 0.8) * side.setback
        kind = list(TREES)[rng.integers(len(TREES))] if not street.autumn else "autumn"
        if kind == "autumn" and not street.autumn:
            kind = "broad"
        if not street.in_junction(s, 4.0) and (side.park or side.setback > 2.5):
            t = street.half + side.verge + side.walk + depth
            scale = rng.uniform(0.8, 1.35) if side.park else rng.uniform(0.4, 0.85)
            name = f"tree/{kind}/{rng.integers(TREES[kind])}"
            street.things.append(Thing(name, s, sign * t, 0.0, rng.uniform(0, 6.3), scale=scale))


def _signs(street: Street, rng: np.random.Generator, sign: int) -> None:
    side = street.side(sign)
    for s in np.cumsum(rng.exponential(14, 9)) + 5:
        if s < 110 and _free(street, s):
            names = [PLATES[rng.integers(len(PLATES))] for _ in range(1 if rng.random() < 0.7 else 2)]
            t = sign * (street.half + 0.55 if side.walk > 1.2 else street.half + side.verge)
            away = sign < 0 and rng.random() < 0.6  # for the traffic that comes
            heading = (np.pi if away else 0.0) + rng.normal(scale=0.12)
            street.things.append(Thing("sign/" + "/".join(names), s, t, KERB, heading))
    if rng.random() < 0.3 and side.verge + side.walk > 3:
        s = rng.uniform(18, 60)
        if _free(street, s, 4):
            street.things.append(Thing("board", s, sign * (street.half + 1.9), KERB, 0.0))


def _lights(street: Street, rng: np.random.Generator) -> None:
    phase = ("red", "green", "green", "amber")[rng.integers(4)]
    other = "green" if phase == "red" else "red"
    stop = (street.junction - street.cross - 1.2) if street.junction is not None else street.zebras[0] - 2.4
    far = (street.junction + street.cross + 1.2) if street.junction is not None else street.zebras[0] + 2.4
    reach = rng.choice((0.0, 0.0, 3.5))
    z = KERB
    street.things.append(Thing(f"light/{phase}/{reach}", stop, street.half + 0.5, z))
    street.things.append(Thing(f"light/{phase}/0.0", far, street.half + 0.6, z))
    street.things.append(Thing(f"light/{phase}/0.0", stop if street.lanes > 1 else far, -street.half - 0.6, z))
    if street.junction is not None:
        street.things.append(Thing(f"light/{other}/0.0", far + 0.5, -street.half - 0.6, z, np.pi / 2))
    street.things.append(Thing(f"light/{phase}/{reach}", far, -street.half - 0.6, z, np.pi))


def _grass(street: Street, rng: np.random.Generator, sign: int) -> None:
    """Tufts where the camera is near enough to see blades."""
    side = street.side(sign)
    strips = []
    if side.verge > 0.9:
        strips.append((street.half + 0.25, street.half + side.verge, KERB + 0.0))
    if side.park or side.setback > 2:
        start = street.half + side.verge + side.walk
        strips.append((start + 0.4, start + (9 if side.park else side.setback), 0.08))
    for low, high, z in strips:
        for t in np.arange(low + 0.5, max(high - 0.3, low + 0.6), 1.1):
            for s in np.arange(2, 26, 1.1):
                if not street.in_junction(s, 1.5):
                    name = f"{'meadow' if rng.random() < 0.12 else 'tuft'}/{rng.integers(3)}"
                    street.things.append(Thing(name, s, sign * min(t, high - 0.6), z, rng.uniform(0, 6.3)))


def _small(street: Street, rng: np.random.Generator, sign: int) -> None:
    side = street.side(sign)
    if rng.random() < 0.3 and not side.verge:
        for s in np.arange(rng.uniform(4, 10), 60, 1.8):
            if _free(street, s):
                street.things.append(Thing("bollard", s, sign * (street.half + 0.35), KERB))
    for name, chance in (("bin", 0.6), ("bench", 0.35)):
        if rng.random() < chance and side.walk > 2:
            s = rng.uniform(8, 40)
            if _free(street, s):
                street.things.append(
                    Thing(name, s, sign * (street.half + side.verge + 0.5), KERB, 0.0 if sign > 0 else np.pi)
                )


def _hedge(street: Street, rng: np.random.Generator, sign: int) -> None:
    side = street.side(sign)
    t = street.half + side.verge + side.walk + 0.5
    gate = rng.uniform(14, 20)
    for s in np.arange(-4, 120, 2.0):
        if not street.in_junction(s, 3) and (s % gate) > 3.2:
            street.things.append(Thing(f"hedge/{rng.integers(3)}", s, sign * t, KERB - 0.05, 0.0, scale=1.0))


def _garden(street: Street, rng: np.random.Generator, sign: int) -> None:
    side = street.side(sign)
    if side.setback < 2.5 and not side.park:
        return
    for _ in range(24 if side.park else 16):
        s = rng.uniform(4, 90)
        t = street.half + side.verge + side.walk + rng.uniform(0.9, 14 if side.park else side.setback - 0.8)
        if not street.in_junction(s, 4):
            street.things.append(
                Thing(f"bush/{rng.integers(4)}", s, sign * t, 0.0, rng.uniform(0, 6.3), scale=rng.uniform(0.6, 1.5))
            )


def _backdrop(street: Street, rng: np.random.Generator) -> None:
    """Trees where the street ends, so that it does not end in nothing."""
    for _ in range(40):
        s, t = rng.uniform(232, 258), rng.uniform(-60, 60)
        kind = ("broad", "broad", "conifer", "slim")[rng.integers(4)]
        street.things.append(
            Thing(
                f"tree/{kind}/{rng.integers(TREES[kind])}", s, t, -0.3, rng.uniform(0, 6.3), scale=rng.uniform(1.0, 1.7)
            )
        )
