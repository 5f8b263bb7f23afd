"""Who and what moves and parks in a street: vehicles in lanes, riders, people, parked cars and bicycles."""

from __future__ import annotations

import numpy as np

from train.scenes.ground import KERB
from train.scenes.prototypes import PEOPLE, RIDERS
from train.scenes.street import KINDS, Street, Thing

PAINTS = (
    "#d9dadb",
    "#9ba0a5",
    "#4b4f54",
    "#17181a",
    "#7c1c1f",
    "#1f3a5f",
    "#2c4a3a",
    "#b9a98a",
    "#e9e9e6",
    "#5a5e63",
    "#223047",
    "#a03a22",
    "#c9cccf",
    "#2b2d30",
    "#6f7f8c",
    "#3a2f2a",
)
CARS = ("hatch", "hatch", "saloon", "saloon", "estate", "suv", "suv", "mini", "van", "minivan")
LENGTHS = {"car": 4.6, "truck": 8.4, "bus": 12.4, "motorcyclist": 2.2, "cyclist": 1.8, "tram": 28.0}
COACHES = ("#c9a227", "#a32a2a", "#2a5a9a", "#e4e2dc", "#2f6a4a", "#d9d4c6")
SIGHT = 150.0  # metres: nothing that moves is put further away


def populate(street: Street) -> None:
    """Add everything that moves or parks. Depends on the street's seed alone."""
    rng = np.random.default_rng([street.seed, 2])
    k = KINDS[street.kind]
    middle = 3.3 if street.tracks else 0.0
    for direction in (1, -1):
        for lane in range(street.lanes):
            t = direction * (middle + street.lane * (lane + 0.5))
            _lane(street, rng, t, direction, k.traffic / street.lanes, own=direction > 0 and abs(t - street.own) < 1.2)
    if street.tracks:
        for t, heading in ((1.6, 0.0), (-1.6, np.pi)):
            if rng.random() < 0.5:
                s = rng.uniform(26, 90)
                sections = str(int(rng.integers(2, 4)))
                street.things.append(Thing(f"tram/{sections}", s, t, 0, heading, _pick(rng, COACHES)))
    for sign in (-1, 1):
        _parked(street, rng, sign)
        _cyclists(street, rng, sign)
        _walkers(street, rng, sign, k.walkers / 2)
        _racks(street, rng, sign)
    for s in street.zebras:
        for _ in range(int(rng.poisson(1.6))):
            t = rng.uniform(-street.half, street.half)
            if s > 9:
                street.things.append(_person(rng, s + rng.uniform(-1.2, 1.2), t, 0, rng.choice((-1, 1)) * np.pi / 2))


def _lane(street: Street, rng: np.random.Generator, t: float, direction: int, count: float, own: bool) -> None:
    s = rng.uniform(11, 34) if own else rng.uniform(5, 28)
    while s < SIGHT:
        family = ("car", "truck", "bus", "motorcyclist", "cyclist")[rng.choice(5, p=(0.835, 0.045, 0.04, 0.045, 0.035))]
        length = LENGTHS[family]
        if s + length > SIGHT:
            break
        at = s + length / 2
        blocked = family != "car" and own and s < 14  # a lorry right ahead would be the whole picture
        if not blocked and not any(abs(at - z) < length / 2 + 2.4 for z in street.zebras):
            street.things.append(_vehicle(rng, family, at, t + rng.uniform(-0.3, 0.3), direction))
        s += length + 2.5 + rng.exponential(SIGHT / max(count, 0.5) * 0.8)


def _vehicle(rng: np.random.Generator, family: str, s: float, t: float, direction: int) -> Thing:
    name = {
        "car": lambda: f"car/{_pick(rng, CARS)}",
        "truck": lambda: f"truck/{_pick(rng, ('box', 'tarpaulin', 'tank', 'tipper', 'rubbish'))}",
        "bus": lambda: "bus",
        "cyclist": lambda: f"cyclist/{rng.integers(RIDERS)}",
        "motorcyclist": lambda: f"motorcyclist/{_pick(rng, ('scooter', 'motorcycle'))}/{rng.integers(3)}",
    }[family]()
    colours = COACHES if family == "bus" else PAINTS
    return Thing(name, s, t, 0.0, (0.0 if direction > 0 else np.pi) + rng.normal(scale=0.012), _pick(rng, colours))


