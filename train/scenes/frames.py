"""Frames on disk: images/, labels/, depth/ and cards/, each file whole or not there at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np

from mfuser.cityscapes import colorize
from train.scenes import CONDITIONS

QUALITY = 93  # of the JPEG


def stem(seed: int, condition: str) -> str:
    """Name of a frame without its suffix. Sorted by seed, then by condition."""
    return f"{seed:07d}-{condition}"


def paths(out: Path, name: str) -> dict[str, Path]:
    """The files of a frame."""
    return {"label": out / "labels" / f"{name}.png", "depth": out / "depth" / f"{name}.png",
            "card": out / "cards" / f"{name}.json", "image": out / "images" / f"{name}.jpg"}  # fmt: skip


def finished(out: Path, name: str) -> bool:
    """Whether a frame is complete: its image is written last."""
    return all(path.is_file() for path in paths(out, name).values())


def write(out: Path, name: str, image: np.ndarray, label: np.ndarray, depth: np.ndarray, card: dict) -> None:
    """Write a frame. image: (H, W, 3) uint8 RGB. label: (H, W) uint8. depth: (H, W) metres, infinite in the sky."""
    where = paths(out, name)
    for path in where.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    centimetres = np.where(np.isfinite(depth), np.minimum(depth * 100, 65535), 65535).round().astype(np.uint16)
    replace_file(where["label"], cv2.imencode(".png", label)[1].tobytes())
    replace_file(where["depth"], cv2.imencode(".png", centimetres)[1].tobytes())
    replace_file(where["card"], (json.dumps(card, indent=1) + "\n").encode())
    replace_file(where["image"], jpeg(image, QUALITY))


def jpeg(image: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def sheet(out: Path, limit: int = 24, across: int = 4, width: int = 400) -> Path:
    """A contact sheet of finished frames, each above its labels: out/sheet.jpg. Raises ValueError for none."""
    names = sorted(p.stem for p in (out / "images").glob("*.jpg")) if (out / "images").is_dir() else []
    names = [name for name in names if finished(out, name)]
    if not names:
        raise ValueError(f"There is no finished frame in {out} to put on a sheet: render some first.")
    names = [names[i * len(names) // min(limit, len(names))] for i in range(min(limit, len(names)))]
    tiles = []
    for name in names:
        where = paths(out, name)
        image = cv2.imread(str(where["image"]))[..., ::-1]
        height = round(image.shape[0] * width / image.shape[1])
        label = cv2.resize(
            cv2.imread(str(where["label"]), cv2.IMREAD_UNCHANGED), (width, height), interpolation=cv2.INTER_NEAREST
        )
        tiles.append(np.vstack([cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), colorize(label)]))
    blank = np.zeros_like(tiles[0])
    rows = [tiles[i : i + across] for i in range(0, len(tiles), across)]
    picture = np.vstack([np.hstack(row + [blank] * (across - len(row) if len(rows) > 1 else 0)) for row in rows])
    target = out / "sheet.jpg"
    replace_file(target, jpeg(picture, 88))
    return target


def replace_file(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def parse_conditions(text: str) -> tuple[str, ...]:
    """ "clear,fog" or "all" to names of conditions. Raises ValueError for unknown ones."""
    names = (
        CONDITIONS if text.strip() == "all" else tuple(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
    )
    unknown = [n for n in names if n not in CONDITIONS]
    if unknown or not names:
        what = repr(unknown[0]) if unknown else "nothing"
        raise ValueError(
            f"--weather has {what}: choose from {', '.join(CONDITIONS)}, several separated by commas, or all."
        )
    return names


def parse_size(text: str) -> tuple[int, int]:
    """ "1024x512" to (1024, 512). Raises ValueError for anything else, or below 64 x 64."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdigit() and height.isdigit() and 64 <= min(int(width), int(height)) <= 8192):
        raise ValueError(f"--size is {text!r}: write it as WIDTHxHEIGHT in pixels, at least 64x64.")
    return int(width), int(height)
