"""Official folder layouts: which files of a root belong together.

A layout is a function (root, split, labelled) -> pairs; it raises `NoSuchSplit` when the root does not hold the split.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from train.data.encodings import read_segments
from train.data.files import Pair, pair_files
from train.data.held_back import held_back
from train.data.labels import LabelRule
from train.data.registry import NoSuchSplit, find_split

Layout = Callable[[Path, str, bool], list[Pair]]
LabelEnds = Sequence[tuple[str, LabelRule | None]]
ACDC_CONDITIONS = ("fog", "night", "rain", "snow")


def require_folder(folder: Path, root: Path, split: str) -> Path:
    """Give a folder back. Raises NoSuchSplit when it is not there."""
    if not folder.is_dir():
        raise NoSuchSplit(f"No split {split!r} in {root}: expected the folder {folder}.")
    return folder


def nested(images: str, labels: str, image_end: str, label_ends: LabelEnds) -> Layout:
    """Trees of folders.

    Args:
        images: photographs are `images/<split>/**/X<image_end>.*`.
        labels: their labels are `labels/<split>/**/X<label_end>`.
        image_end: as of `pair_files`.
        label_ends: as of `pair_files`.

    Returns:
        The layout.
    """

    def pair(root: Path, split: str, labelled: bool) -> list[Pair]:
        folder = require_folder(root / images / split, root, split)
        return pair_files(folder, root / labels / split if labelled else None, image_end, label_ends, nested=True)

    return pair


def gta(root: Path, split: str, labelled: bool) -> list[Pair]:
    """`images/00001.png`, `labels/00001.png`; with `split.mat` its splits, without it everything is for training."""
    pairs = pair_files(require_folder(root / "images", root, split), root / "labels" if labelled else None)
    listing = root / "split.mat"
    if listing.is_file():
        numbers = _listed(listing, f"{split}Ids")
        found = [pair for pair in pairs if pair.image.stem.isdecimal() and int(pair.image.stem) in numbers]
        if not found:
            raise NoSuchSplit(f"No split {split!r} in {root}: {listing} lists no photograph of it that is there.")
        return found
    if split != "train":
        raise NoSuchSplit(f"No split {split!r} in {root}: put the set's split.mat there, or evaluate on another set.")
    return pairs


def _listed(listing: Path, name: str) -> set[int]:
    """Numbers that a MATLAB file lists under a name. Raises ValueError when it does not."""
    try:
        return {int(n) for n in loadmat(listing)[name].ravel()}
    except KeyError as error:
        raise ValueError(f"{listing} has no {name}: replace it by the set's own, or remove it.") from error
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError, zlib.error) as error:
        raise ValueError(f"{listing} cannot be read ({error}): replace it by the set's own, or remove it.") from error


def dawn(root: Path, split: str, labelled: bool) -> list[Pair]:
    """`images/foggy-001.jpg` of DAWN, without those that `python -m train spots` scores and near copies of these."""
    if split != "train" and (root / "images").is_dir():
        raise NoSuchSplit(f"No split {split!r} in {root}: all of it is for training.")
    folder, held = find_split(root, split), {Path(name).stem for name in held_back()}  # whatever they are stored as
    pairs = pair_files(folder / "images", folder / "labels" if labelled else None)
    found = [pair for pair in pairs if pair.image.stem not in held]
    if not found:
        raise ValueError(
            f"All photographs in {root} are among those that score: name folder:{root} to take them still."
        )
    return found


def synthia(root: Path, split: str, labelled: bool) -> list[Pair]:
    """`RGB/0000000.png`, `GT/LABELS/0000000.png`; all of it is for training."""
    if split != "train" or not (root / "RGB").is_dir():
        raise NoSuchSplit(f"No split {split!r} in {root}: SYNTHIA has RGB and GT/LABELS, all of it for training.")
    return pair_files(root / "RGB", root / "GT" / "LABELS" if labelled else None)


def bdd(root: Path, split: str, labelled: bool) -> list[Pair]:
    """`images/10k/<split>`, `labels/sem_seg/masks/<split>`; or the older `seg/images/<split>`, `seg/labels/<split>`."""
    for images, labels, end in (
        ("images/10k", "labels/sem_seg/masks", ".png"),
        ("seg/images", "seg/labels", "_train_id.png"),
    ):
        for base in (root, root / "bdd100k"):
            if (base / images / split).is_dir():
                return nested(images, labels, "", ((end, None),))(base, split, labelled)
    raise NoSuchSplit(f"No split {split!r} in {root}: expected {root / 'images/10k' / split}.")


def vistas(version: str, panoptic: LabelRule) -> Layout:
    """`training/images`, with labels in `training/<version>/labels` or `training/labels`, else panoptic ones.

    Args:
        version: "v1.2" or "v2.0".
        panoptic: how panoptic labels are read, but for their listing.

    Returns:
        The layout.
    """

    def pair(root: Path, split: str, labelled: bool) -> list[Pair]:
        base = root / {"train": "training", "val": "validation", "test": "testing"}.get(split, split)
        images = require_folder(base / "images", root, split)
        places = [base / version / "labels", *([base / "labels"] if version == "v1.2" else [])]
        listing = base / version / "panoptic" / "panoptic_2020.json"
        if not labelled:
            return pair_files(images, None)
        if not any(place.is_dir() for place in places) and listing.is_file():
            read_segments(listing)  # says at once what is wrong with it
            rule = replace(panoptic, segments=listing)
            return [replace(p, rule=rule) for p in pair_files(images, listing.parent)]
        return pair_files(images, next((place for place in places if place.is_dir()), places[0]))

    return pair


def acdc(conditions: Sequence[str], trainids: LabelRule) -> Layout:
    """`rgb_anon/<condition>/<split>/*/X_rgb_anon.png`, `gt/.../X_gt_labelIds.png`.

    Args:
        conditions: which of `ACDC_CONDITIONS`.
        trainids: how files of trainIds are read.

    Returns:
        The layout.
    """
    ends = (("_gt_labelIds.png", None), ("_gt_labelTrainIds.png", trainids))

    def pair(root: Path, split: str, labelled: bool) -> list[Pair]:
        found: list[Pair] = []
        for condition in conditions:
            folder = root / "rgb_anon" / condition / split
            if folder.is_dir():
                labels = root / "gt" / condition / split if labelled else None
                pairs = pair_files(folder, labels, "_rgb_anon", ends, nested=True)
                found += [replace(pair, condition=condition) for pair in pairs]
        if not found:
            require_folder(root / "rgb_anon" / conditions[0] / split, root, split)
        return found

    return pair


def camvid_tutorial(root: Path, split: str, labelled: bool) -> list[Pair]:
    """The SegNet tutorial's edition: `train`, `trainannot`, and so on."""
    return pair_files(require_folder(root / split, root, split), root / f"{split}annot" if labelled else None)


def camvid_original(root: Path, split: str, labelled: bool) -> list[Pair]:
    """Cambridge's edition: `701_StillsRaw_full/X.png`, `LabeledApproved_full/X_L.png`, split as the tutorial splits."""
    photographs, labels = root / "701_StillsRaw_full", root / "LabeledApproved_full"
    pairs = pair_files(photographs, labels if labelled else None, label_ends=(("_L.png", None),))
    chosen = [pair for pair in pairs if camvid_split(pair.image.stem) == split]
    if not chosen:
        raise NoSuchSplit(f"No photographs of split {split!r} in {photographs}.")
    return chosen


def camvid_split(stem: str) -> str:
    """Split of a CamVid frame by its drive and number: 367 train, 101 val, 233 test."""
    drive, _, frame = stem.partition("_")
    number = int("".join(c for c in frame if c.isdigit()) or 0)
    if drive == "0016E5":
        return "val" if 7959 <= number <= 8159 else "train"
    if drive == "0001TP":
        return "train" if number <= 8520 else "test"
    return "train" if drive == "0006R0" else "test"
