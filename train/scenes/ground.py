"""Road, lane marks, kerbs, pavements, tracks and grass: strips laid in the (s, t) frame of the road."""

from __future__ import annotations

import numpy as np

from train.scenes import ROAD, SIDEWALK, TERRAIN
from train.scenes.mesh import Colour, Mesh
from train.scenes.road import Road

KERB = 0.13  # metres
MARK = 0.006  # paint lies this far above the asphalt; surfaces at one height would shade each other black
NEAR, FAR = -24.0, 235.0
PAINT = "#d8d8d0"


def strip(
    mesh: Mesh, road: Road, s: tuple[float, float], t: tuple[float, float], z, surface: str, label: int, colour: Colour
) -> None:
    """A flat strip between two places along and across the road. z: height, or heights at both sides."""
    if s[1] - s[0] < 1e-6 or t[1] - t[0] < 1e-6:
        return
    along = np.linspace(*s, max(2, int((s[1] - s[0]) / 2.5) + 2))
    across = np.linspace(*t, max(2, int((t[1] - t[0]) / 8) + 2))
    height = np.linspace(*np.broadcast_to(z, 2), len(across))
    net = road.at(along[:, None], across[None], height[None])
    uv = np.stack(np.broadcast_arrays(across[None], along[:, None]), axis=-1)
    mesh.grid(net, surface, label, colour, uv=uv, smooth=True)


def kerbed(
    mesh: Mesh, road: Road, s: tuple[float, float], t: tuple[float, float], surface: str, label: int, colour: Colour
) -> None:
    """A raised strip with stone edges on the sides that face the road and at both ends."""
    near, far = t if abs(t[0]) < abs(t[1]) else t[::-1]
    stone = near + np.sign(far - near) * 0.16
    inner = tuple(sorted((stone, far)))
    strip(mesh, road, s, inner, KERB, surface, label, colour)
    strip(mesh, road, s, tuple(sorted((near, stone))), KERB, "kerb", SIDEWALK, "#9c9a94")
    along = np.linspace(*s, max(2, int((s[1] - s[0]) / 2.5) + 2))
    face = np.stack([road.at(along, near, 0.0), road.at(along, near, KERB)], axis=1)
    mesh.grid(face[:, ::-1] if far > near else face, "kerb", SIDEWALK, "#86847e")
    for end, turn in ((s[0], 1), (s[1], -1)):
        across = np.linspace(*t, 3)[::turn]
        face = np.stack([road.at(end, across, 0.0), road.at(end, across, KERB)], axis=1)
        mesh.grid(face[:, ::-1] if turn < 0 else face, "kerb", SIDEWALK, "#86847e")


def dashes(mesh: Mesh, road: Road, s: tuple[float, float], t: float, dash=3.0, gap=4.5, width=0.12) -> None:
    """A broken line; gap 0 makes it solid."""
    if gap <= 0:
        strip(mesh, road, s, (t - width / 2, t + width / 2), MARK, "paint", ROAD, PAINT)
        return
    for start in np.arange(s[0], s[1] - dash, dash + gap):
        strip(mesh, road, (start, start + dash), (t - width / 2, t + width / 2), MARK, "paint", ROAD, PAINT)


def zebra(mesh: Mesh, road: Road, s: float, half: float, length: float = 3.2) -> None:
    """A pedestrian crossing with bars of half a metre."""
    for t in np.arange(-half + 0.4, half - 0.5, 1.0):
        strip(mesh, road, (s - length / 2, s + length / 2), (t, t + 0.5), MARK + 0.001, "paint", ROAD, PAINT)


def arrow(mesh: Mesh, road: Road, s: float, t: float) -> None:
    """A straight-ahead arrow of 5 m."""
    strip(mesh, road, (s, s + 3.2), (t - 0.08, t + 0.08), MARK + 0.002, "paint", ROAD, PAINT)
    head = road.at([s + 3.2, s + 3.2, s + 5.0], [t - 0.38, t + 0.38, t], MARK + 0.002)
    mesh.add(head, [[0, 1, 2]], "paint", ROAD, PAINT)


def manhole(mesh: Mesh, road: Road, s: float, t: float) -> None:
    """An iron lid in the road."""
    angle = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    mesh.fan(road.at(s + 0.33 * np.sin(angle), t + 0.33 * np.cos(angle), MARK + 0.003), "iron", ROAD, "#4a4744")


def repair(mesh: Mesh, road: Road, rng: np.random.Generator, middle: float, half: float, z: float) -> None:
    """A patch of newer asphalt, or a tarred seam, z above the old."""
    s, side = rng.uniform(4, 60), rng.choice((-1, 1))
    t = rng.uniform(middle, half - 1.2)
    shade = rng.uniform(0.6, 0.85) if rng.random() < 0.7 else rng.uniform(1.1, 1.3)
    if rng.random() < 0.4:
        across = sorted((side * t, side * (t + 0.07)))
        strip(mesh, road, (s, s + rng.uniform(8, 30)), across, z, "tar", ROAD, (0.02, 0.02, 0.02))
    else:
        length, width = rng.uniform(1.5, 9), rng.uniform(0.7, 2.4)
        across = sorted((side * t, side * min(t + width, half - 0.2)))
        strip(mesh, road, (s, s + length), across, z, "asphalt", ROAD, (shade,) * 3)


def rails(mesh: Mesh, road: Road, t: float) -> None:
    """A pair of grooved rails, 1.435 m apart, level with the surface."""
    for offset in (-0.7175, 0.7175):
        for side, (surface, colour) in ((0.0, ("iron", "#55504a")), (0.07, ("rail", "#a8a5a0"))):
            edge = t + offset + side - 0.06
            strip(mesh, road, (NEAR, FAR), (edge, edge + 0.065), MARK, surface, ROAD, colour)


def land(mesh: Mesh, road: Road, colour: Colour) -> None:
    """Ground out to the horizon, a little lower than the street. On the level it is one plate of grass."""
    along = np.concatenate([np.linspace(-120, 260, 40), [420, 800, 1500]])
    across = np.array([-1500, -600, -250, -120, -60, 60, 120, 250, 600, 1500], np.float64)
    s, t = np.meshgrid(along, across, indexing="ij")
    far = np.hypot(s.clip(0), t) / 400
    # Hills on the horizon rise where no street is.
    hill = 14 * (far - 1).clip(0, 2) * (1.2 + np.sin(t / 310 + 1.3) * np.cos(s / 270))
    net = np.stack([t, s, road.height(s) - 0.35 + hill], axis=-1)
    mesh.grid(net, "grass", TERRAIN, colour, uv=np.stack([t, s], axis=-1))
