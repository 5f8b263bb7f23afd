"""Fog, rain, snow and night on a clear photograph: pure, seeded functions of the image alone.

Light is added and scaled in linear intensity, never in gamma-coded bytes. No depth is given, so `_look` guesses it from
the perspective of a street: see there.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

import cv2
import numpy as np

from mfuser import images

CAMERA_HEIGHT = 1.5  # metres above the road, a dash camera
STREET_HALF_WIDTH = 8.0  # metres from the camera to the house fronts
FARTHEST = 250.0  # metres, of anything but sky
SKY = 800.0  # metres of air before the sky at the horizon
MOST_PIXELS = 12_500_000  # rendering takes about 130 bytes a pixel
WEATHER_LAYER = 150.0  # metres of fog, rain or snow overhead: the zenith is seen through less of it


@dataclass(frozen=True)
class Description:
    """One condition for the page: a sentence and the physical parameter at severity 1..5 that drives the rendering."""

    sentence: str
    parameter: str
    unit: str
    values: tuple[float, float, float, float, float]

    def at(self, severity: int) -> str:
        """E.g. 'visibility 150 m'."""
        return f"{self.parameter} {self.values[severity - 1]:g} {self.unit}"


DESCRIPTIONS: dict[str, Description] = {
    "fog": Description(
        "Koschmieder's law: contrast decays with distance towards the colour of the sky, in slightly uneven banks.",
        "visibility", "m", (500, 250, 130, 75, 45),
    ),
    "rain": Description(
        "Streaks at four distances, a dimmed scene, a wet road that mirrors it, drops on the lens in heavy rain.",
        "rainfall", "mm/h", (3, 8, 18, 35, 70),
    ),
    "snow": Description(
        "Flakes at four distances in a white veil, cooler colours, and snow that settles on ground and ledges.",
        "visibility", "m", (1200, 700, 400, 250, 150),
    ),
    "night": Description(
        "Daylight taken away, blue-shifted; headlights on the road ahead, glow around lamps, photon and read noise.",
        "daylight reduced by", "stops", (1.5, 2.5, 3.5, 4.5, 5.5),
    ),
}  # fmt: skip
CONDITIONS: tuple[str, ...] = tuple(DESCRIPTIONS)

# sRGB transfer (IEC 61966-2-1) as tables: 8 bits to linear, and 16-bit linear back to 8 bits.
_CODES = np.arange(256, dtype=np.float32) / 255
_TO_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)
_LINEAR = np.arange(65536, dtype=np.float64) / 65535
_SRGB = np.where(_LINEAR <= 0.0031308, 12.92 * _LINEAR, 1.055 * _LINEAR ** (1 / 2.4) - 0.055)
_FROM_LINEAR = np.rint(_SRGB * 255).astype(np.uint8)


@dataclass
class _Scene:
    """What the clear image tells about the street, and how much veil was laid over it; maps are (H, W) float32."""

    depth: np.ndarray  # metres along the viewing ray's ground projection
    sky: np.ndarray  # 0..1
    ground: np.ndarray  # 0..1, surfaces seen below the horizon that look like the road
    vanishing: tuple[float, float]  # x, y in pixels
    focal: float  # pixels
    airlight: np.ndarray  # (3,) linear RGB of the hazy sky
    haze: np.ndarray | float = 0.0  # 0..1, share of scattered light in what reaches the camera


def _ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smoothstep from 0 at low to 1 at high."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _vanishing_point(grey: np.ndarray) -> tuple[float, float]:
    """Where the oblique straight edges (kerbs, lane marks, roofs, windows) meet: (x, y) in units of (w, h).

    Every segment votes, by its length, for the grid points that it points to; a prior holds the winner near the middle,
    and is all that is left in an image without lines.
    """
    h, w = grey.shape
    xs, ys = np.meshgrid(np.linspace(0.2, 0.8, 31), np.linspace(0.25, 0.7, 31))
    score = -((xs - 0.5) ** 2 / 0.5 + (ys - 0.46) ** 2 / 0.05)
    lines = cv2.HoughLinesP(cv2.Canny(grey, 60, 160), 1, np.pi / 180, 20, minLineLength=max(8, w // 12), maxLineGap=4)
    if lines is not None:
        x0, y0, x1, y1 = lines.reshape(-1, 4).astype(np.float32).T
        length = np.hypot(x1 - x0, y1 - y0)
        slope = np.abs(y1 - y0) / length
        keep = (slope > 0.15) & (slope < 0.92)  # level and upright edges meet elsewhere
        x0, y0, x1, y1, length = (value[keep][:, None, None] for value in (x0, y0, x1, y1, length))
        dx, dy = xs * w - (x0 + x1) / 2, ys * h - (y0 + y1) / 2
        sine = np.abs(dx * (y1 - y0) - dy * (x1 - x0)) / (length * np.hypot(dx, dy) + 1e-3)
        votes = (length * np.exp(-((sine / 0.04) ** 2))).sum(axis=0)
        score = score + 3 * votes / (length.sum() / 4 + w / 4)
    best = np.unravel_index(score.argmax(), score.shape)
    return float(xs[best]), float(ys[best])


def _guided(values: np.ndarray, guide: np.ndarray, fine: np.ndarray, radius: int, eps: float = 2e-3) -> np.ndarray:
    """Fast guided filter (He & Sun 2015): `values` on the grid of `guide`, edge-aligned to the larger `fine` guide."""
    box = (2 * radius + 1, 2 * radius + 1)
    mean_g, mean_v = cv2.blur(guide, box), cv2.blur(values, box)
    slope = (cv2.blur(guide * values, box) - mean_g * mean_v) / (cv2.blur(guide * guide, box) - mean_g**2 + eps)
    offset = mean_v - slope * mean_g
    size = fine.shape[::-1]
    slope, offset = (cv2.resize(cv2.blur(part, box), size, interpolation=cv2.INTER_LINEAR) for part in (slope, offset))
    return slope * fine + offset


def _find_sky(rgb: np.ndarray, horizon: float) -> np.ndarray:
    """(h, w) float32 0 or 1: bright or blue, smooth, above the horizon, and joined to the top or coloured like that."""
    h, w = rgb.shape[:2]
    value, grey = rgb.max(axis=2), rgb.mean(axis=2)
    rough = cv2.blur(np.abs(grey - cv2.blur(grey, (3, 3))), (3, 3))
    bluish = rgb[..., 2] > rgb[..., 0] - 0.04
    level = max(0.4, 0.7 * float(np.percentile(value[: max(1, int(horizon))], 90)))
    likely = (value > level) & (bluish | (value > 0.85)) & (rough < 0.04)
    likely[max(1, int(horizon)) :] = False
    _, label = cv2.connectedComponents(likely.astype(np.uint8), connectivity=4)
    joined = np.isin(label, np.setdiff1d(label[: max(1, h // 40)], 0))
    if joined.sum() < 0.01 * h * w:
        return np.zeros((h, w), np.float32)
    colour = np.median(rgb[joined], axis=0)
    return (joined | (likely & (np.abs(rgb - colour).max(axis=2) < 0.12))).astype(np.float32)


def _find_ground(rgb: np.ndarray, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """What lies on the ground, per column from the bottom up to the first thing coloured neither like the road ahead
    nor like the verge below: (h, w) bool. The second is that likeness by itself, 0..1, which spares people and cars."""
    h, w = rgb.shape[:2]
    top = min(h - 2, int(horizon) + 1)
    patch = rgb[(top + h) // 2 : max(int(0.97 * h), (top + h) // 2 + 1), int(0.3 * w) : max(int(0.7 * w), 1)]
    road = np.median(patch.reshape(-1, 3), axis=0)
    verge = cv2.blur(np.median(rgb[int(0.88 * h) :], axis=0)[None], (w // 6 + 1, 1))
    chroma, grey = rgb - rgb.mean(axis=2, keepdims=True), rgb.mean(axis=2)
    unlike = np.full((h, w), np.inf, np.float32)
    for colour in (road, verge):
        tone = colour.mean(axis=-1)
        shade = np.abs(np.log((grey + 0.05) / (tone + 0.05)))  # a ratio: roads lie in shadow and in sun
        unlike = np.minimum(unlike, np.abs(chroma - (colour - tone[..., None])).max(axis=2) / 0.12 + shade / 0.8)
    like = (unlike < 1).astype(np.uint8)
    like = cv2.morphologyEx(like, cv2.MORPH_CLOSE, np.ones((max(3, h // 20), max(3, w // 40)), np.uint8))  # lane marks
    like = cv2.morphologyEx(like, cv2.MORPH_OPEN, np.ones((3, max(3, w // 40)), np.uint8))
    like[int(0.9 * h) :] = 1  # the camera car's own bonnet
    free = np.minimum.accumulate(like[::-1], axis=0)[::-1].astype(bool)
    free[:top] = False
    return free, 1 - _ramp(unlike, 0.7, 1.3)


def _look(image: np.ndarray) -> _Scene:
    """Guess the geometry of a street photograph.

    A box of road and house fronts is drawn from the vanishing point (depth = focal * camera height / rows below the
    horizon on the road, focal * half width / columns from the vanishing point on the fronts). What stands on the road
    takes the depth of its foot, up to the height of a lorry; the sky is far; edges are aligned to the image's own.
    """
    h, w = image.shape[:2]
    scale = min(1.0, 320 / max(h, w))
    small = images.resize(image, max(8, round(h * scale)), max(8, round(w * scale)))
    sh, sw = small.shape[:2]
    rgb = small.astype(np.float32) / 255
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    vx, vy = _vanishing_point(grey)
    x0, horizon, focal = vx * sw, vy * sh, 0.9 * max(sw, sh)

    rows, columns = np.arange(sh, dtype=np.float32)[:, None], np.arange(sw, dtype=np.float32)[None]
    below = np.maximum(rows - horizon, 1e-3)
    road = focal * CAMERA_HEIGHT / below
    fronts = focal * STREET_HALF_WIDTH / np.maximum(np.abs(columns - x0), 1e-3)
    depth = np.minimum(np.minimum(road, fronts), FARTHEST)
    sky, (ground, like) = _find_sky(rgb, horizon), _find_ground(rgb, horizon)

    inside = 1 - 0.8 * _ramp(np.abs(columns - x0) * road / focal, 7, 14)  # beyond the fronts the plane is a guess
    foot = sh - 1 - ground.sum(axis=0)  # row where the first thing stands, per column
    foot_depth = np.minimum(focal * CAMERA_HEIGHT / np.maximum(foot + 1 - horizon, 1e-3), FARTHEST).astype(np.float32)
    foot_depth = cv2.medianBlur(foot_depth[None].repeat(5, axis=0), 5)[:1]
    foot_depth = cv2.exp(cv2.GaussianBlur(np.log(foot_depth), (0, 0), sw / 30))
    height = CAMERA_HEIGHT + (horizon - rows) * foot_depth / focal
    standing = 0.85 * (1 - _ramp(height, 3, 6)) * ~ground
    log_depth = np.log(depth) + standing * np.minimum(np.log(foot_depth) - np.log(depth), 0)

    radius = max(2, sw // 40)
    fine, coarse = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255, grey.astype(np.float32) / 255
    full_sky = np.clip(_guided(sky, coarse, fine, radius), 0, 1)
    full_sky = _ramp(full_sky, 0.15, 0.85)
    log_depth = _guided(log_depth.astype(np.float32), coarse, fine, radius)
    elevation = np.maximum(vy * h - np.arange(h, dtype=np.float32)[:, None], 1) / (0.9 * max(w, h))
    log_depth += full_sky * (np.log(np.minimum(WEATHER_LAYER / elevation, SKY)) - log_depth)
    full_ground = np.clip(_guided((ground * like * inside).astype(np.float32), coarse, fine, max(1, radius // 3)), 0, 1)

    air = rgb[sky > 0] if sky.sum() > 20 else rgb.reshape(-1, 3)[grey.ravel() >= np.percentile(grey, 90)]
    air = 0.2 * np.median(air, axis=0) + 0.8 * np.median(air.mean(axis=1))  # droplets scatter all colours alike
    air = np.clip(air, 0.66, 0.82) ** 2.2
    return _Scene(cv2.exp(log_depth), full_sky, full_ground, (vx * w, vy * h), 0.9 * max(w, h), air.astype(np.float32))


def _field(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Smooth noise of about unit variance, the same pattern at every image size: (H, W) float32."""
    coarse = rng.standard_normal((cells, 2 * cells), dtype=np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _road_noise(rng: np.random.Generator, scene: _Scene, across: float, along: float) -> tuple[np.ndarray, np.ndarray]:
    """Noise that lies on the road in patches of `across` x `along` metres, and metres right of the camera: (H, W)."""
    h, w = scene.depth.shape
    size = (min(w, 480), max(8, min(h, 480 * h // w)))
    ahead = cv2.resize(scene.depth, size, interpolation=cv2.INTER_AREA)
    right = (np.arange(size[0], dtype=np.float32) * w / size[0] - scene.vanishing[0]) * ahead / scene.focal
    tile = cv2.GaussianBlur(rng.standard_normal((128, 128), dtype=np.float32), (0, 0), 1.2) * 4
    x, y = (np.abs(np.mod(metres, 252) - 126) for metres in (right / across, ahead / along))  # mirrored: no seams
    noise = cv2.remap(tile, x, y, cv2.INTER_LINEAR)
    return cv2.resize(noise, (w, h)), cv2.resize(right, (w, h))


def _veil(light: np.ndarray, scene: _Scene, extinction: np.ndarray | float, colour: np.ndarray) -> np.ndarray:
    """Koschmieder: light * t + colour * (1 - t), t = exp(-extinction [1/m] * depth). Adds to the scene's haze."""
    t = cv2.exp(-extinction * scene.depth)
    scene.haze = 1 - (1 - scene.haze) * t
    return (light - colour) * t[..., None] + colour


def _falling(
    rng: np.random.Generator, scene: _Scene, share: float, layers: tuple, size: float, fall: float
) -> np.ndarray:
    """Opacity (H, W) float32 of drops or flakes `size` metres wide that fall `fall` metres while the shutter is open.

    Each layer is (metres away, how many at share 1, opacity, blur of its own width). All are drawn at every severity
    and the first `share` of them shown, so that heavier weather adds to lighter weather of the same seed.
    """
    h, w = scene.depth.shape
    clear = np.ones((h, w), np.float32)
    slant = rng.normal(0, 0.12)
    for distance, most, opacity, blur in layers:
        start = rng.uniform(-0.1, 1.1, (most, 2)) * (w, h)
        spread, turn = rng.uniform(0.6, 1.4, most)[:, None], rng.normal(0, 0.04, most)
        towards = (start - scene.vanishing) / max(h, w) * 0.6  # the car drives into what falls: paths leave one point
        step = np.stack([slant + turn + towards[:, 0], 1 + towards[:, 1]], axis=1) * fall * spread
        ends = np.stack([start, start + step * scene.focal / distance], axis=1)[: max(1, round(share * most))]
        width = size * scene.focal / distance
        layer = np.zeros((h, w), np.uint8)
        lines = [np.rint(line * 16).astype(np.int32) for line in ends]
        for first, (scale, grey) in enumerate(((0.6, 140), (1.0, 255), (1.5, 190))):
            cv2.polylines(layer, lines[first::3], False, grey, max(1, round(scale * width)), cv2.LINE_AA, shift=4)
        layer = cv2.GaussianBlur(layer, (0, 0), max(0.4, blur * width))
        seen = scene.depth > distance if distance > 5 else True  # far ones fall behind what stands near
        clear *= 1 - layer * np.float32(opacity * min(1.0, width + 0.3) / 255) * seen
    return 1 - clear


def _fog(light: np.ndarray, scene: _Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    banks = np.maximum(1 + 0.2 * _field(rng, scene.depth.shape, 3) + 0.04 * _field(rng, scene.depth.shape, 9), 0.4)
    visibility = DESCRIPTIONS["fog"].values[severity - 1]
    return _veil(light, scene, banks * (3.912 / visibility), scene.airlight)  # 3.912 = -ln 2 %, the contrast threshold


def _rain(light: np.ndarray, scene: _Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    h, w = scene.depth.shape
    rate = DESCRIPTIONS["rain"].values[severity - 1]
    strength = severity / 5
    cloud = scene.airlight.mean() * 0.8
    clouds = cloud * np.maximum(1 + 0.12 * _field(rng, (h, w), 5) + 0.06 * _field(rng, (h, w), 14), 0.5)
    light = light + (scene.sky * (0.4 + 0.5 * strength))[..., None] * (clouds[..., None] - light)
    grey = cv2.cvtColor(light, cv2.COLOR_RGB2GRAY)[..., None]
    light = (light + 0.3 * strength * (grey - light)) / (1 + 0.7 * strength * grey)  # no sun: highlights and colour go
    light = light * (1 - 0.25 * strength)
    cloud *= (1 - 0.25 * strength) / (1 + 0.7 * strength * cloud)

    # Wet road: darker by itself, and a mirror by Fresnel's law (Schlick), blurred along the line of sight by roughness.
    noise, _ = _road_noise(rng, scene, 0.7, 2.0)
    wet = scene.ground * (0.35 + 0.65 * strength) * _ramp(noise, -1.6 - strength, 0.4 - strength)
    sine = CAMERA_HEIGHT / np.hypot(CAMERA_HEIGHT, scene.depth)
    mirror = 0.65 * wet * (0.02 + 0.98 * (1 - sine) ** 5)  # rough asphalt keeps a part
    rough = cv2.resize(light, (min(w, 480), max(8, min(h, 480 * h // w))), interpolation=cv2.INTER_AREA)
    rows = np.abs(2 * scene.vanishing[1] / h * len(rough) - np.arange(len(rough))).astype(int).clip(0, len(rough) - 1)
    flipped = cv2.GaussianBlur(rough[rows], (0, 0), sigmaX=len(rough) / 150, sigmaY=len(rough) / 35)
    flipped = cv2.resize(flipped, (w, h))
    light = light * (1 - 0.4 * wet)[..., None]
    light += mirror[..., None] * (flipped - light)

    light = _veil(light, scene, 0.312e-3 * rate**0.67, np.float32(cloud))  # extinction of rain, 1/m
    layers = ((1.5, 60, 0.22, 0.9), (4, 400, 0.28, 0.4), (10, 2000, 0.4, 0.3), (25, 5000, 0.4, 0.3))
    opacity = _falling(rng, scene, (rate / 70) ** 0.6, layers, size=0.003, fall=0.14)
    light += opacity[..., None] * (np.float32(1.15 * cloud) - light)
    return _lens_drops(light, rng, (0, 0, 0, 18, 45)[severity - 1])


def _lens_drops(light: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Drops on the lens: each shows the scene around it small, upside down, and has a dark rim."""
    h, w = light.shape[:2]
    calm = cv2.resize(light, (max(2, w // 4), max(2, h // 4)), interpolation=cv2.INTER_AREA)
    for x, y, size in rng.uniform(0, 1, (60, 3))[:count]:
        r = max(2, round(h * (0.006 + 0.024 * size**3)))
        cx, cy = round(x * w), round(y * h)
        x0, x1, y0, y1 = max(0, cx - r), min(w, cx + r), max(0, cy - r), min(h, cy + r)
        reach = 7 * r
        near = calm[max(0, cy - reach) // 4 : (cy + reach) // 4 + 1, max(0, cx - reach) // 4 : (cx + reach) // 4 + 1]
        seen = cv2.resize(near[::-1, ::-1], (2 * r, 2 * r), interpolation=cv2.INTER_LINEAR)
        v, u = np.mgrid[-r:r, -r:r].astype(np.float32) / r
        radius = np.hypot(u * 1.08, v * (1 + 0.1 * u))
        seen = seen * (1.08 - 0.4 * _ramp(radius, 0.3, 1.0))[..., None]
        inside = (1 - _ramp(radius, 0.6, 1.0))[..., None] * 0.85
        cut = np.s_[y0 - cy + r : y1 - cy + r, x0 - cx + r : x1 - cx + r]
        light[y0:y1, x0:x1] += inside[cut] * (seen[cut] - light[y0:y1, x0:x1])
    return light


def _snow(light: np.ndarray, scene: _Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    h, w = scene.depth.shape
    strength = severity / 5
    white = np.clip(1.3 * scene.airlight.mean(), 0.6, 0.85) * np.float32([0.96, 0.99, 1.03])
    light = light * (1 + strength * np.float32([-0.10, -0.02, 0.08]))  # a cooler scene

    # Settled snow: patches on the road (fewer in the wheel tracks), on green, and on what ends in a level edge.
    noise, right = _road_noise(rng, scene, 0.14, 0.5)
    tracks = np.exp(-(((np.abs(right) - 0.8) / 0.3) ** 2))
    cover = 1.3 * strength - 0.25
    grey = cv2.cvtColor(light, cv2.COLOR_RGB2GRAY)
    soft = cv2.GaussianBlur(grey, (0, 0), max(1.0, h / 300))
    level, upright = cv2.Sobel(soft, cv2.CV_32F, 0, 1), np.abs(cv2.Sobel(soft, cv2.CV_32F, 1, 0))
    ledge = _ramp(level / (soft + 0.05) - upright / (soft + 0.05), 0.05, 0.6)
    green = _ramp((light[..., 1] - 0.5 * (light[..., 0] + light[..., 2])) / (grey + 0.02), 0.05, 0.3)
    rough = _field(rng, (h, w), 24) + _field(rng, (h, w), 150)
    on_road = scene.ground * _ramp(0.5 * noise + 0.1 * rough + 2.4 * cover - 1.1 * tracks, 0.4, 2.0)
    on_things = (1 - scene.ground) * np.maximum(0.8 * ledge, 0.6 * green) * _ramp(0.3 * rough + 2 * cover, 0.2, 2.2)
    settled = ((on_road + on_things) * (1 - scene.sky) * 0.92)[..., None]
    shading = np.clip(grey / (cv2.GaussianBlur(soft, (0, 0), max(2.0, h / 60)) + 0.02), 0.65, 1.2)[..., None]
    light = light + settled * (0.95 * white * shading - light)

    light = _veil(light, scene, 3.912 / DESCRIPTIONS["snow"].values[severity - 1], white)
    layers = ((0.8, 40, 0.4, 0.6), (2.5, 240, 0.8, 0.45), (7, 1500, 0.9, 0.3), (18, 6000, 0.85, 0.3))
    opacity = _falling(rng, scene, strength**1.3, layers, size=0.008, fall=0.012)
    return light + opacity[..., None] * (np.minimum(1.25 * white, 1) - light)


def _night(light: np.ndarray, scene: _Scene, severity: int, rng: np.random.Generator) -> np.ndarray:
    h, w = scene.depth.shape
    x0, y0 = scene.vanishing
    rows, columns = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)[None]
    lamps, glow = _lamps(light, scene)

    daylight = 2.0 ** -DESCRIPTIONS["night"].values[severity - 1]
    bare = 1 - scene.haze  # lamps light surfaces; scattering air before them shows a soft cone instead
    ambient = daylight * (1 - 0.7 * scene.sky * bare)
    # Low beams: two lobes, cut off at the horizon, fading with distance.
    lobes = sum(np.exp(-(((columns - x0) / scene.focal - side) / 0.3) ** 2) for side in (-0.15, 0.15))
    beam = lobes * (0.05 + 0.95 * _ramp(rows, y0 - 0.01 * scene.focal, y0 + 0.05 * scene.focal))
    beam *= 0.8 * (0.35 + 0.13 * severity) / (1 + (scene.depth / 20) ** 2) * (1 - scene.sky)  # the iris opens at night
    across, up = (columns - x0) / scene.focal, (rows - y0) / scene.focal
    beam = beam * bare + 0.12 * (1 - bare) * np.exp(-((across / 0.4) ** 2)) * np.exp(-(((up - 0.1) / 0.25) ** 2))
    blue, warm = np.float32([0.72, 0.88, 1.25]), np.float32([1.0, 0.92, 0.76])
    town = 0.006 * np.exp(-np.maximum(y0 - rows, 0) / (0.15 * scene.focal)) * scene.sky  # lit haze over the roofs
    dark = light * (ambient[..., None] * blue + beam[..., None] * warm) + town[..., None] * warm
    dark += lamps[..., None] * 0.8 * light
    dark += glow

    noise = rng.standard_normal(light.shape, dtype=np.float32)
    gain = severity / 5
    return dark + noise * np.sqrt(np.maximum(dark, 0) * (6e-4 * gain) + (2e-3 * gain) ** 2)  # photons, electronics


def _lamps(light: np.ndarray, scene: _Scene) -> tuple[np.ndarray, np.ndarray]:
    """What could be a lamp (small, brighter than its surroundings, off road and sky): (H, W) and its glow (H, W, 3)."""
    h, w = scene.depth.shape
    size = (min(w, 480), max(8, min(h, 480 * h // w)))
    small = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
    other = cv2.resize(np.maximum(scene.sky, scene.ground), size, interpolation=cv2.INTER_AREA)
    other = cv2.dilate(other, np.ones((5, 5), np.uint8))
    value = small.max(axis=2)
    reach = max(3, size[0] // 48)
    along, down = (
        cv2.morphologyEx(value, cv2.MORPH_OPEN, np.ones(kernel, np.uint8)) for kernel in ((1, reach), (reach, 1))
    )
    spot = value - np.maximum(along, down)  # small both ways: an edge or a line survives one of the openings
    vivid = _ramp(small[..., :2].max(axis=2) - small[..., 2], 0.15, 0.4)  # red, amber, green; blue is sky
    # Colourless specks high up are sky between leaves; lower down they are head lamps and lit windows.
    low = np.arange(size[1], dtype=np.float32)[:, None] * h / size[1] - scene.vanishing[1]
    plausible = np.maximum(vivid, _ramp(low / scene.focal, -0.12, -0.05) * 0.8)
    lamps = _ramp(spot, 0.12, 0.35) * _ramp(value, 0.3, 0.7) * plausible * (1 - other)
    lit = small * lamps[..., None] * np.float32([1.0, 0.85, 0.6])
    glow = sum(
        weight * cv2.GaussianBlur(lit, (0, 0), size[0] * sigma)
        for sigma, weight in ((0.004, 0.6), (0.012, 0.5), (0.04, 0.5))
    )
    return cv2.resize(lamps, (w, h)), cv2.resize(glow, (w, h))


_RENDER = {"fog": _fog, "rain": _rain, "snow": _snow, "night": _night}


def apply(image, condition: str, severity: int = 3, seed: int = 0) -> np.ndarray:
    """Put weather on a clear image.

    Args:
        image: (H, W, 3) uint8 RGB, or anything that `mfuser.images.load` takes.
        condition: one of `CONDITIONS`, or several joined by "+", as in "fog+night". The order of the names does not
            matter: fog lies behind the falling rain, rain or snow behind the dark, and the noise of the sensor is last.
        severity: 1 (light) to 5 (extreme); `DESCRIPTIONS` has the physical parameter of each.
        seed: places drops, flakes, banks and noise; the same seed gives the same bytes, whatever NumPy's global state.

    Returns:
        (H, W, 3) uint8 RGB of the same size. Above `MOST_PIXELS` it is made at that many pixels and enlarged.

    Raises:
        ValueError: unknown condition, or a severity or seed out of range (ImageError, a ValueError, for a bad image).
    """
    names = {name.strip().lower() for name in condition.split("+")} if isinstance(condition, str) else {str(condition)}
    if unknown := sorted(names - set(CONDITIONS)):
        known = ", ".join(CONDITIONS)
        raise ValueError(f"Unknown weather {unknown[0]!r}: choose from {known}, or several of them joined by '+'.")
    severity = _whole(severity, "severity", 1, 5)
    seed = _whole(seed, "seed", 0, 2**63)
    image = images.load(image)
    h, w = image.shape[:2]
    if (excess := h * w / MOST_PIXELS) > 1:
        image = images.resize(image, *(max(images.MIN_SIDE, int(side / excess**0.5)) for side in (h, w)))
    scene = _look(image)
    light = cv2.LUT(image, _TO_LINEAR)
    for position, name in enumerate(CONDITIONS):
        if name in names:
            light = _RENDER[name](light, scene, severity, np.random.default_rng([seed, position]))
    return images.resize(_FROM_LINEAR[np.rint(np.clip(light, 0, 1) * 65535).astype(np.uint16)], h, w)


def _whole(value: int, name: str, low: int, high: int) -> int:
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise ValueError(f"The {name} must be a whole number from {low} to {high}, not {value!r}.")
    return number
