"""`python -m train probe`: what frozen encoders know, and how much the two of a pair differ."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from mfuser import images, presets
from mfuser.cityscapes import CLASSES, IGNORE
from mfuser.config import Preset
from mfuser.weights import files
from mfuser.writing import write_bytes, write_json, write_text
from train.data import SegmentationData, has_split, open_dataset
from train.data.registry import shown_spec
from train.measure.probe import component_sheet, evaluation
from train.measure.probe.evaluation import Names, View
from train.measure.probe.features import Encoders, ImageNetTrunk, Source
from train.measure.probe.report import markdown
from train.runtime.files import require_writable
from train.runtime.hardware import choose_hardware
from train.runtime.options import Append
from train.runtime.weights import weights_folder

IMAGENET = "ImageNet"


@dataclass(frozen=True)
class ProbeConfig:
    """Measure frozen encoders: linear probes, boundary IoU, text retrieval, likeness (CKA), principal components."""

    # Labelled photographs that train the probes, [name:]ROOT[/split].
    data: str = ""
    # Labelled photographs that score them; default: the val split of --data. They may be labelled in other, coarser
    # groups: an answer counts as the group of the class that names it, so that not even a perfect one reaches 100.
    val: str = ""
    # Folder of encoder-vfm or encoder-vlm.safetensors, or both, and stream-fused.safetensors where fused features are
    # to be probed; repeat it to compare several; default: the preset's own.
    weights: Annotated[tuple[Path, ...], Append] = ()
    # Which preset.
    preset: str = "nano"
    # Also probe the ImageNet trunk that the built-in encoders start from.
    imagenet: bool = False
    # At most so many photographs to train on, spread over the set; 0 for all.
    limit: int = 0
    # The same of those that score.
    val_limit: int = 0
    # Shrink the photographs that score, as the encoders get them, to this share and enlarge them again, as a softer
    # camera shows them; 0: as they are.
    soften: float = 0.0
    # Patches on which CKA is estimated.
    samples: int = 6000
    # Picture of the principal components; default: a rendered street.
    picture: Path | None = None
    # Folder of probe.md, probe.json and pca.jpg.
    out: Path = Path("runs/probe")
    # Images per forward pass.
    batch: int = 4
    # auto, cpu, cuda or cuda:N.
    device: str = "auto"
    # Processes that load images; -1 chooses by cores.
    workers: int = -1
    # Of the patches on which CKA is estimated.
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("limit", "val_limit", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name.replace('_', '-')} must not be negative, got {getattr(self, name)}.")
        if not 0 <= self.soften < 1:
            raise ValueError(f"--soften is a share, 0 to below 1, got {self.soften}.")
        if self.batch < 1:
            raise ValueError(f"--batch must be above 0, got {self.batch}.")
        if self.samples < 4:
            raise ValueError(f"--samples must be 4 or more, got {self.samples}.")


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(ProbeConfig, args=list(argv), prog="python -m train probe")
    if not config.data:
        raise ValueError("No data to train probes on: pass --data, for example --data camvid:PATH/train.")
    print(run(config))


def run(config: ProbeConfig) -> str:
    """Measure and write probe.md, probe.json and pca.jpg.

    Returns:
        The text of probe.md.

    Raises:
        ValueError: bad input.
        OSError: a file cannot be read or written.
    """
    preset, hardware = presets.get(config.preset), choose_hardware(config.device, "float32", config.workers)
    folders = name_folders(config.weights, preset)
    street = images.load(config.picture or component_sheet.STREET)
    trained, scored = open_sets(config)
    require_writable(config.out)
    # All of them first: weights that are missing or do not fit are named before the work.
    encoders = {name: Encoders(preset, folder, hardware.device) for name, folder in folders.items()}
    sources: dict[str, Source] = {IMAGENET: ImageNetTrunk(preset, hardware.device)} if config.imagenet else {}
    sources |= encoders
    view = View(preset, hardware, config.batch, config.soften)
    report = {
        "command": shown_command(config, list(folders)),
        "preset": preset.name,
        "data": trained.name,
        "val": scored.name,
        "images": [len(trained), len(scored)],
        "groups": [list(trained.groups.names), list(scored.groups.names)],
        "soften": config.soften,
        "places": list(next(iter(encoders.values())).places),
        "weights": {name: probe(source, trained, scored, view, config) for name, source in sources.items()},
    }
    text = markdown(report)
    write_bytes(config.out / "pca.jpg", component_sheet.sheet(sources, street, view))
    write_json(config.out / "probe.json", report)
    write_text(config.out / "probe.md", text)
    return text


def probe(
    source: Source, trained: SegmentationData, scored: SegmentationData, view: View, config: ProbeConfig
) -> dict[str, Any]:
    """Train and score the probes of one source.

    Args:
        source: of the features.
        trained: photographs that train the probes.
        scored: photographs that score them.
        view: how they are read.
        config: settings.

    Returns:
        What `evaluation.score` returns, with how the training ended.
    """
    names = Names(renaming(trained, scored))
    if isinstance(source, Encoders) and "vlm" in source.names:
        texts = [source.embed_texts([CLASSES[c] for c in one.representatives]) for one in (trained, scored)]
        names = Names(names.table, *texts)
    probes = evaluation.train(*evaluation.gather(source, trained, view), source.rows)
    found = evaluation.score(source, probes, names, scored, view, config.samples, config.seed)
    for row, own in probes.items():
        found["rows"][row] |= {"width": own.weight.shape[1], "loss": own.loss, "steps": own.steps}
    return found


def open_sets(config: ProbeConfig) -> tuple[SegmentationData, SegmentationData]:
    """The sets that train and score the probes. Raises ValueError when they cannot be read, or do not fit together."""
    trained = open_dataset(config.data, "train", limit=config.limit or None)
    if not config.val and not has_split(config.data, "val"):
        raise ValueError("No data to score on: pass --val, for example --val camvid:PATH/val.")
    scored = open_dataset(config.val or config.data, "val", limit=config.val_limit or None)
    renaming(trained, scored)
    return trained, scored


def renaming(trained: SegmentationData, scored: SegmentationData) -> np.ndarray:
    """Table from the groups of one set to those of another: each goes where the class that names it lies.

    Returns:
        (256,) uint8.

    Raises:
        ValueError: a group of either set has no counterpart.
    """
    count, table = len(trained.groups), np.full(256, IGNORE, np.uint8)
    table[:count] = scored.groups.table()[list(trained.representatives)]
    alone = [name for name, to in zip(trained.groups.names, table[:count], strict=True) if to == IGNORE]
    alone += [name for index, name in enumerate(scored.groups.names) if index not in table[:count]]
    if alone:
        raise ValueError(
            f"{trained.name} and {scored.name} are labelled in other groups, and {alone[0]!r} has no counterpart: "
            "score on a set of the same groups or coarser ones."
        )
    return table


def name_folders(given: Sequence[Path], preset: Preset) -> dict[str, Path | None]:
    """Folders of weights by their names in a table: as many of the last parts of their paths as tell them apart.

    Raises:
        ValueError: a folder is given twice, or is none.
    """
    folders = [weights_folder(path) for path in given]
    if not folders:
        return {preset.name: files.folder_of(preset)}
    for path in folders:
        if not path.is_dir():
            raise ValueError(f"There is no folder {path}: pass --weights DIR, as `python -m train pretrain` wrote it.")
    if len({path.resolve() for path in folders}) < len(folders):
        raise ValueError("--weights names a folder twice: give each once.")
    for count in itertools.count(1):
        names = ["/".join(path.resolve().parts[-count:]) for path in folders]
        if len({*names, IMAGENET}) > len(names):
            return dict(zip(names, folders, strict=True))


def shown_command(config: ProbeConfig, folders: Sequence[str]) -> str:
    """The command of a report, with the names of sets and of folders of weights in place of their paths."""
    shown = [("weights", name) for name in folders if config.weights]
    shown += [(name, shown_spec(spec)) for name in ("data", "val") if (spec := getattr(config, name))]
    plain = ("preset", "limit", "val_limit", "soften", "samples", "seed")
    shown += [(name, value) for name in plain if (value := getattr(config, name)) != getattr(ProbeConfig, name)]
    words = [f"--{name.replace('_', '-')} {value}" for name, value in shown]
    return " ".join(["python -m train probe", *words, *(["--imagenet"] if config.imagenet else [])])
