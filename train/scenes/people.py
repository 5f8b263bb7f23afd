"""Pedestrians and riders: bodies of melted capsules in clothes of their own."""

from __future__ import annotations

import numpy as np

from train.scenes import PERSON, RIDER
from train.scenes.mesh import Mesh, linear
from train.scenes.sdf import body

SKINS = ("#e0b494", "#c98f6c", "#8d5b3e", "#5b3a28", "#edc7a8", "#a8714f")
HAIRS = ("#2a1d16", "#4a3524", "#7a5a38", "#161413", "#b59a68", "#8a8580", "#6a2f1c")
TOPS = (
    "#20242c",
    "#3b4a63",
    "#7a2a2c",
    "#a9a59c",
    "#2f4a3a",
    "#c9c2b4",
    "#5a4a3c",
    "#8a6a2c",
    "#b5463c",
    "#e4e0d8",
    "#44546a",
    "#1a1a1c",
    "#6a3a5a",
    "#d0a83c",
    "#3f7a8c",
)
LEGS = ("#1c2230", "#2a3a55", "#38383a", "#6a5f50", "#141416", "#8a7f6c", "#43506a", "#4a3a30")
SHOES = ("#141414", "#3a2a20", "#d8d6d0", "#5a2a22", "#2c3038")


def pedestrian(rng: np.random.Generator, detail: float = 0.024) -> Mesh:
    """Somebody who walks or stands, looking to +y: man, woman or child, in trousers, shorts, skirt or coat."""
    child = rng.random() < 0.12
    tall = rng.uniform(1.1, 1.4) if child else rng.uniform(1.58, 1.92)
    broad = rng.uniform(0.88, 1.2) * (0.85 if child else 1)
    standing = rng.random() < 0.3
    stride = 0.04 if standing else rng.uniform(0.18, 0.34)
    swing = stride * rng.uniform(0.6, 1.1) * rng.choice((-1, 1))
    parts = _figure(tall, broad)
    hip, knee, ankle = 0.5 * tall, 0.275 * tall, 0.045 * tall
    for side, ahead in ((-1, 1), (1, -1)):
        x = side * 0.055 * tall * broad
        foot = ahead * stride * np.sign(swing)
        lift = 0.05 if foot < 0 and not standing else 0.0
        parts += [
            ((x, 0, hip), (x, foot * 0.5 + 0.03, knee + lift), 0.082 * broad * tall / 1.7, 0.058, "leg"),
            ((x, foot * 0.5 + 0.03, knee + lift), (x, foot, ankle + lift), 0.055, 0.042, "calf"),
            ((x, foot - 0.04, 0.045 + lift), (x, foot + 0.14, 0.04 + lift * 0.4), 0.05, 0.04, "shoe"),
        ]
        shoulder, arm = (side * 0.103 * tall * broad, 0, 0.795 * tall), -ahead * swing * 0.8
        elbow = (side * 0.132 * tall * broad, arm * 0.4 - 0.03, 0.62 * tall)
        hand = (side * 0.13 * tall * broad, arm + 0.06, 0.49 * tall)
        parts += [(shoulder, elbow, 0.043 * broad, 0.037, "sleeve"), (elbow, hand, 0.036, 0.028, "forearm"),
                  (hand, (hand[0], hand[1] + 0.02, hand[2] - 0.07), 0.03, 0.026, "hand")]  # fmt: skip
    wear = _clothes(rng)
    style = rng.random()
    if style < 0.22 and not child:  # coat
        parts.append(((0, 0, 0.62 * tall), (0, 0.0, 0.36 * tall), 0.14 * broad, 0.19 * broad, "top"))
        wear["forearm"] = wear["top"]
    elif style < 0.36 and not child:  # skirt
        parts.append(((0, 0, 0.54 * tall), (0, 0.0, 0.33 * tall), 0.13 * broad, 0.21 * broad, "leg"))
        wear["calf"] = wear["skin"] * 0.9
    elif style < 0.46:  # shorts and short sleeves
        wear["calf"] = wear["forearm"] = wear["skin"]
    if rng.random() < 0.35:
        bag = linear(TOPS[rng.integers(len(TOPS))])
        wear["bag"] = bag
        if rng.random() < 0.5:  # on the back
            parts.append(((0, -0.17, 0.76 * tall), (0, -0.18, 0.6 * tall), 0.11, 0.12, "bag"))
        else:  # in the hand
            side = 0.17 * tall * broad
            parts.append(((side, 0.02, 0.34 * tall), (side, 0.06, 0.28 * tall), 0.09, 0.1, "bag"))
    return _mesh(parts, wear, PERSON, detail)


