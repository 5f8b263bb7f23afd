"""Official folder layouts: which files of a root belong together."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from train.data.encodings import read_segments
from train.data.files import LabelRule, Pair, find_images, pair_folders, require_labels, with_condition
from train.data.held_back import held_back
from train.data.registry import NoSuchSplit, find_split

Pairing = Callable[[Path, str, bool], list[Pair]]
ACDC_CONDITIONS = ("fog", "night", "rain", "snow")


def nested(
    images: str, labels: str, image_ends: Sequence[str], label_ends: Sequence[tuple[str, LabelRule | None]]
) -> Pairing:
    """Trees of folders: `images/<split>/**/X<image_end>` with `labels/<split>/**/X<label_end>`.

    label_ends: possible endings in the order of preference, each with the rule of its files (None: the set's own).
    """

    def pair(root: Path, split: str, labelled: bool) -> list[Pair]:
        folder = root / images / split
        if not folder.is_dir():
            raise NoSuchSplit(f"No split {split!r} in {root}: expected the folder {folder}.")
        return pair_tree(folder, root / labels / split if labelled else None, image_ends, label_ends)

    return pair


def pair_tree(
    folder: Path,
    label_folder: Path | None,
    image_ends: Sequence[str],
    label_ends: Sequence[tuple[str, LabelRule | None]],
) -> list[Pair]:
    """Pairs of two parallel trees. Raises ValueError when there is no image, or one has no label."""
    images = sorted((p, end) for end in image_ends for p in folder.rglob(f"*{end}") if p.is_file())
    if not images:
        raise ValueError(f"The folder {folder} holds no photographs (*{image_ends[0]}).")
    if label_folder is None:
        return [Pair(path, None) for path, _ in images]
    pairs, missing = [], []
    for path, end in images:
        place = label_folder / path.parent.relative_to(folder)
        for label_end, rule in label_ends:
            label = place / (path.name.removesuffix(end) + label_end)
            if label.is_file():
                pairs.append(Pair(path, label, rule))
                break
        else:
            missing.append(path)

    def expected(path: Path) -> Path:
        end = next(end for p, end in images if p == path)
        return label_folder / path.parent.relative_to(folder) / (path.name.removesuffix(end) + label_ends[0][0])

    require_labels(missing, expected)
    return pairs


def gta(root: Path, split: str, labelled: bool) -> list[Pair]:
    """`images/00001.png`, `labels/00001.png`; with `split.mat` its splits, without it everything is for training."""
    if not (root / "images").is_dir():
        raise NoSuchSplit(f"No photographs in {root}: expected {root / 'images'}.")
    pairs = pair_folders(root, "labels" if labelled else None)
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
    pairs = pair_folders(find_split(root, split), "labels" if labelled else None)
    held = {Path(name).stem for name in held_back()}  # whatever they are stored as
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
    return pair_folders(root, "GT/LABELS" if labelled else None, images="RGB")


def bdd(root: Path, split: str, labelled: bool) -> list[Pair]:
    """`images/10k/<split>`, `labels/sem_seg/masks/<split>`; or the older `seg/images/<split>`, `seg/labels/<split>`."""
    for images, labels, end in (
        ("images/10k", "labels/sem_seg/masks", ".png"),
        ("seg/images", "seg/labels", "_train_id.png"),
    ):
        for base in (root, root / "bdd100k"):
            if (base / images / split).is_dir():
                return nested(images, labels, (".jpg",), ((end, None),))(base, split, labelled)
    raise NoSuchSplit(f"No split {split!r} in {root}: expected {root / 'images/10k' / split}.")


def vistas(version: str, panoptic: LabelRule) -> Pairing:
    """`training/images`, with labels in `training/<version>/labels` or `training/labels`, else panoptic ones."""

    def pair(root: Path, split: str, labelled: bool) -> list[Pair]:
        base = root / {"train": "training", "val": "validation", "test": "testing"}.get(split, split)
        if not (base / "images").is_dir():
            raise NoSuchSplit(f"No split {split!r} in {root}: expected {base / 'images'}.")
        if not labelled:
            return pair_folders(base, None)
        places = (f"{version}/labels", *(("labels",) if version == "v1.2" else ()))
        for place in places:
            if (base / place).is_dir():
                return pair_folders(base, place)
        place = base / version / "panoptic"
        listing = place / "panoptic_2020.json"
        if listing.is_file():
            read_segments(listing)  # says at once what is wrong with it
            rule = replace(panoptic, segments=listing)
            return [replace(p, rule=rule) for p in pair_folders(base, f"{version}/panoptic")]
        return pair_folders(base, places[0])  # says what is missing

    return pair


def acdc(conditions: Sequence[str], trainids: LabelRule) -> Pairing:
    """`rgb_anon/<condition>/<split>/*/X_rgb_anon.png`, `gt/.../X_gt_labelIds.png`; references in `<split>_ref`."""

    def pair(root: Path, split: str, labelled: bool) -> list[Pair]:
        found: list[Pair] = []
        for condition in conditions:
            folder = root / "rgb_anon" / condition / split
            if not folder.is_dir():
                continue
            ends = (("_gt_labelIds.png", None), ("_gt_labelTrainIds.png", trainids))
            labels = root / "gt" / condition / split if labelled else None
            found += with_condition(pair_tree(folder, labels, ("_rgb_anon.png",), ends), condition)
        if not found:
            raise NoSuchSplit(f"No split {split!r} in {root}: expected {root / 'rgb_anon' / conditions[0] / split}.")
        return [_with_reference(root, split, p) for p in found]

    return pair


def _with_reference(root: Path, split: str, pair: Pair) -> Pair:
    name = pair.image.name.replace("_rgb_anon", "_rgb_ref_anon")
    reference = root / "rgb_anon" / pair.condition / f"{split}_ref" / pair.image.parent.name / name
    return replace(pair, reference=reference) if reference.is_file() else pair


def camvid_tutorial(root: Path, split: str, labelled: bool) -> list[Pair]:
    """The SegNet tutorial's edition: `train`, `trainannot`, and so on."""
    if not (root / split).is_dir():
        raise NoSuchSplit(f"No split {split!r} in {root}: expected {root / split}.")
    return pair_folders(root, f"{split}annot" if labelled else None, images=split)


def camvid_original(root: Path, split: str, labelled: bool) -> list[Pair]:
    """Cambridge's edition: `701_StillsRaw_full/X.png`, `LabeledApproved_full/X_L.png`, split as the tutorial splits."""
    photographs = root / "701_StillsRaw_full"
    chosen = [p for p in find_images(photographs) if camvid_split(p.stem) == split]
    if not chosen:
        raise NoSuchSplit(f"No photographs of split {split!r} in {photographs}.")
    if not labelled:
        return [Pair(p, None) for p in chosen]

    def label(path: Path) -> Path:
        return root / "LabeledApproved_full" / f"{path.stem}_L.png"

    require_labels([p for p in chosen if not label(p).is_file()], label)
    return [Pair(p, label(p)) for p in chosen]


def camvid_split(stem: str) -> str:
    """Split of a CamVid frame by its drive and number: 367 train, 101 val, 233 test."""
    drive, _, frame = stem.partition("_")
    number = int("".join(c for c in frame if c.isdigit()) or 0)
    if drive == "0016E5":
        return "val" if 7959 <= number <= 8159 else "train"
    if drive == "0001TP":
        return "train" if number <= 8520 else "test"
    return "train" if drive == "0006R0" else "test"
