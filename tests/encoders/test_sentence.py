"""The built-in text tower: BERT's own arithmetic, padding that changes nothing, and where prompts go."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import mfuser.encoders  # noqa: F401  before timm: lets torchvision be imported beside a CPU torch
from mfuser.encoders.nano import VOCABULARY, VOCABULARY_SHA256
from mfuser.encoders.vocabulary import WordPieceTokenizer
from mfuser.hub import MissingError


def build(layers: int = 2):
    from mfuser.encoders.sentence import SentenceText

    torch.manual_seed(0)
    tower = SentenceText(pieces=50, width=32, layers=layers, heads=4, length=16, embed_dim=24)
    for parameter in tower.parameters():
        nn.init.normal_(parameter, std=0.3)
    return tower.eval()


def reference(tower, ids: torch.Tensor) -> torch.Tensor:
    """The same weights in torch's own post-norm layers, one text at a time without padding."""
    rows = []
    for row in ids:
        own = row[row != 0]
        x = tower.norm(tower.table(own) + tower.position[: len(own)])[None]
        for block in tower.blocks:
            layer = nn.TransformerEncoderLayer(32, 4, 128, 0.0, "gelu", 1e-12, batch_first=True).eval()
            names = {
                "self_attn.in_proj_": block.attn.qkv,
                "self_attn.out_proj.": block.attn.proj,
                "linear1.": block.mlp.fc1,
                "linear2.": block.mlp.fc2,
                "norm1.": block.norm1,
                "norm2.": block.norm2,
            }
            state = {name + kind: getattr(part, kind) for name, part in names.items() for kind in ("weight", "bias")}
            layer.load_state_dict(state)
            x = layer(x)
        rows.append(x[0].mean(0) @ tower.projection)
    return torch.stack(rows)


IDS = torch.tensor([[1, 5, 6, 7, 2, 0, 0, 0], [1, 9, 2, 0, 0, 0, 0, 0], [1, 3, 4, 5, 6, 7, 8, 2]])


def test_it_is_a_post_norm_encoder_with_the_mean_token():
    tower = build()
    torch.testing.assert_close(tower(IDS), reference(tower, IDS), rtol=1e-4, atol=1e-4)


def test_padding_changes_nothing():
    tower, prompts = build(), torch.randn(1, 3, 32)
    for given in (None, prompts):
        whole = tower(IDS[:2], given)
        torch.testing.assert_close(tower(IDS[:2, :5], given), whole)
        torch.testing.assert_close(tower(IDS[1:2, :3], given), whole[1:])


def test_prompts_act_behind_the_first_token_and_are_not_counted():
    """Without blocks nothing passes between tokens: only the places of the later ones move."""
    tower = build(layers=0)
    prompts = torch.randn(1, 3, 32)
    places = tower.position[[0, 4, 5, 6, 7]]
    expected = tower.norm(tower.table(IDS[0, :5]) + places).mean(0) @ tower.projection
    torch.testing.assert_close(tower(IDS[:1], prompts)[0], expected)
    tower = build(layers=1)
    assert (tower(IDS, prompts) - tower(IDS, -prompts)).abs().max() > 0.1


def test_gradients_reach_the_prompts():
    tower, prompts = build().requires_grad_(False), torch.randn(1, 3, 32, requires_grad=True)
    tower(IDS, prompts).square().sum().backward()
    assert prompts.grad.abs().min() > 0 and all(p.grad is None for p in tower.parameters())


def test_too_many_tokens_are_refused():
    with pytest.raises(ValueError, match="18 text tokens do not fit in 16 positions; shorten the text"):
        build()(torch.ones(1, 15, dtype=torch.int64), torch.randn(1, 3, 32))


def test_a_vocabulary_that_is_missing_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"vocabulary is missing: fetch .*words\.txt again"):
        WordPieceTokenizer(tmp_path / "words.txt", 8)(["car"])


def test_word_pieces(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "tram", "##way", "red", "-"]))
    tokenizer = WordPieceTokenizer(path, 8)
    assert tokenizer(["Red tramway", "zebra", "red-red"]).tolist() == [
        [2, 7, 5, 6, 3, 0, 0, 0],
        [2, 1, 3, 0, 0, 0, 0, 0],
        [2, 7, 8, 7, 3, 0, 0, 0],
    ]
    assert tokenizer(["red red red red"], 4).tolist() == [[2, 7, 7, 3]], "cut, with its end token"
    assert tokenizer([], 4).shape == (0, 4)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-7], lambda data: b"\x00" + data[1:]])
def test_a_vocabulary_that_is_damaged_is_named(tmp_path, damage):
    path = tmp_path / "words.txt"
    path.write_bytes(damage(VOCABULARY.read_bytes()))
    for sha256 in (None, VOCABULARY_SHA256):
        tokenizer = WordPieceTokenizer(path, 8, sha256)
        if sha256 is not None or path.stat().st_size == 0:
            with pytest.raises(MissingError, match=r"words\.txt.*fetch it again"):
                tokenizer(["car"])
