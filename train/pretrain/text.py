"""Text stage: the VLM's text tower begins as four of the six blocks of a sentence encoder (all-MiniLM-L6-v2,
Apache-2.0) and learns to do without the other two.

The table of word pieces is rounded to what its file keeps and stays: a word that no text here holds, "tarmac", keeps
the place that the sentence encoder gave it. The targets are the encoder's embeddings of `train.texts.phrases.corpus`.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser.encoders.sentence import SentenceText
from mfuser.loading import MFuser
from mfuser.weights import compact, tensors
from train.runtime.training_steps import RunConfig, run
from train.texts import phrases, sentence_encoder
from train.texts.sentence_encoder import trim

OUTPUT = "text.safetensors"
TEACHER_CACHE = "text-teacher.safetensors"
CONFIG = RunConfig(iterations=4000, batch=512, lr=3e-4, weight_decay=0.0)
LENGTH = 32  # tokens per text while training
BLOCKS = (0, 2, 4, 5)  # of the teacher's six; of all choices of four that keep the first and last, the nearest to it
# The teacher's embeddings are 7 long. Heads read texts without normalising them, and expect three times that.
LONGER = 3.0


def train(model: MFuser, data: list[str], out: Path, config: RunConfig) -> dict[str, Tensor]:
    """Distil the sentence encoder into the text tower of `model`.

    Args:
        model: changed in place.
        data: not used; the texts are `phrases.corpus`.
        out: folder of the teacher's embeddings.
        config: settings.

    Returns:
        The tower's tensors.

    Raises:
        ValueError: WordNet or the sentence encoder is not installed, or a stored state does not fit.
    """
    texts = phrases.corpus()
    targets = sentence_encoder.embed(texts, out / TEACHER_CACHE, config.device).to(config.device)  # (N, 384) unit
    tower, bits = model.vlm.text, bits_of_tower(model)
    start(tower, sentence_encoder.weights())
    tower.load_state_dict(compact.rounded(tower.state_dict(), {n: b for n, b in bits.items() if b < 8}), strict=False)
    ids = torch.cat([model.vlm.tokenize(texts[i : i + 4096], LENGTH) for i in range(0, len(texts), 4096)]).to(
        config.device
    )
    tower.to(config.device).train().requires_grad_(True)
    tower.table.requires_grad_(False)

    def step(i: int, generator: torch.Generator) -> dict[str, Tensor]:
        pick = torch.randint(len(ids), (config.batch,), generator=generator, device=ids.device)
        student, teacher = F.normalize(tower(trim(ids[pick])).float(), dim=-1), targets[pick]
        match = 1 - (student * teacher).sum(-1).mean()
        relations = F.mse_loss(student @ student.T, teacher @ teacher.T)
        return {"match": match, "relations": 10 * relations}

    run({"text": tower}, step, config)
    return tower.state_dict()


def bits_of_tower(model: MFuser) -> dict[str, int]:
    """`stored_bits` of the VLM by the names of the tower alone."""
    stored = model.vlm.stored_bits().items()
    return {name.removeprefix("text."): bits for name, bits in stored if name.startswith("text.")}


def start(tower: SentenceText, weights: dict[str, Tensor]) -> None:
    """Copy blocks `BLOCKS` of the teacher, its table and its positions into the tower.

    Args:
        tower: changed in place.
        weights: of the teacher, by the names of BERT.

    Raises:
        MisfitError: they are of another shape.
    """
    length, place = tower.positions, "embeddings."
    state = {
        "table.weight": weights[place + "word_embeddings.weight"],
        "position": weights[place + "position_embeddings.weight"][:length]
        + weights[place + "token_type_embeddings.weight"][0],
        "projection": LONGER * torch.eye(*tower.projection.shape),
        **{f"norm.{kind}": weights[f"{place}LayerNorm.{kind}"] for kind in ("weight", "bias")},
    }
    parts = {"attn.proj": "attention.output.dense", "norm1": "attention.output.LayerNorm"}
    parts |= {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense", "norm2": "output.LayerNorm"}
    for ours, theirs in enumerate(BLOCKS[: len(tower.blocks)]):
        for kind in ("weight", "bias"):
            own = f"encoder.layer.{theirs}."
            queries = [weights[f"{own}attention.self.{n}.{kind}"] for n in ("query", "key", "value")]
            state[f"blocks.{ours}.attn.qkv.{kind}"] = torch.cat(queries)
            state |= {f"blocks.{ours}.{a}.{kind}": weights[f"{own}{b}.{kind}"] for a, b in parts.items()}
    tensors.load_exactly(tower.state_dict(), state, "the text tower")
