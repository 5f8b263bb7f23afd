"""What a street is made of, sampled from a seed: its kind, its measures, and everything that stands and moves in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from train.scenes.road import Road


@dataclass(frozen=True)
class Kind:
    """How streets of a kind are. Pairs are ranges to draw from. lanes: in each direction. trees: metres between them,
    or 0. setback: from pavement to houses. frontage: what stands there. walkers, riders, traffic: how many, about."""

    title: str
    lanes: tuple[int, int]
    parking: float
    walk: tuple[float, float]
    verge: tuple[float, float]
    trees: float
    setback: tuple[float, float]
    frontage: str
    floors: tuple[int, int]
    shops: float
    walkers: float
    traffic: float
    tracks: bool = False


KINDS = {
    "avenue": Kind("Tree-lined avenue", (2, 2), 0.8, (4.0, 6.5), (1.4, 2.0), 8, (0, 0), "rows", (4, 6), 0.6, 18, 9),
    "town": Kind("Old town street", (1, 1), 0.75, (2.2, 4.0), (0, 0), 0, (0, 0), "rows", (2, 4), 0.55, 20, 4),
    "suburb": Kind("Suburban road", (1, 1), 0.45, (1.8, 2.6), (0, 1.8), 13, (4, 7), "cottages", (1, 2), 0, 6, 4),
    "blocks": Kind("Street of flats", (1, 2), 0.7, (2.6, 4.2), (1.5, 4.0), 9, (2, 7), "blocks", (4, 7), 0.25, 11, 6),
    "tram": Kind("Tram boulevard", (1, 1), 0.4, (3.5, 5.5), (0, 1.5), 10, (0, 0), "mixed", (3, 6), 0.6, 18, 5, True),
    "industrial": Kind(
        "Road past workshops", (1, 2), 0.3, (1.6, 2.4), (1.0, 2.5), 20, (3, 8), "halls", (1, 1), 0, 4, 6
    ),
    "park": Kind("Road along a park", (1, 2), 0.5, (2.4, 3.6), (1.0, 3.0), 9, (1, 3), "park", (3, 5), 0.2, 12, 5),
}
_CHANCE = {"avenue": 0.2, "town": 0.2, "suburb": 0.16, "blocks": 0.14, "tram": 0.12, "industrial": 0.09, "park": 0.09}


@dataclass
class Side:
    """One side of the road from kerb to house. Distances in metres."""

    parking: bool
    verge: float
    walk: float
    setback: float
    boundary: str  # hedge, pickets, railing, mesh, wall or none, between pavement and garden
    park: bool = False


@dataclass
class Thing:
    """A copy of a prototype: (s, t) on the road, z above it, heading against the road's, colour of tinted surfaces, and
    whether its lamps burn at night."""

    name: str
    s: float
    t: float
    z: float = 0.0
    heading: float = 0.0
    colour: str = "#ffffff"
    scale: float = 1.0
    lit: bool = True


@dataclass
class Street:
    """A sampled street. half: from the middle line to the kerb. own: t of the camera. junction: s of a crossing road,
    or None; cross: half of its width. zebras: s of pedestrian crossings."""

    seed: int
    kind: str
    bend: tuple[float, float]
    turn_at: float
    rise: float
    lane: float
    lanes: int
    half: float
    own: float
    left: Side
    right: Side
    junction: float | None
    cross: float
    zebras: list[float]
    tracks: bool
    cobbles: bool
    wear: float
    autumn: bool
    things: list[Thing] = field(default_factory=list)

    @property
    def road(self) -> Road:
        return Road(self.bend, self.turn_at, self.rise)

    def side(self, sign: int) -> Side:
        return self.right if sign > 0 else self.left

    def front(self, sign: int) -> float:
        """|t| where the houses begin."""
        side = self.side(sign)
        return self.half + side.verge + side.walk + side.setback

    def in_junction(self, s: float, margin: float = 1.0) -> bool:
        return self.junction is not None and abs(s - self.junction) < self.cross + margin


def sample(seed: int, kind: str | None = None) -> Street:
    """A street without things in it yet. kind: one of KINDS, or None for any.

    Raises ValueError for an unknown kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"There is no kind of street {kind!r}: choose one of {', '.join(KINDS)}.")
    rng = np.random.default_rng([seed, 1])
    name = kind or list(_CHANCE)[rng.choice(len(_CHANCE), p=list(_CHANCE.values()))]
    k = KINDS[name]
    lanes = int(rng.integers(k.lanes[0], k.lanes[1] + 1))
    lane = rng.uniform(2.9, 3.5)
    tracks = k.tracks
    sides = [_side(rng, k) for _ in range(2)]
    if name == "park":
        sides[int(rng.integers(2))].park = True
    middle = 3.3 if tracks else 0.0  # half of the tram's own bed
    parking = 2.1 if any(s.parking for s in sides) else 0.3
    half = middle + lanes * lane + parking
    curved = rng.random() < 0.45
    bend = tuple((rng.uniform(-1, 1, 2) / 90).round(5)) if curved else tuple((rng.uniform(-1, 1, 2) / 900).round(5))
    has_junction = rng.random() < 0.6
    junction = rng.uniform(16, 75) if has_junction else None
    cross = rng.uniform(3.2, 6.0)
    zebras = []
    if junction is not None and rng.random() < 0.75:
        zebras = [junction - cross - 3.2] + ([junction + cross + 3.2] if rng.random() < 0.7 else [])
    elif rng.random() < 0.45:
        zebras = [rng.uniform(12, 45)]
    own = middle + lane * (int(rng.integers(lanes)) + 0.5) + rng.uniform(-0.25, 0.25)
    return Street(
        seed,
        name,
        bend,
        rng.uniform(40, 80),
        rng.uniform(-3, 4) if rng.random() < 0.4 else 0.0,
        lane,
        lanes,
        half,
        own,
        sides[0],
        sides[1],
        junction,
        cross,
        zebras,
        tracks,
        name == "town" and rng.random() < 0.25,
        rng.uniform(0, 1),
        rng.random() < 0.15,
    )


def _side(rng: np.random.Generator, k: Kind) -> Side:
    if k.frontage == "cottages":
        boundary = ("hedge", "pickets", "wall", "railing", "hedge", "wall")[rng.integers(6)]
    elif k.frontage == "halls":
        boundary = ("mesh", "wall", "mesh", "hedge")[rng.integers(4)]
    elif k.frontage in ("blocks", "park"):
        boundary = ("none", "hedge", "railing", "wall", "none", "mesh")[rng.integers(6)]
    else:
        boundary = "none"
    return Side(
        bool(rng.random() < k.parking), rng.uniform(*k.verge), rng.uniform(*k.walk), rng.uniform(*k.setback), boundary
    )
