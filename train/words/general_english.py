"""General English for `teach`: WordNet's texts, and what a sentence encoder says about them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mfuser.cityscapes import CLASSES
from train.texts import sentence_encoder, wordnet
from train.texts.evaluation_phrases import holds_phrase
from train.words.teaching_texts import Sampler, is_development

CACHE = "words-teacher.safetensors"
STRENGTH = 10.0  # inverse of the regularisation; of 3, 10 and 30 the best on the development phrases
KNOWN = 2000  # nouns that name nothing in the linear probe


@dataclass(frozen=True)
class General:
    """Texts whose class nobody knows.

    Args:
        texts: N texts.
        embeddings: (N, 384) unit embeddings of the sentence encoder.
        chances: (N, 20) probability of each class, and of none.
    """

    texts: list[str]
    embeddings: Tensor
    chances: Tensor


def general_texts(count: int, out: Path, device: str, sampler: Sampler) -> General | None:
    """A seeded choice of WordNet's texts, with their embeddings and chances.

    Args:
        count: texts at most; 0 for none.
        out: folder of the embeddings.
        device: where the sentence encoder runs.
        sampler: texts with classes. Without its `every_word`, no text holds a phrase of the evaluation or of the
            development.
    """
    if not count:
        return None
    found = [t for t in wordnet.texts() if sampler.every_word or not (holds_phrase(t) or is_development(t))]
    found = random.Random(0).sample(found, min(count, len(found)))
    known, labels = zip(*sampler.known(KNOWN, random.Random(0)), strict=True)
    embeddings = sentence_encoder.embed([*known, *found], out / CACHE, device)
    labelled, free = embeddings[: len(known)], embeddings[len(known) :]
    return General(found, free, chances(labelled, list(labels), free, len(CLASSES) + 1))


def chances(known: Tensor, labels: list[int], texts: Tensor, classes: int) -> Tensor:
    """Probabilities of a linear probe of sentence embeddings; each class has the same weight in its training.

    Args:
        known: (M, C) embeddings of texts with a label.
        labels: M of them.
        texts: (N, C) embeddings.
        classes: how many there are. One without a label gets 0.

    Returns:
        (N, classes) float32.
    """
    probe = LogisticRegression(C=STRENGTH, max_iter=500, class_weight="balanced")
    probe.fit(known.cpu().numpy(), np.asarray(labels))
    found = torch.zeros(len(texts), classes)
    found[:, torch.from_numpy(probe.classes_)] = torch.from_numpy(probe.predict_proba(texts.cpu().numpy())).float()
    return found