def rider(rng: np.random.Generator, mount: str, detail: float = 0.024) -> Mesh:
    """Somebody on a "bicycle", "scooter" or "motorcycle" that stands at the same origin."""
    seat, grip, pedal = {
        "bicycle": ((0, -0.22, 0.98), (0.26, 0.2, 1.09), ((0.1, -0.02, 0.16), (-0.1, -0.14, 0.42))),
        "scooter": ((0, -0.3, 0.88), (0.34, 0.27, 1.06), ((0.14, 0.2, 0.34), (-0.14, 0.2, 0.34))),
        "motorcycle": ((0, -0.28, 0.92), (0.34, 0.36, 1.06), ((0.2, -0.08, 0.36), (-0.2, -0.08, 0.36))),
    }[mount]
    seat, lean = np.array(seat), 0.13 if mount != "motorcycle" else 0.22
    chest = seat + (0, lean, 0.42)
    neck, head = chest + (0, lean * 0.4, 0.16), chest + (0, lean * 0.5 + 0.02, 0.29)
    parts = [(seat, seat + (0, 0.0, 0.08), 0.14, 0.13, "leg"), (seat + (0, 0.02, 0.1), chest, 0.13, 0.165, "top"),
             (chest, neck, 0.1, 0.055, "top"), (head + (0, 0.02, -0.03), head + (0, 0.02, 0.04), 0.085, 0.095, "skin"),
             (head + (0, -0.015, 0.03), head + (0, -0.01, 0.06), 0.1, 0.095, "hair")]  # fmt: skip
    helmet = mount != "bicycle" or rng.random() < 0.5
    if helmet:
        parts.append((head + (0, -0.01, 0.03), head + (0, 0.0, 0.06), 0.125, 0.12, "helmet"))
    for side, foot in zip((1, -1), pedal, strict=True):
        hip, foot = seat + (side * 0.09, 0.02, 0.0), np.array(foot)
        knee = (hip + foot) / 2 + (side * 0.03, 0.24, 0.08)
        parts += [(hip, knee, 0.085, 0.06, "leg"), (knee, foot + (0, -0.04, 0.08), 0.056, 0.042, "calf"),
                  (foot + (0, -0.06, 0.02), foot + (0, 0.13, 0.0), 0.048, 0.04, "shoe")]  # fmt: skip
        shoulder, hand = chest + (side * 0.18, 0.02, 0.05), np.array((side * grip[0], grip[1], grip[2] + 0.02))
        elbow = (shoulder + hand) / 2 + (side * 0.07, -0.04, -0.06)
        parts += [(shoulder, elbow, 0.056, 0.045, "sleeve"), (elbow, hand, 0.043, 0.036, "forearm"),
                  (hand, hand + (0, 0.04, 0), 0.038, 0.034, "hand")]  # fmt: skip
    wear = _clothes(rng)
    wear["helmet"] = linear(("#d8d8d4", "#1a1b1d", "#a8302a", "#2c4a7a", "#c9b23a")[rng.integers(5)])
    if mount == "bicycle" and rng.random() < 0.35:
        wear["bag"] = linear(TOPS[rng.integers(len(TOPS))])
        parts.append((chest + (0, -0.2, 0.02), chest + (0, -0.22, -0.2), 0.11, 0.12, "bag"))
    return _mesh(parts, wear, RIDER, detail)


def _figure(tall: float, broad: float) -> list:
    """Trunk and head of somebody upright."""
    deep = 0.062 * tall * broad
    parts = []
    for side in (-1, 1):
        x = side * 0.05 * tall * broad
        parts += [((x, 0, 0.52 * tall), (x, 0, 0.6 * tall), deep * 0.95, deep * 0.85, "leg"),
                  ((x * 0.85, 0, 0.6 * tall), (x * 1.15, 0, 0.76 * tall), deep * 0.85, deep * 0.98, "top")]  # fmt: skip
    return [
        *parts,
        (
            (-0.085 * tall * broad, -0.01, 0.805 * tall),
            (0.085 * tall * broad, -0.01, 0.805 * tall),
            0.042,
            0.042,
            "top",
        ),
        ((0, 0, 0.8 * tall), (0, 0.01, 0.87 * tall), 0.06, 0.045, "skin"),
        ((0, 0.015, 0.9 * tall), (0, 0.02, 0.94 * tall), 0.072, 0.082, "skin"),
        ((0, -0.025, 0.925 * tall), (0, -0.01, 0.955 * tall), 0.086, 0.082, "hair"),
    ]


def _clothes(rng: np.random.Generator) -> dict[str, np.ndarray]:
    def pick(colours):
        return linear(colours[rng.integers(len(colours))])

    skin, top, leg = pick(SKINS), pick(TOPS) * rng.uniform(0.7, 1.2), pick(LEGS) * rng.uniform(0.7, 1.2)
    sleeve = top if rng.random() < 0.85 else skin
    return {"skin": skin, "hair": pick(HAIRS), "top": top, "sleeve": top, "forearm": sleeve, "hand": skin, "leg": leg,
            "calf": leg, "shoe": pick(SHOES)}  # fmt: skip


def _mesh(parts, wear: dict[str, np.ndarray], label: int, detail: float) -> Mesh:
    vertices, quads, nearest = body([p[:4] for p in parts], voxel=detail)
    mesh = Mesh()
    mesh.add(vertices, quads, "cloth", label, np.array([wear[p[4]] for p in parts])[nearest], smooth=True)
    return mesh
