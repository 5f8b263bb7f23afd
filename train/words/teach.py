"""`python -m train teach`: a trained model's text tower learns more words; its class names stay where they are.

Everything that sees pictures was trained against the tower's class embeddings, so these may not move: neither those of
the plain names, nor those with each stream's learned prompts. Around them the tower learns, with and without the
prompts of the fused stream,

* which class a street phrase or a noun of WordNet names, or that it names nothing of a street: cross-entropy over the
  cosines with the class names and a threshold, and over those with the mean patch of each labelled group;
* general English from a sentence encoder, without prompts, so that words of neither list find their place.

What the class embeddings have moved in the end is undone in the tower's last matrix.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from mfuser import checkpoint, presets
from mfuser.cityscapes import CLASSES, IGNORE
from mfuser.model import MFuser
from train.config import Hardware, choose_hardware
from train.data import LabelGroups, SegmentationData, open_dataset
from train.pretrain import phrases, text
from train.pretrain.runner import RunConfig, run
from train.state import require_writable
from train.weights import ENCODERS, copy_encoders, load_model, weights_folder
from train.words import probe, wordnet
from train.words.measure import STREAMS, look

CACHE = "words-teacher.safetensors"
TEMPERATURE, THRESHOLD = 0.05, 0.4  # of the cross-entropies; below the threshold of cosines a text names nothing
NOTHING = len(CLASSES)  # label of texts that name nothing of a street
SHARE = 0.4  # of such texts in a batch
KEEP, MATCH = 50.0, 2.0  # weights of what must not move and of the sentence encoder
RESTORED = 1e-3  # singular values of the class names below this share of the largest are not restored
LENGTH = 16  # tokens of a text while training
TEMPLATES = (*("{}",) * 6, "a {}", "the {}", *phrases._TEMPLATES)
Sample = tuple[str, int]


@dataclass(frozen=True)
class TeachConfig:
    """Teach the text tower of trained weights more words, without moving its class embeddings."""

    # Labelled photographs, [name:]ROOT[/split]; the training set.
    data: str = ""
    # Folder of encoder-*.safetensors and stream-*.safetensors; default: the preset's own.
    weights: Annotated[Path | None, tyro.conf.arg(aliases=["--checkpoint"])] = None
    # Which preset.
    preset: str = "nano"
    # Folder of the new encoder-vlm.safetensors, beside copies of the other weights.
    out: Path = Path("runs/nano-words")
    # Optimizer steps.
    iterations: int = 1500
    # Texts of each kind per step.
    batch: int = 256
    # Learning rate.
    lr: float = 5e-4
    # Texts of general English that the sentence encoder embeds; 0 for none.
    general: int = 200_000
    # At most so many photographs, spread over the set; 0 for all.
    limit: int = 0
    # auto, cpu, cuda or cuda:N.
    device: str = "auto"
    # Of texts and their order.
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("general", "limit", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(self, name)}.")


def main(argv: Sequence[str]) -> None:
    """Command line; raises ValueError or OSError with one sentence for bad input."""
    config = tyro.cli(TeachConfig, args=list(argv), prog="python -m train teach")
    if not config.data:
        raise ValueError("No photographs: pass --data, for example --data camvid:PATH/train.")
    preset, hardware = presets.get(config.preset), choose_hardware(config.device, "float32", -1)
    folder = weights_folder(config.weights) or presets.folder_of(preset)
    if preset.vlm.source is not None or folder is None:
        raise ValueError(f"The text tower of preset {preset.name!r} is a public one, which is not trained here.")
    if config.out.resolve() == folder.resolve():
        raise ValueError(f"{folder} holds the weights to start from: choose another --out.")
    wordnet.folder()  # say at once that it is missing
    require_writable(config.out)
    model = load_model(preset, folder, preset.streams).to(hardware.device)
    dataset = open_dataset(config.data, "train", limit=config.limit or None)
    means = group_means(model, dataset, hardware)
    settings = RunConfig(config.iterations, config.batch, config.lr, warmup=100, weight_decay=0.0, seed=config.seed)
    settings = replace(settings, device=str(hardware.device), state=config.out / "teach.state.pt")
    general = general_texts(config.general, config.out, str(hardware.device))
    moved = teach(model, dataset.groups, means, general, settings)
    copy_encoders(folder, config.out)
    for path in folder.glob("stream-*.safetensors"):
        (config.out / path.name).write_bytes(path.read_bytes())
    _, metadata = checkpoint.load(folder / ENCODERS[1])
    said = {**metadata, "words": str(config.iterations), "seed": str(config.seed)}
    checkpoint.save(config.out / ENCODERS[1], model.vlm.state_dict(), said, half=True)
    settings.state.unlink(missing_ok=True)
    print(f"{config.out / ENCODERS[1]} written; class embeddings moved by {100 * moved:.2f} % of their length at most")


def group_means(model: MFuser, dataset: SegmentationData, hardware: Hardware) -> dict[str, Tensor]:
    """Mean unit embedding of the patches of each label group, stream -> (G, C_t): a text's product with it is the mean
    similarity over the group's pixels."""
    axes = {stream: torch.eye(model.vlm.embed_dim) for stream in STREAMS}
    tallies, _ = look(model, dataset, dataset.groups, axes, {}, hardware)
    means = {stream: torch.from_numpy(tally.class_means().T.copy()).float() for stream, tally in tallies.items()}
    return {stream: m.masked_fill(m.isinf(), 0).to(hardware.device) for stream, m in means.items()}


