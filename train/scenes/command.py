"""Render street scenes with exact labels, depth and weather from seeds.

OUT gets images/, labels/ (8-bit Cityscapes train ids, 255 = nothing), depth/ and cards/, one file a frame in each, so
that `--data OUT` reads it. Finished frames are skipped: run the same command again to continue.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from train.runtime.interrupt import Interrupt
from train.scenes import CONDITIONS, card, compose, frames, lamps, scene, weather
from train.scenes.street import KINDS


def main(argv: Sequence[str] | None = None) -> None:
    """Raises ValueError for bad settings or a missing renderer."""
    parser = argparse.ArgumentParser(
        prog="python -m train render", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--count", type=int, required=True, help="how many streets; each is rendered in every weather asked for"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the frames, made if absent")
    parser.add_argument(
        "--weather", default="clear", help=f"{','.join(CONDITIONS)}, several with commas, or all (default clear)"
    )
    parser.add_argument("--size", default="1024x512", help="WIDTHxHEIGHT in pixels (default 1024x512)")
    parser.add_argument("--seed", type=int, default=0, help="of the first street; the next ones count up (default 0)")
    parser.add_argument("--kind", choices=list(KINDS), help="one kind of street only (default: all kinds, at random)")
    parser.add_argument(
        "--samples", type=int, default=16, help="light paths a pixel: more are cleaner and slower (default 16)"
    )
    parser.add_argument("--threads", type=int, default=2, help="processor threads (default 2)")
    parser.add_argument("--sheet", action="store_true", help="draw a contact sheet of the frames in OUT at the end")
    args = parser.parse_args(argv)
    for name in ("count", "samples", "threads"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} is {getattr(args, name)}: choose 1 or more.")
    if args.seed < 0:
        raise ValueError(f"--seed is {args.seed}: choose 0 or more.")
    seeds = range(args.seed, args.seed + args.count)
    conditions, size = frames.parse_conditions(args.weather), frames.parse_size(args.size)
    render(args.out, seeds, conditions, size, args.kind, args.samples, args.threads)
    found, count = card.mean_shares(sorted((args.out / "cards").glob("*.json")))
    print(f"{count} frames in {args.out}. Share of the labelled pixels:\n{card.table(found)}")
    if args.sheet:
        print(f"contact sheet: {frames.sheet(args.out)}")


def render(
    out: Path,
    seeds: Sequence[int],
    conditions: Sequence[str] = ("clear",),
    size: tuple[int, int] = (1024, 512),
    kind: str | None = None,
    samples: int | Mapping[str, int] = 16,
    threads: int = 2,
) -> int:
    """Render the frames that are not there yet; how many that were. Arguments are those of the command line; samples
    may differ by condition.

    Raises ValueError when it is interrupted, and MissingRenderer, one of those, when Blender is not installed.
    """
    wanted = [(seed, condition) for seed in seeds for condition in conditions]
    missing = [(s, c) for s, c in wanted if not frames.finished(out, frames.stem(s, c))]
    if not missing:
        return 0
    from train.scenes.blender import Renderer  # only now: without frames to render, no renderer is needed

    renderer = Renderer(threads)
    out.mkdir(parents=True, exist_ok=True)
    started, made, current = time.monotonic(), 0, None
    with Interrupt() as interrupt, tqdm(total=len(wanted), initial=len(wanted) - len(missing), unit="frame") as bar:
        for street_seed, condition in missing:
            if interrupt.asked:
                break
            if current is None or current.seed != street_seed:
                current = scene.make(street_seed, kind)
                renderer.load(current.street, current.static, current.camera)
                truth = renderer.truth(size)
            sky = weather.sample(street_seed, condition)
            renderer.materials.set(sky.wet, sky.snow, sky.lamps)
            renderer.light(sky.sky, lamps.lamps(current.street, current.camera) if sky.lamps == 1 else [])
            paths = samples if isinstance(samples, int) else samples[condition]
            light, cover = renderer.render(size, paths)
            picture = compose.compose(light, cover, truth.depth, current.camera, sky, street_seed)
            frames.write(out, frames.stem(street_seed, condition), picture, truth.label, truth.depth,
                         card.card(current, sky, truth.label, size))  # fmt: skip
            made += 1
            bar.update()
    if interrupt.asked:
        raise ValueError(f"Stopped after {made} new frames: the same command continues.")
    print(f"{made} new frames, {(time.monotonic() - started) / made:.1f} s each")
    return made
