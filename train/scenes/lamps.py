"""The lamps of the night: where street lamps, headlights and shop windows really throw light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.scenes.camera import Camera
from train.scenes.street import Street

SODIUM, WHITE, HEAD = (1.0, 0.62, 0.28), (1.0, 0.86, 0.66), (1.0, 0.93, 0.82)


@dataclass
class Light:
    """A lamp of the night. kind: "spot" or "point". colour linear, power in the sky's unit times square metres."""

    kind: str
    position: np.ndarray
    towards: np.ndarray
    colour: tuple[float, float, float]
    power: float
    angle: float = 120.0
    size: float = 0.1


def lamps(street: Street, camera: Camera) -> list[Light]:
    """Lights of a street at night. Depends on the street alone."""
    rng, road = np.random.default_rng([street.seed, 11]), street.road
    tint = SODIUM if rng.random() < 0.5 else WHITE
    found = []
    for thing in street.things:
        if thing.name in ("lamp", "lantern") and thing.s < 110:
            high, reach = (7.9, 2.0) if thing.name == "lamp" else (3.6, 0.0)
            t = thing.t - np.sign(thing.t) * reach
            at = road.at(thing.s, t, high)
            if thing.name == "lamp":
                found.append(Light("spot", at, np.array([0, 0, -1.0]), tint, 650.0, 150.0, 0.15))
            else:
                found.append(Light("point", at + (0, 0, 0.1), np.array([0, 0, -1.0]), tint, 75.0, size=0.12))
        elif thing.name.startswith(("car/", "bus", "truck", "motorcyclist")) and thing.s < 70 and thing.lit:
            turn = float(road.heading(thing.s)) + thing.heading
            ahead = np.array([-np.sin(turn), np.cos(turn), -0.06])
            at = road.at(thing.s, thing.t, 0.7) + ahead * (2.7 if thing.name.startswith("car") else 6.5)
            found.append(Light("spot", at, ahead, HEAD, 220.0, 70.0, 0.08))
    # The camera's own car.
    eye = road.at(0.0, street.own, 0.65)
    for x in (-0.6, 0.6):
        found.append(Light("spot", eye + (x, 1.6, 0), np.array([x * 0.05, 1.0, -0.02]), HEAD, 260.0, 44.0, 0.08))
    return found