def general_texts(count: int, cache: Path, device: str) -> tuple[list[str], Tensor] | None:
    """A seeded choice of WordNet's texts without the test's, and their unit sentence embeddings (n, 384)."""
    if not count:
        return None
    held_out = probe.held_out()
    found = [t for t in wordnet.texts() if probe.normalise(t) not in held_out]
    found = random.Random(0).sample(found, min(count, len(found)))
    return found, text.teacher_embeddings(found, cache / CACHE, device)


def teach(
    model: MFuser,
    groups: LabelGroups,
    means: dict[str, Tensor],
    general: tuple[list[str], Tensor] | None,
    config: RunConfig,
) -> float:
    """Train the tower in place. Returns how far a class embedding moved at most, as a share of its length.

    groups: label groups whose mean patches are `means` (stream -> (G, C_t)). general: texts and their embeddings.
    """
    vlm, tower, device = model.vlm, model.vlm.text, torch.device(config.device)
    contexts: dict[str, Tensor | None] = {"vlm": None}
    contexts["fused"] = model.heads["fused"].prompts.detach()
    held = [*contexts.values(), *(h.prompts.detach() for s, h in model.heads.items() if s != "fused")]
    length = min(LENGTH, tower.positions - max(p.shape[1] for p in held if p is not None))
    names = trim(vlm.tokenize([*CLASSES], length)).to(device)
    with torch.no_grad():
        before = [tower(names, prompts) for prompts in held]
        other = vlm.tokenize(phrases.imagenet_names(), length).to(device)
        stay = F.normalize(tower(other), dim=-1)  # what the patches were aligned with
    anchors = {stream: F.normalize(before[i], dim=-1) for i, stream in enumerate(contexts)}
    # A name's mean similarity to its own pixels is far below 1: half of it parts something from nothing there.
    thresholds = {s: float((anchors[s][list(groups.representatives)] * means[s]).sum(-1).mean()) / 2 for s in means}
    member = torch.from_numpy(groups.table()[: len(CLASSES)].copy()).long().to(device)  # class -> group, or 255
    ids = None
    if general is not None:
        ids = torch.cat([vlm.tokenize(general[0][i : i + 4096], length) for i in range(0, len(general[0]), 4096)])
        ids, targets = ids.to(device), general[1].to(device)
    draw = Sampler()

    def step(i: int, generator: torch.Generator) -> dict[str, Tensor]:
        samples = draw(config.batch, random.Random(config.seed * 1_000_003 + i))
        tokens = trim(vlm.tokenize([t for t, _ in samples], length)).to(device)
        labels = torch.tensor([label for _, label in samples], device=device)
        losses: dict[str, Tensor] = {}
        grouped = torch.where(labels == NOTHING, len(groups), F.pad(member, (0, 1), value=IGNORE)[labels])
        for stream, prompts in contexts.items():
            found = F.normalize(tower(tokens, prompts), dim=-1)
            losses[f"{stream} names"] = with_threshold(found @ anchors[stream].T, labels, THRESHOLD)
            losses[f"{stream} patches"] = with_threshold(found @ means[stream].T, grouped, thresholds[stream])
        after = [tower(names, prompts) for prompts in held]
        drift = torch.stack([(a - b).square().sum(-1) / b.square().sum(-1) for a, b in zip(after, before, strict=True)])
        losses["keep"] = KEEP * drift.mean()
        pick = torch.randint(len(other), (config.batch // 4,), generator=generator, device=device)
        losses["stay"] = 1 - (F.normalize(tower(trim(other[pick])), dim=-1) * stay[pick]).sum(-1).mean()
        if ids is not None:
            pick = torch.randint(len(ids), (config.batch,), generator=generator, device=device)
            losses["match"] = MATCH * (1 - (F.normalize(tower(trim(ids[pick])), dim=-1) * targets[pick]).sum(-1).mean())
        return losses

    tower.train().requires_grad_(True)
    run({"text": tower}, step, config)
    tower.eval().requires_grad_(False)
    with torch.no_grad():
        restore(tower.tower.text_projection, torch.cat([tower(names, p) for p in held]), torch.cat(before))
        moved = [(tower(names, p) - b).norm(dim=-1) / b.norm(dim=-1) for p, b in zip(held, before, strict=True)]
    return float(torch.stack(moved).max())


def restore(projection: Tensor, found: Tensor, wanted: Tensor) -> None:
    """Change the tower's last matrix in place, as little as possible, so that it gives `wanted` where it gave `found`.

    projection: (width, C_t). found, wanted: (n, C_t) embeddings of the same texts, n below `width`; almost equal.
    Of more texts, the least squares. Directions in which they hardly differ are left alone: there a small correction
    would turn all other texts.
    """
    p, found, wanted = projection.double(), found.double(), wanted.double()
    hidden = found @ torch.linalg.pinv(p)  # (n, width) what enters the matrix
    projection.add_((torch.linalg.pinv(hidden, rtol=RESTORED) @ (wanted - found)).to(projection.dtype))


def with_threshold(cosines: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Cross-entropy over cosines (N, K) and a threshold, which stands for label K; label 255 is left out."""
    logits = F.pad(cosines, (0, 1), value=threshold) / TEMPERATURE
    return F.cross_entropy(logits, labels, ignore_index=IGNORE)


def trim(ids: Tensor) -> Tensor:
    """Token ids (N, T) without the columns that are padding in every row; the tower is causal, so nothing changes."""
    return ids[:, : int((ids != 0).sum(1).max())]


class Sampler:
    """Draws texts with the class that they name, or `NOTHING`; never a phrase of the test."""

    def __init__(self) -> None:
        nouns, self.held_out = wordnet.nouns(), probe.held_out()
        self.street = [list(phrases.CLASS_PHRASES[name]) for name in CLASSES]
        self.nouns = [list(nouns[name]) for name in CLASSES]
        self.rest = list(nouns[wordnet.NOTHING])

    def __call__(self, count: int, rng: random.Random) -> list[Sample]:
        found: list[Sample] = []
        while len(found) < count:
            sample = self._draw(rng)
            if probe.normalise(sample[0]) not in self.held_out:
                found.append(sample)
        return found

    def _draw(self, rng: random.Random) -> Sample:
        if rng.random() < SHARE:
            return dress(rng.choice(self.rest), rng), NOTHING
        label = rng.randrange(len(CLASSES))
        known = rng.random() < 0.5 or not self.nouns[label]
        return dress(rng.choice((self.street if known else self.nouns)[label]), rng), label


def dress(noun: str, rng: random.Random) -> str:
    """A noun as it is, or in the plural, behind an adjective, in a template."""
    if rng.random() < 0.25:
        noun = plural(noun)
    if rng.random() < 0.25:
        noun = f"{rng.choice(phrases._ADJECTIVES)} {noun}"
    return rng.choice(TEMPLATES).format(noun)


def plural(noun: str) -> str:
    """The regular plural of an English noun; of one that ends in "s", the noun itself."""
    if noun.endswith("s"):
        return noun
    if noun.endswith(("x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return noun[:-1] + "ies"
    return noun + "s"
