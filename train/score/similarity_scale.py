"""`python -m train similarity-scale`: from which similarity on is something there? One scale for each stream.

Texts: what no street has (`train/texts/absent.txt`, objects of `phrases.txt`) against what is labelled in a picture.
Points: patches of different classes against patches of the same class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from tqdm import tqdm

from mfuser.cityscapes import IGNORE
from mfuser.inference.encoded import encode
from mfuser.inference.segmenter import Segmenter
from mfuser.inference.windows import working_size
from mfuser.stage import scales
from mfuser.writing import write_json
from train.data import LabelGroups, SegmentationData, open_dataset
from train.data.registry import SPLITS, parse
from train.runtime.hardware import choose_hardware
from train.runtime.markdown import table
from train.runtime.model_options import ModelOptions
from train.score.similarity_words import Words, read_words
from train.words.similarity_maps import STREAMS, patch_weights

ABSENT_MARK, PRESENT_MARK = 5.0, 80.0  # per cent of pairs of picture and phrase that show anything
GAIN = 1.0  # per cent of present pairs by which subtracting background words must be better than the plain cosine
PATCHES = 300  # of a picture, whose pairs are compared
WORST = 6  # phrases that are listed by name
PURE = 0.9  # share of a patch that one class must cover


@dataclass(frozen=True)
class SimilarityScaleConfig(ModelOptions):
    """Measure the scale on which the page paints similarity, and write it beside the weights."""

    # Labelled photographs on which the scale is chosen, [name:]ROOT[/split].
    data: str = ""
    # Further labelled sets, which choose nothing.
    report: tuple[str, ...] = ()
    # At most so many photographs of each set, spread over it; 0 for all.
    limit: int = 60
    # Short side in pixels; 0 for the preset's.
    resolution: int = 0
    # Share of a picture's pixels from which a class counts as present.
    minimum: float = 0.01
    # File to write; default: similarity.json in the folder of the weights.
    out: Path | None = None


@dataclass
class Measured:
    """Of N pictures and T texts.

    Attributes:
        shares: share of each label group in each picture, N times (G,) in 0..1.
        peaks: stream -> score -> highest value of any patch, N times (T,).
        pairs: stream -> cosines of patches of the same class and of different classes, N times (n,) each.
    """

    shares: list[np.ndarray] = field(default_factory=list)
    peaks: dict[str, dict[str, list[np.ndarray]]] = field(default_factory=dict)
    pairs: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = field(default_factory=dict)


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(SimilarityScaleConfig, args=list(argv), prog="python -m train similarity-scale")
    if not config.data:
        raise ValueError("No data to choose the scale on: pass --data, for example --data camvid:PATH/train.")
    if not 0 < config.minimum < 1:
        raise ValueError(f"--minimum must be above 0 and below 1, got {config.minimum}.")
    config.require_at_least(0, "limit", "resolution")
    folder = config.folder()
    if config.out is None and folder is None:
        raise ValueError("These weights have no folder: pass --out, the file to write.")
    hardware = choose_hardware(config.device, "float32", 0)
    sets = [open_dataset(spec, "val", limit=config.limit or None) for spec in (config.data, *config.report)]
    segmenter = Segmenter(config.load(("fused",), hardware), str(hardware.device))
    words = read_words()
    measured = [(s, measure(segmenter, s, words.texts, config.resolution)) for s in sets]
    chosen = choose(*measured[0], words, config.minimum)
    rows = shown(measured, words, chosen, config.minimum)
    content = {
        "command": command(config),
        "preset": config.preset,
        "photographs": {s.name: len(s) for s in sets},
        "resolution": config.resolution or segmenter.preset.resolution,
        **chosen,
        "shown": rows,
        "failures": failures(*measured[0], words, chosen, config.minimum),
    }
    write_json(config.out or folder / scales.FILE, content)
    print(table(rows))


def command(config: SimilarityScaleConfig) -> str:
    """The command, with the folders of the data by their last names."""

    def short(spec: str) -> str:
        kind, root = parse(spec)
        return f"{kind.name}:" + "/".join(root.parts[-2:] if root.name in SPLITS else root.parts[-1:])

    report = ["--report", *map(short, config.report)] if config.report else []
    words = ["--preset", config.preset, "--data", short(config.data), *report, "--limit", str(config.limit)]
    return " ".join(["python -m train similarity-scale", *words])


@torch.inference_mode()
def measure(segmenter: Segmenter, dataset: SegmentationData, texts: Sequence[str], resolution: int = 0) -> Measured:
    """Look at every picture once.

    Args:
        segmenter: the model.
        dataset: labelled photographs.
        texts: T texts.
        resolution: short side in pixels; 0 for the preset's.
    """
    found = Measured()
    embedded = {s: segmenter.encode_text(texts, s) for s in STREAMS}
    generic = {s: segmenter.encode_text(scales.BACKGROUND, s) for s in STREAMS}
    for index in tqdm(range(len(dataset)), desc=dataset.name, unit="img", leave=False, mininterval=1):
        picture, label = dataset[index]
        size = working_size(picture.shape[:2], segmenter.preset, resolution or None)
        *_, (_, encoded) = encode(segmenter.model, segmenter.to_pixels(picture, size))
        for stream, dense in encoded.dense.items():
            patches = dense.reshape(-1, dense.shape[-1]).astype(np.float32)
            for score, values in text_scores(patches, embedded[stream], generic[stream]).items():
                found.peaks.setdefault(stream, {}).setdefault(score, []).append(values.max(0))
        counts = np.bincount(label[label != IGNORE], minlength=len(dataset.groups))
        found.shares.append(counts / label.size)
        places, labels = pure_patches(label, next(iter(encoded.tokens.values())).shape[:2], len(dataset.groups), index)
        for stream, tokens in encoded.tokens.items():
            of = found.pairs.setdefault(stream, ([], []))
            for part, cosines in zip(of, pair_cosines(tokens, places, labels), strict=True):
                part.append(cosines)
    return found


def text_scores(patches: np.ndarray, texts: np.ndarray, generic: np.ndarray) -> dict[str, np.ndarray]:
    """Every score of `scales.SCORES`.

    Args:
        patches: (N, C_t) unit embeddings.
        texts: (T, C_t) unit embeddings.
        generic: (B, C_t) unit embeddings of the background words.

    Returns:
        score -> (N, T).
    """
    cosines, found = patches @ texts.T, {}
    for score in scales.SCORES:
        vectors = scales.background_vectors(generic, score)
        found[score] = cosines - (patches @ vectors.T).max(1, keepdims=True) if len(vectors) else cosines
    return found


def pure_patches(label: np.ndarray, grid: tuple[int, int], groups: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches that one class covers.

    Args:
        label: (H, W) uint8 group indices, 255 unlabelled.
        grid: (h, w) patches.
        groups: number of label groups.
        seed: of the choice, where there are more than `PATCHES`.

    Returns:
        Indices of at most `PATCHES` patches, (n,), and their groups, (n,).
    """
    weights, _ = patch_weights(torch.from_numpy(label), grid, groups)  # (G, h, w), in pixels
    shares = weights.flatten(1).numpy() / (label.size / (grid[0] * grid[1]))
    places = np.flatnonzero(shares.max(0) >= PURE)
    places = np.random.default_rng(seed).permutation(places)[:PATCHES]
    return places, shares.argmax(0)[places]


