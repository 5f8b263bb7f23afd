"""`python -m train teach`: a trained model's text tower learns more words; its class names stay where they are.

Every decoder was trained against the tower's class embeddings with its own learned prompts, so these may not move.
Around them the tower learns, with and without the prompts of the fused stream,

* which class a street phrase or a noun of WordNet names, or that it names nothing of a street: cross-entropy over the
  cosines with the class names and a threshold, and over those with the mean patch of each labelled group;
* general English from a sentence encoder: its embeddings, without prompts, and with and without them the chance of each
  class that a linear probe of these embeddings gives, so that words of neither list find their place;
* to answer with the prompts of the fused stream as without them.

What the class embeddings have moved in the end is undone in the tower's last matrix, after the others were rounded to
what their file keeps.
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

from mfuser import presets
from mfuser.cityscapes import CLASSES, IGNORE
from mfuser.encoders.base import VisionLanguageEncoder
from mfuser.loading import MFuser
from mfuser.weights import compact, files, tensors
from train.data import LabelGroups, SegmentationData, open_dataset
from train.runtime.files import copy_whole, require_writable
from train.runtime.hardware import Hardware, choose_hardware
from train.runtime.training_steps import RunConfig, run
from train.runtime.weights import ENCODERS, copy_encoders, load_model, weights_folder
from train.texts import phrases, wordnet
from train.texts.sentence_encoder import trim
from train.words.general_english import General, general_texts
from train.words.similarity_maps import STREAMS, compare
from train.words.teaching_texts import NOTHING, Sampler

TAUGHT = "phrases_taught"  # metadata of a text tower that the evaluation's phrases taught
TEMPERATURE, THRESHOLD = 0.05, 0.4  # of the cross-entropies; below the threshold of cosines a text names nothing
# Weights of what must not move, of the sentence encoder's embeddings and chances, and of the streams' agreement.
KEEP, MATCH, CHANCES, AGREE = 50.0, 2.0, 1.0, 1.0
RESTORED = 1e-3  # singular values of the class names below this share of the largest are not restored
LENGTH = 16  # tokens of a text while training


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
    lr: float = 1e-4
    # Texts of general English that the sentence encoder embeds; 0 for none.
    general: int = 200_000
    # Also teach texts that hold a phrase of the test, or are of the development ones: for weights to use, not to score.
    every_word: bool = False
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
    folder = weights_folder(config.weights) or files.folder_of(preset)
    if preset.vlm.source is not None or folder is None:
        raise ValueError(f"The text tower of preset {preset.name!r} is a public one, which is not trained here.")
    if config.out.resolve() == folder.resolve():
        raise ValueError(f"{folder} holds the weights to start from: choose another --out.")
    wordnet.folder()  # say at once that it is missing
    require_writable(config.out)
    model = load_model(preset, folder, preset.streams).to(hardware.device)
    dataset = open_dataset(config.data, "train", limit=config.limit or None)
    means = group_means(model, dataset, hardware)
    warmup = max(1, min(100, config.iterations // 5))
    settings = RunConfig(config.iterations, config.batch, config.lr, warmup=warmup, weight_decay=0.0, seed=config.seed)
    settings = replace(settings, device=str(hardware.device), state=config.out / "teach.state.pt")
    sampler = Sampler(config.every_word)
    general = general_texts(config.general, config.out, str(hardware.device), sampler)
    moved = teach(model, dataset.groups, means, general, settings, sampler)
    copy_encoders(folder, config.out)
    for path in folder.glob("stream-*.safetensors"):
        copy_whole(path, config.out / path.name)
    _, metadata = tensors.load(folder / ENCODERS[1])
    metadata |= {"words": str(config.iterations), "seed": str(config.seed)}
    metadata |= {TAUGHT: "yes"} if config.every_word else {}
    tensors.save(config.out / ENCODERS[1], model.vlm.state_dict(), metadata, half=True, bits=bits_to_store(model.vlm))
    settings.state.unlink(missing_ok=True)
    print(f"{config.out / ENCODERS[1]} written; class embeddings moved by {100 * moved:.2f} % of their length at most")


def group_means(model: MFuser, dataset: SegmentationData, hardware: Hardware) -> dict[str, Tensor]:
    """Mean unit embedding of the patches of each label group.

    Args:
        model: with a text space.
        dataset: labelled photographs.
        hardware: where it runs.

    Returns:
        Stream -> (G, C_t). A text's product with it is the mean similarity over the group's pixels.
    """
    axes = {stream: torch.eye(model.vlm.embed_dim) for stream in STREAMS}
    tallies, _ = compare(model, dataset, dataset.groups, axes, {}, hardware)
    means = {stream: torch.from_numpy(tally.class_means().T.copy()).float() for stream, tally in tallies.items()}
    return {stream: m.masked_fill(m.isinf(), 0).to(hardware.device) for stream, m in means.items()}


def teach(
    model: MFuser,
    groups: LabelGroups,
    means: dict[str, Tensor],
    general: General | None,
    config: RunConfig,
    sampler: Sampler,
) -> float:
    """Train the text tower in place.

    Args:
        model: whose tower is trained.
        groups: label groups of the photographs.
        means: stream -> (G, C_t), the mean patches of these groups.
        general: unlabelled English, or None.
        config: settings.
        sampler: texts with classes.

    Returns:
        How far a class embedding moved at most, as a share of its length.
    """
    vlm, tower, device = model.vlm, model.vlm.text, torch.device(config.device)
    contexts: dict[str, Tensor | None] = {"vlm": None, "fused": model.heads["fused"].prompts.detach()}
    held = [h.prompts.detach() for h in model.heads.values()]  # what decoders read; the plain names may move
    length = min(LENGTH, tower.positions - max(p.shape[1] for p in held))
    names = trim(vlm.tokenize([*CLASSES], length)).to(device)
    with torch.no_grad():
        before = [tower(names, prompts) for prompts in held]
        other = vlm.tokenize(phrases.imagenet_names(), length).to(device)
        stay = F.normalize(tower(other), dim=-1)  # what the patches were aligned with
        anchors = {stream: F.normalize(tower(names, prompts), dim=-1) for stream, prompts in contexts.items()}
    # A name's mean similarity to its own pixels is far below 1: half of it parts something from nothing there.
    thresholds = {s: float((anchors[s][list(groups.representatives)] * means[s]).sum(-1).mean()) / 2 for s in means}
    member = torch.from_numpy(groups.table()[: len(CLASSES)].copy()).long().to(device)  # class -> group, or 255
    apt = {s: apt_names(anchors[s], means[s], member) for s in means}
    if general is not None:
        parts = [general.texts[i : i + 4096] for i in range(0, len(general.texts), 4096)]
        ids = torch.cat([vlm.tokenize(part, length) for part in parts]).to(device)
        targets, chances = general.embeddings.to(device), general.chances.to(device)

    def step(i: int, generator: torch.Generator) -> dict[str, Tensor]:
        samples = sampler(config.batch, random.Random(config.seed * 1_000_003 + i))
        tokens = vlm.tokenize([t for t, _ in samples], length).to(device)
        labels = torch.tensor([label for _, label in samples], device=device)
        if general is not None:
            pick = torch.randint(len(ids), (max(1, config.batch // 2),), generator=generator, device=device)
            tokens = torch.cat([tokens, ids[pick]])
        tokens, losses, answers = trim(tokens), {}, {}
        grouped = torch.where(labels == NOTHING, len(groups), F.pad(member, (0, 1), value=IGNORE)[labels])
        for stream, prompts in contexts.items():
            every = F.normalize(tower(tokens, prompts), dim=-1)
            labelled, free = every[: len(labels)], every[len(labels) :]
            answers[stream] = threshold_logits(every @ anchors[stream].T, THRESHOLD).log_softmax(-1)
            named = labels.masked_fill(~apt[stream][labels], IGNORE)
            losses[f"{stream} names"] = F.nll_loss(answers[stream][: len(labels)], named, ignore_index=IGNORE)
            logits = threshold_logits(labelled @ means[stream].T, thresholds[stream])
            losses[f"{stream} patches"] = F.cross_entropy(logits, grouped, ignore_index=IGNORE)
            if general is not None:
                guessed = (chances[pick] * answers[stream][len(labels) :]).sum(-1).mean()
                losses[f"{stream} chances"] = -CHANCES * guessed
            if general is not None and prompts is None:
                losses["match"] = MATCH * (1 - (free * targets[pick]).sum(-1).mean())
        agreed = (answers["vlm"].detach().exp() * answers["fused"]).sum(-1).mean()
        losses["agree"] = -AGREE * agreed
        after = [tower(names, prompts) for prompts in held]
        drift = torch.stack([(a - b).square().sum(-1) / b.square().sum(-1) for a, b in zip(after, before, strict=True)])
        losses["keep"] = KEEP * drift.mean()
        pick = torch.randint(len(other), (max(1, config.batch // 4),), generator=generator, device=device)
        losses["stay"] = 1 - (F.normalize(tower(trim(other[pick])), dim=-1) * stay[pick]).sum(-1).mean()
        return losses

    tower.train().requires_grad_(True)
    tower.table.requires_grad_(False)  # words that no text holds stay where the sentence encoder had them
    run({"text": tower}, step, config)
    tower.eval().requires_grad_(False)
    with torch.no_grad():
        round_as_stored(vlm)
        restore(tower.projection, torch.cat([tower(names, p) for p in held]), torch.cat(before))
        tower.projection.copy_(tower.projection.half())
        moved = [(tower(names, p) - b).norm(dim=-1) / b.norm(dim=-1) for p, b in zip(held, before, strict=True)]
    return float(torch.stack(moved).max())


@torch.no_grad()
def round_as_stored(vlm: VisionLanguageEncoder) -> None:
    """Round the text tower in place to what its file keeps."""
    bits = {name: count for name, count in vlm.stored_bits().items() if name.startswith("text.")}
    for name, tensor in vlm.state_dict().items():
        if name.startswith("text.") and name not in bits:
            tensor.copy_(tensor.half())
    vlm.load_state_dict(compact.rounded(vlm.state_dict(), bits), strict=False)


def bits_to_store(vlm: VisionLanguageEncoder) -> dict[str, int]:
    """`stored_bits` of the text tower, and of what of the vision tower was in so few bits before: others would move."""
    state, bits = vlm.state_dict(), vlm.stored_bits()
    kept = compact.rounded(state, bits)
    same = {name for name in bits if torch.equal(kept[name].to(state[name].device), state[name])}
    return {name: count for name, count in bits.items() if name in same or name.startswith("text.")}


def apt_names(names: Tensor, means: Tensor, member: Tensor) -> Tensor:
    """Which class names find the pixels of their own group, and "nothing", which always does.

    A class that the labelled photographs hardly show, such as "train", can have a name that finds other pixels. Words
    must not follow it there: the pixels alone say what those mean.

    Args:
        names: (K, C_t) unit.
        means: (G, C_t).
        member: (K,) the group of each class, or 255.

    Returns:
        (K + 1,) bool.
    """
    return F.pad((names @ means.T).argmax(1) == member, (0, 1), value=True)


def restore(projection: Tensor, found: Tensor, expected: Tensor) -> None:
    """Change the tower's last matrix in place, as little as possible, so that it gives `expected` again.

    Of more texts than `width`, the least squares. Directions in which they hardly differ are left alone: there a small
    correction would turn all other texts.

    Args:
        projection: (width, C_t).
        found: (n, C_t) embeddings that it gives of some texts.
        expected: (n, C_t) embeddings of the same texts, almost equal.
    """
    p, found, expected = projection.double(), found.double(), expected.double()
    hidden = found @ torch.linalg.pinv(p)  # (n, width) what enters the matrix
    projection.add_((torch.linalg.pinv(hidden, rtol=RESTORED) @ (expected - found)).to(projection.dtype))


def threshold_logits(cosines: Tensor, threshold: float) -> Tensor:
    """Logits (N, K + 1) of cosines (N, K) and a threshold, which stands for class K."""
    return F.pad(cosines, (0, 1), value=threshold) / TEMPERATURE
