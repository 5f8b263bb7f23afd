"""What a clear photograph shows of its street: distance, sky, ground and air, estimated from the perspective.

No depth is given. `estimate_scene` therefore draws a box of road and house fronts from the vanishing point.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mfuser import images

# The projection is geometry (see `estimate_scene`). The numbers below, and the thresholds for what looks like sky, road
# or a straight edge, are taste: they were chosen on street photographs.
CAMERA_HEIGHT = 1.5  # metres above the road, a dash camera
STREET_HALF_WIDTH = 8.0  # metres from the camera to the house fronts
FARTHEST = 250.0  # metres, of anything but sky
SKY = 800.0  # metres of air before the sky at the horizon
WEATHER_LAYER = 150.0  # metres of fog, rain or snow overhead: the zenith is seen through less of it
FOCAL = 0.9  # focal length as a share of the longer side, a view of 58 degrees
VAN_HEIGHT = (3, 6)  # metres: what stands on the road takes the depth of its foot up to here, fading between the two
AIR_RANGE = (0.66, 0.82)  # bounds of the sky's colour code, so that dark or overexposed skies still make a veil
AIR_COLOUR = 0.2  # share of the sky's own colour in the veil: droplets scatter all colours alike
GAMMA = 2.2  # physics: sRGB (IEC 61966-2-1) as one power


@dataclass
class Scene:
    """Estimated geometry of a street, and how much veil was laid over it. Maps are (H, W) float32."""

    depth: np.ndarray  # metres along the viewing ray's ground projection
    sky: np.ndarray  # 0..1
    ground: np.ndarray  # 0..1, surfaces seen below the horizon that look like the road
    vanishing: tuple[float, float]  # x, y in pixels
    focal: float  # pixels
    airlight: np.ndarray  # (3,) linear RGB of the hazy sky
    haze: np.ndarray | float = 0.0  # 0..1, share of scattered light in what reaches the camera


def estimate_scene(image: np.ndarray) -> Scene:
    """Estimate the geometry of a street photograph.

    A box of road and house fronts is drawn from the vanishing point. On the road the depth is focal * camera height /
    rows below the horizon. On the fronts it is focal * half width / columns from the vanishing point.
    What stands on the road takes the depth of its foot, up to the height of a lorry. The sky is far. Edges are aligned
    to the image's own.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    h, w = image.shape[:2]
    scale = min(1.0, 320 / max(h, w))
    small = images.resize(image, max(8, round(h * scale)), max(8, round(w * scale)))
    sh, sw = small.shape[:2]
    rgb = small.astype(np.float32) / 255
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    vx, vy = _vanishing_point(grey)
    x0, horizon, focal = vx * sw, vy * sh, FOCAL * max(sw, sh)

    rows, columns = np.arange(sh, dtype=np.float32)[:, None], np.arange(sw, dtype=np.float32)[None]
    below = np.maximum(rows - horizon, 1e-3)
    road = focal * CAMERA_HEIGHT / below
    fronts = focal * STREET_HALF_WIDTH / np.maximum(np.abs(columns - x0), 1e-3)
    depth = np.minimum(np.minimum(road, fronts), FARTHEST)
    sky, (ground, like) = _find_sky(rgb, horizon), _find_ground(rgb, horizon)

    inside = 1 - 0.8 * ramp(np.abs(columns - x0) * road / focal, 7, 14)  # beyond the fronts the plane is a guess
    foot = sh - 1 - ground.sum(axis=0)  # row where the first thing stands, per column
    foot_depth = np.minimum(focal * CAMERA_HEIGHT / np.maximum(foot + 1 - horizon, 1e-3), FARTHEST).astype(np.float32)
    foot_depth = cv2.medianBlur(foot_depth[None].repeat(5, axis=0), 5)[:1]
    foot_depth = cv2.exp(cv2.GaussianBlur(np.log(foot_depth), (0, 0), sw / 30))
    height = CAMERA_HEIGHT + (horizon - rows) * foot_depth / focal
    standing = 0.85 * (1 - ramp(height, *VAN_HEIGHT)) * ~ground
    log_depth = np.log(depth) + standing * np.minimum(np.log(foot_depth) - np.log(depth), 0)

    radius = max(2, sw // 40)
    fine, coarse = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255, grey.astype(np.float32) / 255
    full_sky = np.clip(_guided(sky, coarse, fine, radius), 0, 1)
    full_sky = ramp(full_sky, 0.15, 0.85)
    log_depth = _guided(log_depth.astype(np.float32), coarse, fine, radius)
    elevation = np.maximum(vy * h - np.arange(h, dtype=np.float32)[:, None], 1) / (FOCAL * max(w, h))
    log_depth += full_sky * (np.log(np.minimum(WEATHER_LAYER / elevation, SKY)) - log_depth)
    full_ground = np.clip(_guided((ground * like * inside).astype(np.float32), coarse, fine, max(1, radius // 3)), 0, 1)

    air = rgb[sky > 0] if sky.sum() > 20 else rgb.reshape(-1, 3)[grey.ravel() >= np.percentile(grey, 90)]
    air = AIR_COLOUR * np.median(air, axis=0) + (1 - AIR_COLOUR) * np.median(air.mean(axis=1))
    air = np.clip(air, *AIR_RANGE) ** GAMMA
    return Scene(cv2.exp(log_depth), full_sky, full_ground, (vx * w, vy * h), FOCAL * max(w, h), air.astype(np.float32))


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
    return free, 1 - ramp(unlike, 0.7, 1.3)


def ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smoothstep from 0 at low to 1 at high.

    Args:
        x: any shape.
        low: where it is 0.
        high: where it is 1.
    """
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
