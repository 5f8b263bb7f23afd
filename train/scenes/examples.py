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

SIZE, QUALITY = (1024, 512), 90
SAMPLES = {"clear": 8, "fog": 5, "rain": 6, "snow": 5, "night": 8}  # fog and snow hide noise
# seed -> title and what the picture shows. Chosen by eye among the streets of seeds 500 to 559.
CHOSEN: dict[int, tuple[str, str]] = {
    520: (
        "Sunny flats",
        "a wide street of flats and shops in sunshine, a cyclist, a parked car and a lorry ahead, a red car "
        "coming, trees and their shadows on the road.",
    ),
    507: (
        "Old town",
        "a cobbled street of an old town with coloured houses and awnings, people crossing it, bicycles on the "
        "pavement.",
    ),
    525: (
        "Suburb",
        "a crossing with green lights and a zebra in a suburb, a cyclist ahead, detached houses, people "
        "on the pavement.",
    ),
    504: (
        "Tramway",
        "a tram coming on rails in the middle of a shopping street, people under awnings, old houses.",
    ),
    533: (
        "Park road",
        "low sun over a road along a park, long shadows of trees, a bus and a cyclist, people walking.",
    ),
    505: ("Red bus", "an avenue with a red bus, cars, a cyclist, trees and shops on both sides."),
    503: (
        "Brick homes",
        "a road past brick houses and a garden wall, a tank lorry and cars ahead, bicycles at the wall.",
    ),
    512: ("Delivery", "a lorry with a blue tarpaulin among cars on an avenue of large trees."),
    554: (
        "Autumn",
        "a crossing with traffic lights among autumn trees, a van and a red car, bicycles on the grass.",
    ),
    511: (
        "Shops",
        "a narrow street of shops with bollards, a grey car ahead, parked cars, bicycles at a wall.",
    ),
    500: (
        "Crossing",
        "traffic lights and a zebra before two tall houses of an old town, somebody about to cross.",
    ),
    545: (
        "Tree street",
        "a van coming along a street of flats between trees, a cyclist ahead, warning signs, a hedge.",
    ),
}
NAMES = {
    "fog": "visibility {visibility:.0f} m",
    "rain": "wet road, visibility {visibility:.0f} m",
    "snow": "snow on the ground, visibility {visibility:.0f} m",
    "night": "street lamps and headlights",
}


def gather(source: Path, out: Path) -> list[dict]:
    """Copy finished frames into `out` with the listing examples.json; its entries. Raises ValueError for missing
    ones."""
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
        entries.append(
            {
                "file": f"{name}.jpg",
                "label": f"{name}.png",
                "title": title,
                "alt": f"Rendered street scene: {alt}",
                "seed": seed,
                "command": "python -m train.scenes.examples",
                "weather": weather,
            }
        )
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
