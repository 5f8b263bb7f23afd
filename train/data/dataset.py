"""Opening sets by what `--data` says, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence

from train.data.files import Pair
from train.data.registry import DatasetType, locate, parse
from train.data.segmentation_data import CACHE_BYTES, SegmentationData


def open_dataset(
    spec: str,
    split: str = "train",
    labelled: bool = True,
    limit: int | None = None,
    cache_bytes: int = CACHE_BYTES,
    skip_broken: bool = False,
) -> SegmentationData:
    """Open `[name:]ROOT[/split]`.

    Args:
        spec: as of `--data`.
        split: folder looked for when ROOT itself holds no `images`.
        labelled: False reads photographs only.
        limit: at most so many images, spread evenly over the set; None for all.
        cache_bytes: larger sets are read from disk when needed.
        skip_broken: leave out pairs that cannot be read or lack their label, and name them in `faults`.

    Returns:
        The set.

    Raises:
        ValueError: nothing there, a label missing, sizes that differ, illegal ids; the first faulty file is named.
    """
    pairs = pairs_of(spec, split, labelled, complete=not skip_broken)
    if limit is not None:
        if limit < 1:
            raise ValueError(f"A limit of {limit} images leaves nothing: choose 1 or more.")
        pairs = [pairs[i] for i in spread(len(pairs), limit)]
    kind, name = name_of(spec, split)
    return SegmentationData(kind, pairs, name, cache_bytes, skip_broken)


def spread(count: int, limit: int) -> list[int]:
    """Indices of at most `limit` of `count` images, spread evenly."""
    few = min(limit, count)
    return [i * count // few for i in range(few)]


def pairs_of(spec: str, split: str, labelled: bool = True, complete: bool = True) -> list[Pair]:
    """All files of `[name:]ROOT[/split]`; arguments and errors as of `DatasetType.pairs`."""
    kind, root = parse(spec)
    return kind.pairs(root, split, labelled, complete)


def name_of(spec: str, split: str) -> tuple[DatasetType, str]:
    """The edition that lies at `[name:]ROOT[/split]`, and what an opened set is called."""
    kind, root = parse(spec)
    root, split = locate(root, split)
    kind = kind.at(root)
    inside = "" if kind.pair is None and (root / "images").is_dir() else f"/{split}"
    return kind, f"{kind.name}:{root.name}{inside}"


def open_datasets(specs: Sequence[str], split: str, limit: int | None = None) -> list[SegmentationData]:
    """Open sets side by side, each with a name of its own, also as part of a file's name.

    Sets that would be called alike take as many of the folders above them as tell them apart, the same set again a
    number.

    Args:
        specs: as of `--data`.
        split: as of `open_dataset`.
        limit: as of `open_dataset`.

    Returns:
        The sets in their order.

    Raises:
        ValueError: as of `open_dataset`.
    """
    datasets = [open_dataset(spec, split, limit=limit) for spec in specs]
    paths = []
    for spec, dataset in zip(specs, datasets, strict=True):
        kind, _, name = dataset.name.partition(":")
        above = locate(parse(spec)[1], split)[0].resolve().parent
        paths.append((kind, (*above.parts[1:], name)))

    def plain(path: tuple[str, tuple[str, ...]], folders: int) -> str:  # as part of a file's name
        return "-".join((path[0], *path[1][-folders:])).replace("/", "-")

    for i, (dataset, path) in enumerate(zip(datasets, paths, strict=True)):
        kind, parts = path
        lengths = range(1, len(parts))
        enough = (n for n in lengths if all(plain(p, n) != plain(path, n) for p in paths if p != path))
        dataset.name = f"{kind}:{'/'.join(parts[-next(enough, len(parts)) :])}"
        if before := paths[:i].count(path):
            dataset.name += f" ({before + 1})"
    return datasets
