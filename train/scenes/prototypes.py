"""Things that stand in streets many times: made once a process from their names alone, then copied."""

from __future__ import annotations

import zlib

import numpy as np

from train.scenes import cycles, furniture, lorries, people, plants, vehicles
from train.scenes.mesh import Mesh

PEOPLE, RIDERS = 40, 8  # different ones of each kind
TREES = {"broad": 6, "slim": 3, "conifer": 3, "bare": 3, "autumn": 3}
BIKES = ("#8a2a2a", "#23435f", "#2f4a38", "#1f2022", "#b8b2a6", "#a86a2a")
PHASES = ("red", "amber", "green")


def make(name: str) -> Mesh:
    """The mesh of a thing: "car/saloon", "tree/broad/2", "cyclist/3". The same name is always the same mesh.

    Raises ValueError for a name that nothing has.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    family, *rest = name.split("/")
    if family not in _MAKERS:
        raise ValueError(f"There is no thing {name!r}: choose one of {', '.join(sorted(_MAKERS))}.")
    return _MAKERS[family](rng, *rest)


def _cyclist(rng: np.random.Generator, index: str) -> Mesh:
    mesh = cycles.bicycle(BIKES[int(index) % len(BIKES)], rng.random() < 0.3)
    mesh.join(people.rider(rng, "bicycle"))
    return mesh


def _motorcyclist(rng: np.random.Generator, kind: str, index: str) -> Mesh:
    mesh = cycles.motorcycle(kind)
    mesh.join(people.rider(rng, kind))
    return mesh


def _tree(rng: np.random.Generator, kind: str, index: str) -> Mesh:
    return plants.tree(rng, "broad" if kind == "autumn" else kind, kind == "autumn")


def _signs(rng: np.random.Generator, *names: str) -> Mesh:
    return furniture.sign(tuple(n.replace("-", " ") for n in names), 2.2)


_MAKERS = {
    "car": lambda rng, shape: vehicles.car(vehicles.SHAPES[shape]),
    "truck": lambda rng, kind: lorries.truck(kind),
    "bus": lambda rng: lorries.bus(),
    "tram": lambda rng, sections: lorries.tram(int(sections)),
    "bicycle": lambda rng, index: cycles.bicycle(BIKES[int(index) % len(BIKES)], rng.random() < 0.4),
    "cyclist": _cyclist,
    "motorcycle": lambda rng, kind: cycles.motorcycle(kind),
    "motorcyclist": _motorcyclist,
    "person": lambda rng, index: people.pedestrian(rng),
    "tree": _tree,
    "bush": lambda rng, index: plants.bush(rng),
    "hedge": lambda rng, index: plants.hedge(rng),
    "tuft": lambda rng, index: plants.tuft(rng),
    "meadow": lambda rng, index: plants.tuft(rng, True),
    "lamp": lambda rng: furniture.lamp_post(),
    "lantern": lambda rng: furniture.lantern(),
    "light": lambda rng, phase, reach: furniture.traffic_light(phase, float(reach)),
    "sign": _signs,
    "board": lambda rng: furniture.name_board(),
    "bollard": lambda rng: furniture.bollard(),
    "bin": lambda rng: furniture.bin_("#39463c"),
    "bench": lambda rng: furniture.bench(),
}
