"""Bodies: capsules that melt into each other, meshed (naive surface nets, Gibson 1998)."""

from __future__ import annotations

import numpy as np


def body(capsules, melt: float = 0.03, voxel: float = 0.025) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mesh the smooth union of capsules.

    capsules: (start, end, start radius, end radius) each, metres. melt: how far seams are rounded.
    Returns: vertices (V, 3), quads (F, 4), and the index of the nearest capsule of each quad (F,).
    """
    starts, ends = (np.array([c[i] for c in capsules], np.float64) for i in (0, 1))
    radii = np.array([[c[2], c[3]] for c in capsules], np.float64)
    low = np.minimum(starts, ends).min(axis=0) - radii.max() - 2 * voxel
    high = np.maximum(starts, ends).max(axis=0) + radii.max() + 2 * voxel
    axes = [np.arange(a, b + voxel, voxel) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    distances = _distances(points.reshape(-1, 3), starts, ends, radii)
    smooth = -melt * np.log(np.exp(-distances / melt).sum(axis=0).clip(1e-30))
    vertices, quads = surface_nets(smooth.reshape(points.shape[:3]))
    vertices = vertices * voxel + low
    middle = vertices[quads].mean(axis=1)
    return vertices, quads, _distances(middle, starts, ends, radii).argmin(axis=0)


def _distances(points, starts, ends, radii) -> np.ndarray:
    """Signed distance of (N, 3) points to each of C capsules, (C, N)."""
    result = []
    for a, b, (ra, rb) in zip(starts, ends, radii, strict=True):
        axis = b - a
        t = ((points - a) @ axis / max(axis @ axis, 1e-9)).clip(0, 1)
        result.append(np.linalg.norm(points - a - t[:, None] * axis, axis=1) - (ra + (rb - ra) * t))
    return np.array(result)


def surface_nets(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The zero level of a field (negative inside), as vertices in grid units (V, 3) and outward quads (F, 4)."""
    inside = field < 0
    cells = tuple(n - 1 for n in field.shape)
    corners = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    count = sum(_shift(inside, c, cells).astype(int) for c in corners)
    mixed = (count > 0) & (count < 8)
    index = np.full(cells, -1)
    index[mixed] = np.arange(mixed.sum())
    # A cell's vertex is the mean of the crossings on its 12 edges.
    total, number = np.zeros((*cells, 3)), np.zeros(cells)
    for a in corners:
        for axis in range(3):
            if a[axis]:
                continue
            b = tuple(v + (i == axis) for i, v in enumerate(a))
            fa, fb = _shift(field, a, cells), _shift(field, b, cells)
            crosses = (fa < 0) != (fb < 0)
            at = np.where(crosses, fa / np.where(crosses, fa - fb, 1), 0)
            for i in range(3):
                total[..., i] += np.where(crosses, a[i] + (at if i == axis else 0), 0)
            number += crosses
    where = np.argwhere(mixed)
    vertices = where + total[mixed] / number[mixed][:, None]
    quads = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3, dtype=int)
        ahead = np.roll(inside, -1, axis)
        crossing = inside != ahead
        core = np.zeros_like(crossing)
        core[1:-1, 1:-1, 1:-1] = crossing[1:-1, 1:-1, 1:-1]
        edge = np.argwhere(core)
        ring = [index[tuple((edge - d).T)] for d in (step[u] + step[v], step[v], step[u] * 0, step[u])]
        quad = np.stack(ring, axis=1)
        outwards = inside[tuple(edge.T)]
        quad = np.where(outwards[:, None], quad, quad[:, ::-1])
        quads.append(quad[(quad >= 0).all(axis=1)])
    return vertices, np.concatenate(quads)


def _shift(array: np.ndarray, by: tuple[int, int, int], shape: tuple[int, ...]) -> np.ndarray:
    return array[tuple(slice(o, o + n) for o, n in zip(by, shape, strict=True))]
