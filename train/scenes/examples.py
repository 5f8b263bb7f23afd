"""The page's example streets: `python -m train.scenes.examples --frames runs/examples --out assets/examples`.

Renders the streets of `CHOSEN` in every weather (resumable, into --frames) and gathers pictures, labels and the listing
that the page reads.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from train.scenes import CONDITIONS, command, frames
from train.scenes.frames import replace_file

SIZE, SAMPLES, QUALITY = (1024, 512), 20, 84
# seed -> title and what the picture shows. Chosen by eye among the streets of seeds 500 to 539.
CHOSEN: dict[int, tuple[str, str]] = {}
NAMES = {"fog": "visibility {visibility:.0f} m", "rain": "wet road, visibility {visibility:.0f} m",
         "snow": "snow on the ground, visibility {visibility:.0f} m", "night": "street lamps and headlights"}  # fmt: skip


def gather(source: Path, out: Path) -> list[dict]:
    """Copy finished frames into `out` with the listing examples.json; its entries. Raises ValueError for missing ones."""
    entries = []
    out.mkdir(parents=True, exist_ok=True)
    for number, (seed, (title, alt)) in enumerate(CHOSEN.items(), 1):
        name = f"street-{number:02d}"
        for condition in CONDITIONS:
            stem = frames.stem(seed, condition)
            if not frames.finished(source, stem):
                raise ValueError(f"The frame {stem} is not in {source}: render it first.")
            picture = cv2.imread(str(frames.paths(source, stem)["image"]))[..., ::-1]
            target = out / (f"{name}.jpg" if condition == "clear" else f"{name}-{condition}.jpg")
            replace_file(target, frames.jpeg(picture, QUALITY))
        shutil.copyfile(frames.paths(source, frames.stem(seed, "clear"))["label"], out / f"{name}.png")
        weather = {}
        for condition in CONDITIONS[1:]:
            card = json.loads(frames.paths(source, frames.stem(seed, condition))["card"].read_text(encoding="utf-8"))
            text = NAMES[condition].format(visibility=card["weather"]["visibility"])
            weather[condition] = {"file": f"{name}-{condition}.jpg", "text": text}
        entries.append({"file": f"{name}.jpg", "label": f"{name}.png", "title": title, "alt": f"Rendered street scene: {alt}",
                        "seed": seed, "command": "python -m train.scenes.examples", "weather": weather})  # fmt: skip
    replace_file(out / "examples.json", (json.dumps(entries, indent=1) + "\n").encode())
    return entries


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.scenes.examples", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=Path, default=Path("runs/examples"), help="folder for the rendered frames")
    parser.add_argument("--out", type=Path, default=Path("assets/examples"), help="folder that the page reads")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    try:
        command.render(args.frames, list(CHOSEN), CONDITIONS, SIZE, None, SAMPLES, args.threads)
        entries = gather(args.frames, args.out)
    except (ValueError, OSError) as error:
        print(f"examples: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"{len(entries)} streets in {args.out}")


if __name__ == "__main__":
    main()
