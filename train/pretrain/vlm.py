"""VLM stage: dense alignment of image cells with text.

Three teachers. Captions from label maps: the mean embedding of every labelled region, and more weakly every cell, must
pick its own class text among all (contrastive, temperature as CLIP's). ImageNet: what a larger classifier answers at
every cell of a picture twice as large, over the text embeddings of its 1000 names, so that words beyond the labels find
their place. And whole pictures against their captions. Some pictures are shown in rendered weather, and half of all
softer than they are, which changes none of these answers.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser.cityscapes import CLASSES, IGNORE
from mfuser.encoders.base import VisionLanguageEncoder, freeze
from mfuser.loading import MFuser
from mfuser.weights import tensors
from train.pretrain import text
from train.pretrain.crops import gather, random_colours, random_crops, random_softness, take, weathered, with_weather
from train.pretrain.trunk import Teacher, start_trunk, tokens_of, train_but_batch_norm
from train.runtime.training_steps import RunConfig, run
from train.texts.phrases import CLASS_PHRASES, imagenet_names

OUTPUT = "encoder-vlm.safetensors"
CONFIG = RunConfig(iterations=1400, batch=32, lr=5e-4, trunk_lr=0.3)
CROP, SCALE = 320, (0.4, 1.0)
TEACHER, LARGER = "lite2", 2  # the classifier, and its pixels in each of the student's
IN_WEATHER = 0.3  # share of the pictures
REGION, CELL, NAMES, CAPTION = 1.0, 0.5, 0.5, 0.1  # weights of the terms


def train(model: MFuser, data: list[str], out: Path, config: RunConfig) -> dict[str, Tensor]:
    """Align the VLM of `model` with its text tower.

    Args:
        model: changed in place.
        data: `--data` arguments. The first set is labelled; further sets lend their photographs only.
        out: folder that holds the text tower.
        config: settings.

    Returns:
        The encoder's tensors.

    Raises:
        ValueError: photographs or labels are missing, a package is not installed, or a stored state does not fit.
    """
    device, vlm = config.device, model.vlm
    stored, _ = tensors.load(out / text.OUTPUT)
    tensors.load_exactly(vlm.text.state_dict(), stored, "the text tower")
    pictures, labels, named_classes = gather(data[:1], labelled=True)
    labels, count = labels.to(device), len(pictures)
    if data[1:]:
        pictures = torch.cat([pictures, gather(data[1:], labelled=False)[0]])
    in_weather, pictures = weathered(pictures, config.seed).to(device), pictures.to(device)
    first = count if data[1:] else 0  # of the photographs whose names alone are learned
    start_trunk(vlm.trunk)
    vlm.to(device)
    train_but_batch_norm(vlm)
    freeze(vlm.text)
    imagenet = Teacher(TEACHER).to(device)
    with torch.no_grad():
        names = F.normalize(vlm.text(vlm.tokenize(imagenet_names()).to(device)), dim=-1)  # (1000, C_t)
        banks = [phrase_bank(vlm, CLASSES[k], device) for k in named_classes]

    def embed(pixels: Tensor) -> tuple[Tensor, Tensor]:
        tokens, grid = tokens_of(vlm, pixels)
        dense = F.normalize(vlm.dense(tokens).float(), dim=-1)
        return dense[:, 0], dense[:, 1:].unflatten(1, grid)  # (B, C_t), (B, h, w, C_t)

    def step(i: int, generator: torch.Generator) -> dict[str, Tensor]:
        chosen = take(count, config.batch, generator, pictures.device)
        more = first + take(len(pictures) - first, config.batch // 2, generator, pictures.device)

        def crops(rows: Tensor, truth: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
            both = with_weather(pictures[rows], in_weather[rows], IN_WEATHER, generator)
            return random_crops(both, LARGER * CROP, SCALE, generator, truth)

        both, cut = crops(chosen, labels[chosen])
        cut = cut[:, ::LARGER, ::LARGER]
        clear, seen = torch.cat([both, crops(more)[0]]).split(3, dim=1)
        seen = random_softness(F.avg_pool2d(seen, LARGER), generator)
        whole, dense = embed(random_colours(seen, generator))
        labelled = dense[: config.batch]
        coverage = cell_coverage(cut, len(banks), dense.shape[1:3])  # (B, G, h, w)
        words = torch.stack(
            [bank[torch.randint(len(bank), (), generator=generator, device=bank.device)] for bank in banks]
        )
        region, cell = region_losses(labelled, coverage, words, vlm.temperature)
        logits = imagenet.classify(imagenet(clear)[32])
        logits = F.interpolate(logits.float(), size=dense.shape[1:3], mode="bilinear", align_corners=False)
        target = (logits / 2).softmax(1).flatten(2).transpose(1, 2)  # (B, L, 1000)
        guess = (dense.flatten(1, 2) @ names.T / vlm.temperature).log_softmax(-1)
        named = -(target * guess).sum(-1).mean() - entropy(target)
        present = coverage.sum((2, 3)) > 0.5  # (B, G)
        caption = F.normalize(present.float() @ words, dim=-1)  # a caption as the sum of what it names
        match = whole[: config.batch] @ caption.T / vlm.temperature
        own = torch.arange(config.batch, device=match.device)
        whole_loss = (F.cross_entropy(match, own) + F.cross_entropy(match.T, own)) / 2
        return {"region": REGION * region, "cell": CELL * cell, "names": NAMES * named, "caption": CAPTION * whole_loss}

    run({"vlm": vlm}, step, config)
    return vlm.state_dict()


def phrase_bank(vlm: VisionLanguageEncoder, name: str, device: str) -> Tensor:
    """Unit embeddings (n, C_t) of the training phrases of a class."""
    return F.normalize(vlm.text(vlm.tokenize(list(CLASS_PHRASES[name])).to(device)), dim=-1)


def cell_coverage(labels: Tensor, groups: int, grid: tuple[int, int]) -> Tensor:
    """Share of every cell's pixels in each group.

    Args:
        labels: (B, H, W) integer group indices, 255 = ignore.
        groups: how many groups there are.
        grid: (h, w) cells.

    Returns:
        (B, G, h, w) float32. A pixel that two cells share counts for both.
    """
    one_hot = F.one_hot(labels.long().masked_fill(labels == IGNORE, groups), groups + 1)[..., :groups]
    return F.adaptive_avg_pool2d(one_hot.permute(0, 3, 1, 2).float(), grid)


def region_losses(dense: Tensor, coverage: Tensor, words: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of region means, and of single cells, over the class texts.

    Args:
        dense: (B, h, w, C_t) unit.
        coverage: (B, G, h, w), share of each cell's pixels.
        words: (G, C_t) unit.
        temperature: of the logits.
    """
    weights = coverage.flatten(2)
    mass = weights.sum(-1)
    means = F.normalize(torch.einsum("bgl, blc -> bgc", weights, dense.flatten(1, 2)), dim=-1)
    there = mass > 0.5  # at least half a cell
    logits = means[there] @ words.T / temperature
    region = F.cross_entropy(logits, there.nonzero()[:, 1])
    cells = (dense.flatten(1, 2) @ words.T / temperature).log_softmax(-1)  # (B, L, G)
    cell = -(weights.transpose(1, 2) * cells).sum() / weights.sum().clamp_min(1)
    return region, cell


def entropy(p: Tensor) -> Tensor:
    """Mean entropy of distributions on the last axis; subtracting it makes a cross-entropy a divergence."""
    return -(p * p.clamp_min(1e-9).log()).sum(-1).mean()
