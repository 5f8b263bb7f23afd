"""Cards: what is known about a rendered frame, and the class shares of many."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mfuser.cityscapes import CLASSES
from train.scenes.scene import Scene
from train.scenes.street import KINDS
from train.scenes.weather import Weather

# Percent of the labelled pixels of Cityscapes' finely annotated training photographs (Cordts et al. 2016). The class
# weights that ERFNet (Romera et al. 2018) publishes for these photographs, 1 / ln(1.1 + share), give the same to 0.02.
CITYSCAPES_SHARES = dict(
    zip(
        CLASSES,
        (
            36.87,
            6.08,
            22.82,
            0.66,
            0.88,
            1.23,
            0.21,
            0.55,
            15.93,
            1.16,
            4.02,
            1.22,
            0.14,
            7.00,
            0.27,
            0.24,
            0.23,
            0.10,
            0.41,
        ),
        strict=True,
    )
)


def card(scene: Scene, weather: Weather, label: np.ndarray, size: tuple[int, int]) -> dict:
    """Everything that made a frame, and what is in it."""
    s = scene.street
    families = [thing.name.split("/")[0] for thing in s.things]
    return {
        "seed": scene.seed,
        "size": list(size),
        "street": {"kind": s.kind, "title": KINDS[s.kind].title, "lanes": s.lanes, "junction": s.junction is not None,
                   "crossings": len(s.zebras), "bend": list(s.bend), "rise": round(s.rise, 2), "cobbles": s.cobbles,
                   "autumn": s.autumn},
        "things": {name: families.count(name) for name in sorted(set(families)) if name not in ("tuft", "meadow")},
        "camera": scene.camera.card(),
        "weather": weather.card(),
        "depth": "16-bit PNG, centimetres along the view, 65535 = sky or further than 655 m",
        "shares": {CLASSES[i]: round(share, 6) for i, share in enumerate(shares(label)) if share},
    }  # fmt: skip


def shares(label: np.ndarray) -> np.ndarray:
    """Share of each class among the labelled pixels, (19,) float64; zeros when nothing is labelled."""
    counts = np.bincount(label.ravel(), minlength=256)[: len(CLASSES)].astype(np.float64)
    return counts / max(counts.sum(), 1.0)


def mean_shares(cards: Iterable[Path]) -> tuple[np.ndarray, int]:
    """Mean class shares, (19,), of the frames whose cards are given, and how many frames those are."""
    total, count = np.zeros(len(CLASSES)), 0
    for path in cards:
        known = json.loads(path.read_text(encoding="utf-8"))["shares"]
        total += [known.get(name, 0.0) for name in CLASSES]
        count += 1
    return total / max(count, 1), count


def table(found: np.ndarray) -> str:
    """Class shares in percent beside those of Cityscapes, as lines of text."""
    lines = [f"{'class':14} {'here %':>8} {'Cityscapes %':>13} {'ratio':>7}"]
    for name, share in zip(CLASSES, found, strict=True):
        there = CITYSCAPES_SHARES[name]
        lines.append(f"{name:14} {share * 100:8.2f} {there:13.2f} {share * 100 / there:7.2f}")
    return "\n".join(lines)
