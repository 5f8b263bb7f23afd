"""Trees, bushes, hedges and tufts of grass made of single leaves."""

from __future__ import annotations

import numpy as np

from train.scenes import TERRAIN, VEGETATION
from train.scenes.mesh import Mesh, linear

GREENS = ("#56702f", "#4a6a2c", "#617a36", "#3f5d2b", "#6f8340")
AUTUMN = ("#a8752c", "#8f5a26", "#b08a35", "#7c6a2f")


def leaves(rng: np.random.Generator, centres: np.ndarray, size: float, palette, droop: float = 0.2) -> tuple:
    """Leaf quads (N, 4, 3) and colours (N, 3) around (N, 3) points, turned at random and lighter outside."""
    n = len(centres)
    long = rng.normal(size=(n, 3)) - (0, 0, droop)
    long /= np.linalg.norm(long, axis=1, keepdims=True)
    wide = np.cross(long, rng.normal(size=(n, 3)))
    wide /= np.linalg.norm(wide, axis=1, keepdims=True).clip(1e-6)
    length = size * rng.uniform(0.7, 1.3, (n, 1))
    tip, side = long * length, wide * length * 0.36
    # A kite: narrow at stem and tip.
    quads = np.stack([centres - tip * 0.5, centres + side, centres + tip * 0.5, centres - side], axis=1)
    shades = np.array([linear(c) for c in palette])[rng.integers(len(palette), size=n)]
    return quads, shades * rng.uniform(0.65, 1.25, (n, 1))


def tree(rng: np.random.Generator, kind: str = "broad", autumn: bool = False) -> Mesh:
    """A tree of about 9 m: "broad", "slim", "conifer" or "bare". Scale copies for other heights."""
    mesh = Mesh()
    palette = [AUTUMN[i] for i in rng.integers(len(AUTUMN), size=3)] if autumn else [
        GREENS[i] for i in rng.integers(len(GREENS), size=3)]  # fmt: skip
    if kind == "conifer":
        return _conifer(rng, mesh)
    height, trunk = rng.uniform(8.3, 9.8), rng.uniform(2.2, 3.0)
    spread = {"broad": rng.uniform(2.5, 3.3), "slim": rng.uniform(1.3, 1.7), "bare": rng.uniform(2.3, 3.0)}[kind]
    bark = linear(("#5c5146", "#6b6257", "#4a4038", "#7a7468")[rng.integers(4)])
    tips = _wood(rng, mesh, height, trunk, spread, bark, fine=kind == "bare")
    if kind == "bare":
        return mesh
    middle = np.array([0, 0, (height + trunk) / 2])
    radius = np.array([spread, spread, (height - trunk) / 2])
    blobs = np.concatenate([tips, middle + radius * _sphere(rng, 46) * rng.uniform(0.55, 0.98, (46, 1))])
    per = 170
    around = _sphere(rng, len(blobs) * per) * rng.uniform(0.1, 1.0, (len(blobs) * per, 1)) ** 0.6
    size = rng.uniform(0.5, 0.85, (len(blobs), 1)) * spread / 2.8
    centres = np.repeat(blobs, per, axis=0) + around * np.repeat(size, per, axis=0) * (1, 1, 0.75)
    quads, shades = leaves(rng, centres, 0.2, palette)
    # Leaves deep inside get little sky: a cheaper stand-in for many bounces.
    deep = np.linalg.norm((centres - middle) / radius, axis=1).clip(0, 1)
    mesh.quads(quads, "leaf", VEGETATION, shades * (0.45 + 0.55 * deep[:, None] ** 2))
    return mesh


def _wood(rng, mesh: Mesh, height: float, trunk: float, spread: float, bark, fine: bool) -> np.ndarray:
    """Trunk and branches; returns where the branches end, (N, 3)."""
    lean = rng.uniform(-0.25, 0.25, 2)
    stem = np.array([(0, 0, -0.1), (*(lean * 0.3), trunk * 0.6), (*lean, trunk * 1.1), (*(lean * 1.3), height * 0.8)])
    mesh.tube(stem, np.array([0.2, 0.15, 0.13, 0.04]), "bark", VEGETATION, bark, 9)
    tips, level = [], 16 if fine else 11
    for k in range(level):
        share = (k + 0.5) / level
        start = np.array([*(lean * (1 + 0.3 * share)), trunk * 0.95 + share * (height * 0.75 - trunk)])
        angle = k * 2.4 + rng.uniform(-0.4, 0.4)
        reach = spread * (0.9 - 0.55 * share) * rng.uniform(0.75, 1.1)
        up = (height - start[2]) * rng.uniform(0.35, 0.6)
        end = start + (np.cos(angle) * reach, np.sin(angle) * reach, up)
        bend = (start + end) / 2 + (0, 0, -0.12 * reach)
        mesh.tube([start, bend, end], np.array([0.075, 0.05, 0.018]), "bark", VEGETATION, bark, 6, False)
        tips.append(end)
        if fine:
            _twigs(rng, mesh, np.array([start, bend, end]), reach, bark)
    return np.array(tips)


