"""`python -m train pseudo`: labels that a trained model gives photographs, to train on (self-training, Lee 2013).

Photographs without labels get the class that the model is sure of and 255 elsewhere. Photographs whose labels name
groups ("vehicle") get the likeliest member of each pixel's own group, so that nothing that the labels say is lost.
OUT/pseudo.json holds the settings that made them and, in the end, how much of each set is labelled.
"""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor
from tqdm import tqdm

from mfuser import images
from mfuser.cityscapes import CLASSES, IGNORE
from mfuser.inference.segmenter import Segmenter
from mfuser.inference.windows import working_size
from train.adapt.pseudo_files import Prefix, Record, name_sets
from train.data import SegmentationData, open_dataset
from train.data.groups import LabelGroups
from train.data.registry import parse
from train.metrics.tempering import tempered_logits
from train.runtime.files import copy_whole, digest, require_writable
from train.runtime.hardware import choose_hardware
from train.runtime.model_options import ModelOptions
from train.runtime.options import Append


@dataclass(frozen=True)
class PseudoConfig(ModelOptions):
    """Label photographs with a trained stream; the result is a folder of images/ and labels/ in the 19 classes."""

    # Labelled photographs, [name:]ROOT[/split]; repeat for several sets.
    data: Annotated[tuple[str, ...], Append] = ()
    # Photographs without labels, a folder with images/ in it; repeat for several.
    photographs: Annotated[tuple[str, ...], Append] = ()
    # Which stream gives the labels.
    stream: Literal["fused", "vfm", "vlm"] = "fused"
    # Folder of images/, labels/ and pseudo.json; what is there already is not done again.
    out: Path = Path("runs/pseudo")
    # Least probability of a class where nothing is labelled, 0 to 1; pixels below it are not taught.
    confidence: float = 0.8
    # Short sides in pixels, over which probabilities are averaged, each with its mirror image; 0: the preset's.
    resolutions: tuple[int, ...] = (0,)
    # Remove what --out holds, and make it anew.
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.confidence < 1:
            raise ValueError(f"--confidence must lie between 0 and 1, got {self.confidence}.")
        if not self.resolutions or min(self.resolutions) < 0:
            raise ValueError("--resolutions needs one short side or more, in pixels.")


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(PseudoConfig, args=list(argv), prog="python -m train pseudo")
    if not config.data and not config.photographs:
        raise ValueError("Nothing to label: pass --photographs FOLDER, or --data for labels that name groups.")
    hardware = choose_hardware(config.device, "float32", 0)
    specs = (*config.data, *config.photographs)
    prefixes = name_sets(specs)
    for spec in specs:
        if parse(spec)[1].resolve().is_relative_to(config.out.resolve()):
            raise ValueError(f"{spec} lies in {config.out}, where its labels would go: choose another --out.")
    sets = [open_dataset(spec, "train", labelled=spec in config.data) for spec in specs]
    record, settings = Record(config.out), settings_of(config)
    if not config.overwrite:
        record.require(settings)
    elif not record.path.is_file():
        record.require_empty()  # what no record tells of is not ours to remove
    segmenter = Segmenter(config.load((config.stream,), hardware).for_inference(), str(hardware.device))
    require_writable(config.out)
    if config.overwrite:
        record.clear()
    done: dict[str, dict[str, Any]] = record.read().get("sets", {})
    record.write({"settings": settings, "sets": done})
    for spec, prefix, dataset in zip(specs, prefixes, sets, strict=True):
        shares = label_set(segmenter, dataset, parse(spec)[1], prefix, config)
        done[str(prefix)] = {"photographs": len(dataset), "labelled": round(float(np.mean(shares)), 6)}
        print(f"{dataset.name}: {len(dataset)} photographs, {100 * np.mean(shares):.0f} % of their pixels labelled")
    record.write({"settings": settings, "sets": done})


def settings_of(config: PseudoConfig) -> dict[str, Any]:
    """What decides the labels of a photograph; "weights" is a digest of the stream's file."""
    folder = config.folder()
    path = None if folder is None else folder / f"stream-{config.stream}.safetensors"
    weights = digest(path) if path is not None and path.is_file() else None
    same = {name: getattr(config, name) for name in ("stream", "confidence", "preset")}
    return {**same, "resolutions": list(config.resolutions), "weights": weights}


