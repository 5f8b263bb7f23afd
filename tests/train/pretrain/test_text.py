"""The text stage: the teacher's weights land where its arithmetic is, and the table of word pieces stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from mfuser.weights import compact, files
from train.pretrain import text
from train.texts import phrases, sentence_encoder


@pytest.fixture
def teacher():
    transformers = pytest.importorskip("transformers", reason="the sentence encoder's package is not installed")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=6, num_attention_heads=4, intermediate_size=128
    )
    return transformers.BertModel(config, add_pooling_layer=False).eval()


def weights_of(teacher) -> dict[str, torch.Tensor]:
    return {name: t for name, t in teacher.state_dict().items() if "position_ids" not in name}


def test_the_tower_starts_as_the_teacher(teacher, monkeypatch):
    from mfuser.encoders.sentence import SentenceText

    monkeypatch.setattr(text, "BLOCKS", range(6))
    tower = SentenceText(40, 32, 6, 4, 16, 32).eval()
    text.start(tower, weights_of(teacher))
    ids = torch.tensor([[1, 5, 6, 2, 0], [1, 7, 2, 0, 0]])
    with torch.no_grad():
        hidden = teacher(ids, attention_mask=(ids != 0).long()).last_hidden_state
        mask = (ids != 0)[..., None]
        expected = text.LONGER * (hidden * mask).sum(1) / mask.sum(1)
        torch.testing.assert_close(tower(ids), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(files.MisfitError, match="the text tower"):
        text.start(SentenceText(40, 48, 6, 4, 16, 32), weights_of(teacher))


def bert_names(width: int, pieces: int, blocks: int) -> dict[str, torch.Tensor]:
    """Random weights by BERT's names."""
    shapes = {
        "embeddings.word_embeddings.weight": (pieces, width),
        "embeddings.position_embeddings.weight": (64, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    for i in range(blocks):
        own = f"encoder.layer.{i}."
        sides = {"attention.self.query": (width, width), "attention.self.key": (width, width)}
        sides |= {"attention.self.value": (width, width), "attention.output.dense": (width, width)}
        sides |= {"intermediate.dense": (4 * width, width), "output.dense": (width, 4 * width)}
        for part, shape in sides.items():
            shapes |= {f"{own}{part}.weight": shape, f"{own}{part}.bias": shape[:1]}
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{own}{part}.weight": (width,), f"{own}{part}.bias": (width,)}
    generator = torch.Generator().manual_seed(1)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_the_stage_nears_the_teacher_and_leaves_the_table(fresh_model, monkeypatch, tmp_path):
    """One block of a random teacher; targets by a random map of the start, which can be learned."""
    said = ["a car", "two cars", "the red tram", "sky", "an old house", "trees in the park"] * 8
    tower, width = fresh_model.vlm.text, fresh_model.vlm.text.width
    monkeypatch.setattr(phrases, "corpus", lambda: said)
    monkeypatch.setattr(sentence_encoder, "weights", lambda: bert_names(width, tower.table.num_embeddings, 1))
    targets = F.normalize(torch.randn(len(set(said)), fresh_model.vlm.embed_dim), dim=-1).repeat(8, 1)
    monkeypatch.setattr(sentence_encoder, "embed", lambda *_: targets)
    config = replace(text.CONFIG, batch=48, lr=3e-3, warmup=1, state=tmp_path / "text.state.pt")
    ids = fresh_model.vlm.tokenize(said, 12)

    def near() -> float:
        with torch.no_grad():
            return float(F.cosine_similarity(tower.eval()(ids), targets).mean())

    text.train(fresh_model, [], tmp_path, replace(config, iterations=1, lr=1e-9))
    before, table = near(), tower.table.weight.detach().clone()
    state = text.train(fresh_model, [], tmp_path, replace(config, iterations=250, lr=1e-2))
    assert before < 0.3 < 0.8 < near()
    assert torch.equal(state["table.weight"], table)
    kept = compact.rounded({"t": sentence_encoder.weights()["embeddings.word_embeddings.weight"]}, {"t": 4})["t"]
    assert torch.equal(table, kept), "as its file keeps it"