def _twigs(rng, mesh: Mesh, branch: np.ndarray, reach: float, bark) -> None:
    for _ in range(16):
        t = rng.uniform(0.25, 1.0) * 2
        i = min(int(t), 1)
        start = branch[i] + (branch[i + 1] - branch[i]) * (t - i)
        end = start + _sphere(rng, 1)[0] * reach * 0.35 + (0, 0, 0.35 * reach)
        mesh.tube([start, end], np.array([0.02, 0.008]), "bark", VEGETATION, bark, 4, False)
        for _ in range(4):
            a = start + (end - start) * rng.uniform(0.3, 1)
            mesh.tube(
                [a, a + _sphere(rng, 1)[0] * 0.35 + (0, 0, 0.25)],
                np.array([0.009, 0.004]),
                "bark",
                VEGETATION,
                bark,
                3,
                False,
            )


def _conifer(rng, mesh: Mesh) -> Mesh:
    height = rng.uniform(8.5, 11)
    mesh.tube([(0, 0, 0), (0, 0, height)], np.array([0.19, 0.02]), "bark", VEGETATION, "#4a3f35", 8)
    n = 15000
    share = 1 - rng.random(n) ** 0.55
    angle = rng.uniform(0, 2 * np.pi, n)
    layer = 0.75 + 0.25 * np.sin(share * 70)  # tiers of branches
    radius = (1 - share) * 2.1 * layer * rng.uniform(0.35, 1, n) ** 0.5
    centres = np.stack(
        [np.cos(angle) * radius, np.sin(angle) * radius, 1.0 + share * (height - 1.0) - radius * 0.25], axis=1
    )
    quads, shades = leaves(rng, centres, 0.2, ("#2c4427", "#35502c", "#284025"), 0.5)
    mesh.quads(quads, "leaf", VEGETATION, shades * (0.5 + 0.5 * (radius / radius.max())[:, None]))
    return mesh


def bush(rng: np.random.Generator) -> Mesh:
    """A round bush of 1.2 m."""
    mesh, n = Mesh(), 3200
    lumps = _sphere(rng, 9) * 0.36 * (1, 1, 0.55) + (0, 0, 0.55)
    centres = lumps[rng.integers(9, size=n)] + _sphere(rng, n) * rng.uniform(0.15, 0.42, (n, 1))
    centres = centres[centres[:, 2] > 0.02]
    quads, shades = leaves(rng, centres, 0.09, [GREENS[i] for i in rng.integers(len(GREENS), size=3)])
    mesh.quads(quads, "leaf", VEGETATION, shades * (0.5 + 0.5 * (centres[:, 2:] / 1.1).clip(0, 1)))
    mesh.lathe([(0.0, 0.02), (0.4, 0.15), (0.42, 0.6), (0.2, 0.85), (0, 0.9)], "leaf", VEGETATION, "#1c2612")
    return mesh


def hedge(rng: np.random.Generator) -> Mesh:
    """Two metres of clipped hedge, 1.4 m high and 0.7 m deep, along y."""
    mesh, n = Mesh(), 6500
    centres = rng.uniform((-0.35, -1.05, 0), (0.35, 1.05, 1.4), (n, 3))
    push = rng.random(n)
    centres[push < 0.4, 0] = np.where(rng.random((push < 0.4).sum()) < 0.5, -0.35, 0.35)
    centres[(push >= 0.4) & (push < 0.65), 2] = 1.4
    centres += rng.normal(scale=0.03, size=(n, 3))
    quads, shades = leaves(rng, centres, 0.085, GREENS[1:4])
    mesh.quads(quads, "leaf", VEGETATION, shades)
    mesh.box((-0.3, -1.02, 0), (0.3, 1.02, 1.33), "leaf", VEGETATION, "#1d2913")
    return mesh


def tuft(rng: np.random.Generator, meadow: bool = False) -> Mesh:
    """Grass blades over 1.2 x 1.2 m."""
    mesh, n = Mesh(), 900
    root = np.column_stack([rng.uniform(-0.65, 0.65, (n, 2)), np.zeros(n)])
    high = rng.uniform(0.03, 0.09, n) * (3.0 if meadow else 1)
    angle = rng.uniform(0, 2 * np.pi, n)
    side = np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], 1) * 0.009 * (1.4 if meadow else 1)
    tip = root + np.column_stack([rng.normal(scale=0.35, size=(n, 2)) * high[:, None], high])
    faces = np.arange(n * 3).reshape(-1, 3)
    shades = np.array([linear(c) for c in ("#5f7a34", "#4f6a2c", "#7c8844", "#8a8a4c")])[rng.integers(4, size=n)]
    mesh.add(np.stack([root - side, root + side, tip], axis=1).reshape(-1, 3), faces, "blade", TERRAIN, shades)
    return mesh


def _sphere(rng: np.random.Generator, n: int) -> np.ndarray:
    """Directions, (n, 3)."""
    d = rng.normal(size=(n, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)