def label_set(
    segmenter: Segmenter, dataset: SegmentationData, root: Path, prefix: Prefix, config: PseudoConfig
) -> list[float]:
    """Write every photograph of a set with its label; what is there already is not done again.

    Args:
        segmenter: the model.
        dataset: the set.
        root: its folder.
        prefix: what its files are called.
        config: the options.

    Returns:
        The labelled share of each photograph, 0 to 1.

    Raises:
        ValueError: another photograph has the name of one.
    """
    shares = []
    for folder in ("images", "labels"):
        (config.out / folder).mkdir(exist_ok=True)
    for index, pair in enumerate(tqdm(dataset.pairs, desc=f"label {dataset.name}", unit="img")):
        name = prefix.name(root, pair.image)
        label_path = config.out / "labels" / f"{name}.png"
        image_path = config.out / "images" / f"{name}{pair.image.suffix.lower()}"
        if image_path.is_file() and not filecmp.cmp(pair.image, image_path, shallow=False):
            raise ValueError(
                f"{image_path} is another photograph than {pair.image}: give folders of one name in one command and "
                "always in the same order, choose another --out, or pass --overwrite."
            )
        if not (image_path.is_file() and label_path.is_file()):
            own = dataset.label(index) if pair.label is not None else None
            picture = dataset.image(index)
            probabilities = class_probabilities(segmenter, picture, config.stream, config.resolutions)
            label = choose(resized(probabilities, picture.shape[:2]), own, dataset.groups, config.confidence)
            copy_whole(pair.image, image_path)
            images.save(label_path, label)
        else:
            label = images.load(label_path)[..., 0]
        shares.append(float((label != IGNORE).mean()))
    return shares


@torch.inference_mode()
def class_probabilities(
    segmenter: Segmenter, picture: np.ndarray, stream: str, resolutions: Sequence[int] = (0,), mirror: bool = True
) -> Tensor:
    """Average probabilities over resolutions and mirror images.

    Args:
        segmenter: the model; the stream's temperature applies, as to the confidence that the page shows.
        picture: (H, W, 3) uint8 RGB.
        stream: which stream.
        resolutions: short sides in pixels; 0 for the preset's.
        mirror: look at the mirror image, too.

    Returns:
        (19, h, w) float32, at the decoder's grid of the first resolution.
    """
    model = segmenter.model
    found: list[Tensor] = []
    for resolution in resolutions:
        pixels = segmenter.to_pixels(picture, working_size(picture.shape[:2], model.preset, resolution or None))
        views = torch.cat([pixels, pixels.flip(-1)]) if mirror else pixels
        semantic = model(views, stream).semantic().float()
        scores = torch.cat([semantic[:1], semantic[1:].flip(-1)])
        p = tempered_logits(scores, model.temperatures[stream]).softmax(1).mean(0)
        found.append(p if not found else resized(p, found[0].shape[1:]))
    return torch.stack(found).mean(0)


def resized(probabilities: Tensor, size: Sequence[int]) -> Tensor:
    """(19, h, w) -> (19, *size), bilinear."""
    return F.interpolate(probabilities[None], tuple(size), mode="bilinear", align_corners=False)[0]


def choose(probabilities: Tensor, label: np.ndarray | None, groups: LabelGroups, confidence: float) -> np.ndarray:
    """Choose the class of every pixel.

    Args:
        probabilities: (19, H, W).
        label: (H, W) uint8 group indices, 255 where nothing is labelled; None for a photograph without labels.
        groups: those of the label; the likeliest member of a pixel's group is chosen.
        confidence: least probability of the likeliest class of a photograph without labels.

    Returns:
        (H, W) uint8 train ids, 255 where the class stays open.
    """
    if label is None:
        best, chosen = probabilities.max(0)
        return torch.where(best >= confidence, chosen, IGNORE).to(torch.uint8).cpu().numpy()
    members = np.concatenate([groups.matrix(), np.zeros((1, len(CLASSES)), bool)])
    index = torch.from_numpy(np.where(label == IGNORE, len(groups), label).astype(np.int64))
    allowed = torch.from_numpy(members)[index].permute(2, 0, 1)  # (19, H, W)
    chosen = probabilities.cpu().masked_fill(~allowed, -1.0).argmax(0).numpy().astype(np.uint8)
    return np.where(label == IGNORE, np.uint8(IGNORE), chosen)