def pair_cosines(tokens: np.ndarray, places: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all pairs of patches, of the same class and of different ones; arguments as of `pure_patches`."""
    rows = tokens.reshape(-1, tokens.shape[-1])[places].astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-8)
    one, other = np.triu_indices(len(rows), 1)
    cosines, same = (rows @ rows.T)[one, other], labels[one] == labels[other]
    return cosines[same], cosines[~same]


def split_peaks(
    peaks: Sequence[np.ndarray],
    measured: Measured,
    groups: LabelGroups,
    words: Words,
    minimum: float,
    chosen: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Peaks of present and of absent phrases.

    Args:
        peaks: of one stream and score, N times (T,).
        measured: that has them.
        groups: of the labels.
        words: the phrases.
        minimum: share of a picture from which a group counts as present.
        chosen: (T,) bool, phrases that count; None for all.

    Returns:
        The peaks of all pairs of a picture and a present phrase, and of all pairs of a picture and an absent phrase.
    """
    counts = np.ones(len(words.texts), bool) if chosen is None else chosen
    values, present = np.stack(peaks), (np.stack(measured.shares) >= minimum) @ words.wanted(groups).T  # (N, T)
    return values[present & counts], values[:, words.absent & counts].ravel()


def threshold(present: np.ndarray, absent: np.ndarray) -> float:
    """Middle of the values that meet both marks; where none does, the lowest that meets the mark of absent phrases."""
    lowest, highest = np.percentile(absent, 100 - ABSENT_MARK), np.percentile(present, 100 - PRESENT_MARK)
    return float((lowest + highest) / 2 if highest > lowest else lowest)


def choose(dataset: SegmentationData, measured: Measured, words: Words, minimum: float) -> dict[str, Any]:
    """Choose scores and ranges.

    Args:
        dataset: whose labels they are.
        measured: on it.
        words: the phrases.
        minimum: as of `split_peaks`.

    Returns:
        "text" and "point" as `mfuser.stage.scales` reads them, each with the figures that decided.

    Raises:
        ValueError: no phrase is present, or no patch has a class.
    """
    text, point = {}, {}
    for stream, by_score in measured.peaks.items():
        compared, ranges = {}, {}
        for score, peaks in by_score.items():
            present, absent = split_peaks(peaks, measured, dataset.groups, words, minimum)
            if not len(present):
                raise ValueError(f"No phrase names anything labelled in {dataset.name}: choose other photographs.")
            compared[score] = percent(present > np.percentile(absent, 100 - ABSENT_MARK))
            ranges[score] = _range(threshold(present, absent), np.percentile(present, 75))
        best = max(compared, key=lambda score: compared[score] - GAIN * (score != "cosine"))
        text[stream] = {"score": best, "range": ranges[best], f"present % at {ABSENT_MARK:g} % absent": compared}
    for stream, parts in measured.pairs.items():
        same, different = map(np.concatenate, parts)
        if not len(same) or not len(different):
            raise ValueError(f"Too few patches of {dataset.name} are of one class: choose other photographs.")
        bounds = _range(np.percentile(different, 95), np.percentile(same, 95))
        point[stream] = {"range": bounds, "same class above %": percent(same > bounds[0])}
    return {"text": text, "point": point}


def shown(
    sets: Sequence[tuple[SegmentationData, Measured]], words: Words, chosen: Mapping[str, Any], minimum: float
) -> list[dict[str, Any]]:
    """Per cent of pairs of picture and phrase that show anything.

    Args:
        sets: labelled photographs and what was measured on them; the scale was chosen on the first.
        words: the phrases.
        chosen: as of `choose`.
        minimum: as of `split_peaks`.

    Returns:
        Two rows for each set and stream. "all": at the chosen threshold. "left out": each half of the phrases at the
        threshold that the other half would have chosen, so that no phrase is judged by itself.
    """
    rows = []
    for dataset, measured in sets:
        for stream, scale in chosen["text"].items():
            peaks = [m.peaks[stream][scale["score"]] for m in (measured, sets[0][1])]
            judged = {"all": [(None, scale["range"][0])], "left out": []}
            for half in (words.half, ~words.half):
                first = split_peaks(peaks[1], sets[0][1], sets[0][0].groups, words, minimum, ~half)
                judged["left out"].append((half, threshold(*first)))
            for name, parts in judged.items():
                row: dict[str, Any] = {"set": dataset.name, "stream": stream, "phrases": name}
                split = [(split_peaks(peaks[0], measured, dataset.groups, words, minimum, h), low) for h, low in parts]
                for i, kind in enumerate(("present", "absent")):
                    above = np.concatenate([pair[i] > low for pair, low in split])
                    row |= {f"{kind} pairs": len(above), f"{kind} shown %": percent(above) if len(above) else None}
                rows.append(row)
    return rows


def failures(
    dataset: SegmentationData, measured: Measured, words: Words, chosen: Mapping[str, Any], minimum: float
) -> dict[str, dict[str, dict[str, float]]]:
    """The `WORST` phrases of each kind: stream -> kind -> phrase -> per cent of the pictures in which it shows."""
    present = (np.stack(measured.shares) >= minimum) @ words.wanted(dataset.groups).T  # (N, T)
    found = {}
    for stream, scale in chosen["text"].items():
        above = np.stack(measured.peaks[stream][scale["score"]]) > scale["range"][0]
        there = {i: percent(above[present[:, i], i]) for i in np.flatnonzero(present.any(0))}
        absent = {i: percent(above[:, i]) for i in np.flatnonzero(words.absent)}
        ends = {"present": sorted(there, key=there.get), "absent": sorted(absent, key=absent.get, reverse=True)}
        rates = there | absent
        found[stream] = {kind: {words.texts[i]: rates[i] for i in ids[:WORST]} for kind, ids in ends.items()}
    return found


def percent(mask: np.ndarray) -> float:
    """Share of true values in per cent."""
    return round(100 * float(np.mean(mask)), 1)


def _range(low: float, high: float) -> list[float]:
    return [round(float(low), 4), round(max(float(high), float(low) + 0.05), 4)]
