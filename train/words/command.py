"""`python -m train words`: do texts find what they name? Phrases that taught nothing, on labelled pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from mfuser import presets
from mfuser.cityscapes import CLASSES
from mfuser.inference.segmenter import Segmenter
from mfuser.weights import files
from mfuser.writing import write_json, write_text
from train.data import CITYSCAPES, LabelGroups, open_dataset
from train.data.groups import SPACES
from train.runtime.files import require_writable
from train.runtime.hardware import choose_hardware
from train.runtime.weights import ENCODERS, load_model, weights_folder
from train.texts import evaluation_phrases
from train.texts.evaluation_phrases import Phrase
from train.words import teaching_texts
from train.words.phrase_scores import average_precision, by_kind, expected_groups, presence, top1
from train.words.similarity_maps import STREAMS, Tally, compare
from train.words.teach import TAUGHT

# Words whose average precision over pixels is measured -> the train ids whose pixels they should find.
REGIONS: dict[str, tuple[int, ...]] = {
    "car": (13, 14, 15, 16),  # vehicles
    "road": (0,),
    "sky": (10,),
    "vegetation": (8,),
    "person": (11,),
    "pole": (5,),
}
MARKS = {"synonyms": 85.0, "auroc": 0.85, "car": 0.75, "lead": 0.05}
TITLES = {"vlm": "VLM only", "fused": "MFuser"}


@dataclass(frozen=True)
class WordsConfig:
    """Measure how well free texts find things: phrases of `train/texts/evaluation_phrases.txt` on labelled photographs.

    Top-1: a phrase is right when, of all classes, the pixels labelled as its own have the highest mean similarity.
    AUROC: the highest similarity in a picture, phrases whose class is labelled there against those that are not there.
    Average precision: similarity to a class name against its label, pixel by pixel.
    """

    # Labelled photographs, [name:]ROOT[/split], labelled in the 19 classes or in the 11 common ones.
    data: str = ""
    # Folder of encoder-*.safetensors and stream-fused.safetensors; default: the preset's own.
    weights: Annotated[Path | None, tyro.conf.arg(aliases=["--checkpoint"])] = None
    # Which preset.
    preset: str = "nano"
    # Phrases by rule from WordNet, for choosing a recipe for `teach`, instead of those that test it.
    development: bool = False
    # At most so many photographs, spread over the set; 0 for all.
    limit: int = 0
    # Share of a picture's labelled pixels from which a class counts as present; with fewer it is neither.
    minimum: float = 0.001
    # Short side in pixels; 0 for the preset's.
    resolution: int = 0
    # Images per forward pass.
    batch: int = 4
    # Folder of words.json and words.md.
    out: Path = Path("runs/words")
    # auto, cpu, cuda or cuda:N.
    device: str = "auto"
    # Processes that load images; -1 chooses by cores.
    workers: int = -1

    def __post_init__(self) -> None:
        for name in ("limit", "resolution"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(self, name)}.")
        if self.batch < 1:
            raise ValueError(f"--batch must be above 0, got {self.batch}.")
        if not 0 <= self.minimum < 1:
            raise ValueError(f"--minimum must be at least 0 and below 1, got {self.minimum}.")


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(WordsConfig, args=list(argv), prog="python -m train words")
    if not config.data:
        raise ValueError("No data to look at: pass --data, for example --data camvid:PATH/val.")
    require_writable(config.out)
    report = run(config)
    text = markdown(report)
    print(text)
    write_json(config.out / "words.json", report)
    write_text(config.out / "words.md", text)


def run(config: WordsConfig) -> dict[str, Any]:
    """Measure.

    Returns:
        The content of words.json.

    Raises:
        ValueError: bad input, or labels too coarse to tell the classes apart.
    """
    preset = presets.get(config.preset)
    hardware = choose_hardware(config.device, "float32", config.workers)
    dataset = open_dataset(config.data, "val", limit=config.limit or None)
    name = dataset.kind.space
    if name not in ("cityscapes", "common"):
        raise ValueError(f"The labels of {dataset.name} are too coarse for words: choose a set with 11 or 19 classes.")
    space = SPACES[name]
    phrases = teaching_texts.development() if config.development else evaluation_phrases.load()
    segmenter = Segmenter(load_model(preset, config.weights, ("fused",)), str(hardware.device))
    texts = [p.text for p in phrases] + list(CLASSES)
    embeddings = {s: torch.from_numpy(segmenter.encode_text(texts, s)) for s in STREAMS}
    matrix = torch.from_numpy(space.matrix())
    rows = {word: len(phrases) + CLASSES.index(word) for word in REGIONS}
    regions = {word: (rows[word], matrix[:, list(ids)].any(1)) for word, ids in REGIONS.items()}
    tallies, faults = compare(
        segmenter.model, dataset, space, embeddings, regions, hardware, config.batch, config.resolution
    )
    count = len(tallies["vlm"].counts)
    if not count:
        raise ValueError(f"No picture of {dataset.name} could be read: {faults[0]}")
    report = {"preset": preset.name, "data": dataset.name, "space": name, "phrases": len(phrases)}
    report["taught"] = were_taught(weights_folder(config.weights) or files.folder_of(preset))
    report["images"] = count
    if faults:
        report["unreadable"] = faults
    report["streams"] = {}
    for stream, tally in tallies.items():
        tally.sums = [s[: len(phrases)] for s in tally.sums]
        tally.peaks = [p[: len(phrases)] for p in tally.peaks]
        report["streams"][stream] = summary(tally, phrases, space, embeddings[stream].numpy(), config.minimum)
    return report


def summary(
    tally: Tally, phrases: Sequence[Phrase], space: LabelGroups, texts: np.ndarray, minimum: float
) -> dict[str, Any]:
    """Scores of one stream.

    Args:
        tally: of the phrases.
        phrases: P of them.
        space: groups in which the labels are read.
        texts: (P + 19, C_t) unit embeddings of the phrases, then of the class names.
        minimum: share of a picture's labelled pixels from which a class counts as present.
    """
    expected = expected_groups(phrases, space)
    means, there = tally.class_means(), np.sum(tally.counts, axis=0) > 0
    guess = means.argmax(1)
    right = top1(guess, expected, there)
    nearest = (texts[: len(phrases)] @ texts[len(phrases) :].T).argmax(1)  # (P,) train ids
    in_space = top1(space.table()[nearest], expected, np.ones(len(space), bool))
    exact = top1(nearest, expected_groups(phrases, CITYSCAPES), np.ones(len(CLASSES), bool))
    return {
        "image top-1": by_kind(right, phrases),
        "text top-1": by_kind(in_space, phrases),
        "text top-1, 19 classes": by_kind(exact, phrases),
        "AUROC": {k: round(v, 4) for k, v in presence(tally, phrases, expected, minimum).items()},
        "AP": {word: round(average_precision(h), 4) for word, h in tally.histograms.items()},
        "wrong": {
            p.text: {
                "wants": "|".join(np.array(space.names)[expected[i]]),
                "image": space.names[guess[i]],
                "text": CLASSES[nearest[i]],
            }
            for i, p in enumerate(phrases)
            if right[i] == 0
        },
        "mean similarity": {
            p.text: {space.names[g]: round(float(means[i, g]), 4) for g in np.flatnonzero(there)}
            for i, p in enumerate(phrases)
        },
        "mean peak": {p.text: round(float(v), 4) for p, v in zip(phrases, np.mean(tally.peaks, axis=0), strict=True)},
    }


def were_taught(folder: Path | None) -> bool:
    """Did the phrases themselves teach the text tower of this folder (`teach --every-word`)?"""
    path = folder / ENCODERS[1] if folder else None
    return path is not None and path.is_file() and TAUGHT in files.load_metadata(path)


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a table, and the phrases that find something else."""
    streams = report["streams"]
    lines = [
        f"{report['phrases']} phrases on {report['images']} images of {report['data']}, in {report['space']} classes"
    ]
    if report.get("taught"):
        lines += ["", "These phrases taught the text tower (`teach --every-word`): this is no score of unseen words."]
    lines += ["", f"| | {' | '.join(TITLES[s] for s in streams)} | mark |", f"|---|{'---|' * (len(streams) + 1)}"]

    def row(title: str, values: Sequence[float], form: str, mark: str = "") -> None:
        cells = ("-" if np.isnan(v) else format(v, form) for v in values)
        lines.append(f"| {title} | {' | '.join(cells)} | {mark} |")

    for part in ("image top-1", "text top-1", "text top-1, 19 classes"):
        for kind, (_, count) in next(iter(streams.values()))[part].items():
            mark = f">= {MARKS['synonyms']:g}" if (part, kind) == ("image top-1", "synonym") else ""
            row(f"{part}, {kind} ({count}), %", [s[part][kind][0] for s in streams.values()], ".1f", mark)
    for name in next(iter(streams.values()))["AUROC"]:
        mark = f">= {MARKS['auroc']:g}" if name == "all" else ""
        row(f"AUROC, absent: {name}", [s["AUROC"][name] for s in streams.values()], ".3f", mark)
    for word in REGIONS:
        mark = f">= {MARKS['car']:g}, and {MARKS['lead']:g} above VLM only" if word == "car" else ""
        row(f"AP of {word}", [s["AP"][word] for s in streams.values()], ".3f", mark)
    for stream, scored in streams.items():
        found = (f"{text} ({w['wants']}): {w['image']}" for text, w in scored["wrong"].items())
        lines += ["", f"{TITLES[stream]} finds something else for: " + "; ".join(found)]
    return "\n".join(lines)