def _parked(street: Street, rng: np.random.Generator, sign: int) -> None:
    if not street.side(sign).parking:
        return
    s, dense = rng.uniform(2.5, 9), rng.uniform(0.5, 0.92)
    while s < SIGHT:
        clear = not street.in_junction(s + 2.3, 5.0) and not any(abs(s + 2.3 - z) < 6.0 for z in street.zebras)
        if clear and rng.random() < dense:
            t = sign * (street.half - 1.08 + rng.uniform(-0.1, 0.1))
            turned = (sign < 0) != (rng.random() < 0.08)
            thing = _vehicle(rng, "car", s + 2.3, t, -1 if turned else 1)
            if rng.random() < 0.025:
                thing = Thing(
                    f"motorcycle/{_pick(rng, ('scooter', 'motorcycle'))}",
                    s + 2,
                    t,
                    0,
                    rng.uniform(-2, 2),
                    _pick(rng, PAINTS),
                )
            thing.lit = False
            street.things.append(thing)
        s += rng.uniform(5.4, 6.6)


def _cyclists(street: Street, rng: np.random.Generator, sign: int) -> None:
    edge = street.half - (2.1 if street.side(sign).parking else 0.3) - 0.75
    for _ in range(int(rng.poisson(0.9))):
        s = rng.uniform(9, 60)
        heading = 0.0 if sign > 0 else np.pi
        street.things.append(
            Thing(f"cyclist/{rng.integers(RIDERS)}", s, sign * edge, 0, heading + rng.normal(scale=0.05))
        )


def _walkers(street: Street, rng: np.random.Generator, sign: int, mean: float) -> None:
    side = street.side(sign)
    inner = street.half + side.verge
    for _ in range(int(rng.poisson(mean / 1.5))):
        s = 5 + rng.exponential(32)
        if s > 120 or street.in_junction(s):
            continue
        t = inner + rng.uniform(0.4, max(side.walk - 0.35, 0.5))
        heading = (0.0 if rng.random() < 0.5 else np.pi) + rng.normal(scale=0.25)
        for _ in range(1 if rng.random() < 0.6 else int(rng.integers(2, 4))):
            street.things.append(_person(rng, s, sign * t, KERB, heading + rng.normal(scale=0.15)))
            s, t = s + rng.uniform(-0.3, 0.5), t + rng.choice((-1, 1)) * 0.65
            t = float(np.clip(t, inner + 0.3, inner + side.walk - 0.2))


def _racks(street: Street, rng: np.random.Generator, sign: int) -> None:
    side = street.side(sign)
    for _ in range(int(rng.poisson(1.3 if side.walk > 2.2 else 0.6))):
        s, count = rng.uniform(6, 45), int(rng.integers(1, 6))
        t = street.half + side.verge + (side.walk - 0.5 if rng.random() < 0.6 else 0.7)
        for i in range(count):
            if not street.in_junction(s + i * 0.6):
                lean = rng.uniform(-0.15, 0.15)
                along = np.pi / 2 if side.walk > 2.6 else 0.0
                step = 0.65 if along else 1.9
                name = f"bicycle/{rng.integers(6)}"
                street.things.append(Thing(name, s + i * step, sign * t, KERB, along + lean, lit=False))


def _person(rng: np.random.Generator, s: float, t: float, z: float, heading: float) -> Thing:
    return Thing(f"person/{rng.integers(PEOPLE)}", s, t, z, heading, scale=rng.uniform(0.96, 1.04))


def _pick(rng: np.random.Generator, choices):
    return choices[int(rng.integers(len(choices)))]
