"""Cars, buses and lorries as solids with painted sides, and rows of parked cars."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.scenes import BUS, CAR, TRUCK, Canvas, Colour
from train.scenes.things import Face, Thing, block, draw_solid, inset, to_world

GLASS, DARK, PLATE, RED, LAMP = (66, 84, 98), (34, 36, 40), (226, 226, 216), (186, 24, 26), (244, 244, 232)
SHEEN = (1.5, 0.75)  # window glass mirrors the sky above and the street below
PAINTS = ((176, 32, 36), (36, 70, 128), (226, 228, 230), (58, 62, 68), (150, 156, 162), (24, 26, 30), (64, 104, 92),
          (206, 170, 92), (98, 128, 156))  # fmt: skip


def car(x: float, z: float, paint: Colour, away: bool = True, kind: str = "hatch", yaw: float = 0.0) -> Thing:
    """A passenger car: a body extruded from its side profile, and a tapered cabin."""
    length, width, height = {"hatch": (4.1, 1.76, 1.47), "saloon": (4.6, 1.82, 1.44), "suv": (4.5, 1.88, 1.7)}[kind]
    belt, base = height * 0.635, 0.3 if kind != "suv" else 0.38
    half, rear_deck = width / 2, {"hatch": 0.06, "saloon": 0.75, "suv": 0.04}[kind]
    profile = np.array([
        (0.04, base), (0, base + 0.3), (0.05, belt - 0.03), (rear_deck + 0.1, belt), (length * 0.72, belt),
        (length * 0.96, belt - 0.2), (length, belt - 0.36), (length - 0.03, base),
    ])  # fmt: skip
    profile[:, 0] -= length / 2

    def strip(i: int, w: float = half) -> np.ndarray:
        (l0, y0), (l1, y1) = profile[i], profile[i + 1]
        return np.array([(-w, y0, l0), (w, y0, l0), (w, y1, l1), (-w, y1, l1)])

    flat, lower = (1.0, 1.0), (1.0, 0.8)
    rear, nose, bumper = strip(1), strip(5), strip(6)
    details: dict[int, list] = {
        0: [
            (inset(strip(0), 0.03, 0.97, 0.0, 0.5), DARK, flat),
            (inset(strip(0), 0.36, 0.64, 0.62, 1.0), PLATE, flat),
        ],
        1: [(inset(rear, *span, 0.3, 0.86), RED, (1.25, 0.8)) for span in ((0.02, 0.2), (0.8, 0.98))]
        + [(inset(rear, 0.22, 0.78, 0.2, 0.25), np.multiply(paint, 0.6), flat)],
        5: [(inset(nose, *span, 0.05, 0.75), LAMP, (1.0, 0.8)) for span in ((0.02, 0.24), (0.76, 0.98))]
        + [(inset(nose, 0.28, 0.72, 0.0, 0.5), DARK, flat)],
        6: [(inset(bumper, 0.1, 0.9, 0.5, 0.98), DARK, flat), (inset(bumper, 0.36, 0.64, 0.3, 0.6), PLATE, flat)],
    }
    body = [Face(strip(i), paint, lower, details.get(i, ())) for i in range(len(profile) - 1)]
    for side in (-half, half):
        outline = np.stack([np.full(len(profile), side), profile[:, 1], profile[:, 0]], axis=1)
        l0, l1, handle = -length / 2 + 0.04, length / 2 - 0.03, length * 0.02
        sill = np.array([(side, base, l0), (side, base, l1), (side, base + 0.1, l1), (side, base + 0.1, l0)])
        line = np.array([(side, belt - 0.16, handle), (side, belt - 0.16, handle + 0.2),
                         (side, belt - 0.12, handle + 0.2), (side, belt - 0.12, handle)])  # fmt: skip
        extra = [(sill, DARK, flat), (line, np.multiply(paint, 0.55), flat)]
        wheels = [*_wheel(side, -length * 0.31, 0.33), *_wheel(side, length * 0.31, 0.33)]
        body.append(Face(outline, paint, (1.06, 0.72), [*extra, *wheels]))
    r0, r1 = (0.75, 1.25) if kind == "saloon" else (0.32, 0.62)
    start, stop = rear_deck + 0.12, length * 0.73
    b = np.array([(s * half * 0.95, belt - 0.01, end - length / 2) for end in (start, stop) for s in (-1, 1)])
    roof_at = (start + r0 * 0.8, stop - 0.85 - 0.1 * r1)
    t = np.array([(s * half * 0.76, height, end - length / 2) for end in roof_at for s in (-1, 1)])
    cabin = [Face(np.array([t[0], t[1], t[3], t[2]]), np.multiply(paint, 1.05), (1.0, 1.05))]
    for i, j, spans in ((0, 1, ((0.07, 0.93),)), (2, 3, ((0.05, 0.95),)), (0, 2, ((0.1, 0.44), (0.49, 0.9))),
                        (1, 3, ((0.1, 0.44), (0.49, 0.9)))):  # fmt: skip
        quad = np.array([b[i], b[j], t[j], t[i]])
        glass = [(inset(quad, *span, 0.08, 0.88), GLASS, SHEEN) for span in spans]
        cabin.append(Face(quad, np.multiply(paint, 0.82), (1.0, 0.95), glass))
    place = (x, z, yaw + (0.0 if away else np.pi))
    return _vehicle([(body, CAR), (cabin, CAR)], place, (width, length, height))


def _vehicle(
    solids: list, place: tuple[float, float, float], size: tuple[float, float, float], axle: float = 0.31
) -> Thing:
    width, length, height = size
    box = np.array([(s * width / 2, y, e * length / 2) for s in (-1, 1) for y in (0, height) for e in (-1, 1)])
    foot = np.array([(s * width * 0.54, 0, e * length * 0.52) for s, e in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    label = solids[0][1]

    def draw(canvas: Canvas) -> None:
        for along in (-axle * length, axle * length):
            under = np.array([(-width * 0.42, 0.14, along), (width * 0.42, 0.14, along),
                              (width * 0.42, 0.5, along), (-width * 0.42, 0.5, along)])  # fmt: skip
            canvas.polygon(to_world(under, *place), (20, 20, 22), label)
            for s in (-1, 1):
                tyre = [(s * width * 0.36, 0), (s * width * 0.49, 0), (s * width * 0.49, 0.5), (s * width * 0.36, 0.5)]
                canvas.polygon(to_world([(w, y, along) for w, y in tyre], *place), (26, 26, 28), label)
        for faces, kind in solids:
            draw_solid(canvas, faces, kind, place)

    return Thing(place[1], draw, [to_world(box, *place)], to_world(foot, *place))


def _wheel(side: float, along: float, radius: float) -> list[tuple[np.ndarray, Colour, tuple[float, float]]]:
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)

    def ring(r: float) -> np.ndarray:
        return np.stack([np.full(28, side), radius + r * np.cos(turn), along + r * np.sin(turn)], axis=1)

    arch = ring(radius * 1.2)
    arch[:, 1] = arch[:, 1].clip(radius * 0.9)
    flat = (1.0, 1.0)
    tones = (
        (radius, (30, 30, 32)),
        (radius * 0.64, (150, 154, 160)),
        (radius * 0.5, (92, 96, 102)),
        (0.06, (170,) * 3),
    )
    return [(arch, (16, 16, 18), flat), *[(ring(r), tone, flat) for r, tone in tones]]


def bus(x: float, z: float, paint: Colour, away: bool) -> Thing:
    """A city bus, 11 m long."""
    body, flat = block(2.5, 0.34, 3.05, -5.5, 5.5, paint), (1.0, 1.0)
    for side, sign in (("left", -1), ("right", 1)):
        quad = body[side].points
        glass = [(inset(quad, 0.02, 0.98, 0.42, 0.86), (30, 36, 42), flat)]
        glass += [(inset(quad, u + 0.006, u + 0.108, 0.44, 0.84), GLASS, SHEEN) for u in np.arange(0.03, 0.9, 0.118)]
        glass += [
            (inset(quad, u, u + 0.09, 0.04, 0.84), (54, 66, 76), SHEEN) for u in ((0.03, 0.5) if sign < 0 else ())
        ]
        glass += [(inset(quad, 0.0, 1.0, 0.12, 0.17), (240, 240, 236), flat)]
        body[side].details = [*glass, *_wheel(sign * 1.25, -3.0, 0.48), *_wheel(sign * 1.25, 3.1, 0.48)]
    front, rear = body["front"].points, body["rear"].points
    body["front"].details = [
        (inset(front, 0.05, 0.95, 0.36, 0.83), (26, 32, 38), flat),
        (inset(front, 0.07, 0.93, 0.38, 0.81), (70, 90, 106), SHEEN),
        (inset(front, 0.49, 0.505, 0.38, 0.81), (30, 34, 38), flat),
        (inset(front, 0.12, 0.88, 0.85, 0.96), (22, 22, 24), flat),
        *[
            (inset(front, u, u + 0.05, 0.875, 0.935), (250, 170, 40), flat)
            for u in (0.2, 0.27, 0.4, 0.47, 0.54, 0.61, 0.7)
        ],
        *[(inset(front, u, u + 0.16, 0.1, 0.2), LAMP, flat) for u in (0.05, 0.79)],
        (inset(front, 0.38, 0.62, 0.06, 0.12), PLATE, flat),
        (inset(front, 0.0, 1.0, 0.0, 0.05), DARK, flat),
    ]
    body["rear"].details = [
        (inset(rear, 0.1, 0.9, 0.5, 0.85), GLASS, SHEEN),
        *[(inset(rear, u, u + 0.1, 0.15, 0.4), RED, flat) for u in (0.03, 0.87)],
        (inset(rear, 0.2, 0.8, 0.12, 0.4), np.multiply(paint, 0.7), flat),
        (inset(rear, 0.38, 0.62, 0.05, 0.12), PLATE, flat),
    ]
    return _vehicle([(list(body.values()), BUS)], (x, z, 0.0 if away else np.pi), (2.5, 11.0, 3.05), axle=0.275)


def truck(x: float, z: float, paint: Colour, cargo: Colour, away: bool) -> Thing:
    """A delivery lorry: a box behind a cab."""
    box, cab, flat = block(2.3, 0.6, 3.1, -3.4, 1.5, cargo), block(2.15, 0.42, 2.4, 1.6, 3.4, paint), (1.0, 1.0)
    for side, sign in (("left", -1), ("right", 1)):
        quad = box[side].points
        box[side].details = [(inset(quad, 0.0, 1.0, 0.0, 0.07), DARK, flat),
                             (inset(quad, 0.12, 0.88, 0.42, 0.66), paint, flat),
                             *_wheel(sign * 1.15, -2.0, 0.46)]  # fmt: skip
        window = inset(cab[side].points, *((0.1, 0.62) if sign < 0 else (0.38, 0.9)), 0.52, 0.9)
        cab[side].details = [(window, GLASS, SHEEN), *_wheel(sign * 1.08, 2.4, 0.46)]
    rear, front = box["rear"].points, cab["front"].points
    box["rear"].details = [
        (inset(rear, 0.04, 0.96, 0.08, 0.96), np.multiply(cargo, 0.9), flat),
        (inset(rear, 0.49, 0.51, 0.08, 0.96), (90, 92, 96), flat),
        *[(inset(rear, u, u + 0.02, 0.1, 0.94), (120, 122, 126), flat) for u in (0.3, 0.68)],
        (inset(rear, 0.0, 1.0, 0.0, 0.07), DARK, flat),
        *[(inset(rear, u, u + 0.1, 0.0, 0.07), RED, flat) for u in (0.02, 0.88)],
    ]
    cab["front"].details = [
        (inset(front, 0.06, 0.94, 0.5, 0.92), (64, 84, 100), SHEEN),
        (inset(front, 0.2, 0.8, 0.2, 0.4), DARK, flat),
        *[(inset(front, u, u + 0.14, 0.1, 0.24), LAMP, flat) for u in (0.04, 0.82)],
        (inset(front, 0.38, 0.62, 0.06, 0.14), PLATE, flat),
    ]
    solids = [(list(cab.values()), TRUCK), (list(box.values()), TRUCK)]
    return _vehicle(solids if away else solids[::-1], (x, z, 0.0 if away else np.pi), (2.3, 6.8, 3.1))


def parked(rng: Generator, x: float, start: float, end: float, away: bool, gaps: float = 0.25) -> list[Thing]:
    """A row of cars along x, from start to end; gaps: probability that a place is free."""
    cars, z = [], start
    while z < end:
        if rng.random() > gaps:
            kind, paint = str(rng.choice(["hatch", "saloon", "suv"])), PAINTS[int(rng.integers(len(PAINTS)))]
            cars.append(car(x + rng.normal(0, 0.06), z, paint, away, kind, rng.normal(0, 0.012)))
        z += rng.uniform(5.4, 6.4)
    return cars
