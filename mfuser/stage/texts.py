"""Texts as vectors that a bundle's patches can be multiplied with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mfuser.inference.analysis import TextEncoder


def text_vectors(
    encode_text: TextEncoder, texts: Sequence[str], bases: Mapping[str, np.ndarray]
) -> dict[str, list[list[float]]]:
    """Project texts into the dimensions of a bundle.

    Args:
        encode_text: `Analysis.encode_text`: texts and a stream -> unit embeddings (n, C_t) float32.
        texts: n texts.
        bases: stream -> (C_t, D) float32, of `Bundle.text_bases`.

    Returns:
        stream -> n lists of D numbers. Their product with a patch of the bundle is the cosine, approximately.
    """
    return {s: np.round(encode_text(texts, s) @ basis, 5).tolist() for s, basis in bases.items()}


def query(text: str, encode_text: TextEncoder, texts: Sequence[str], bases: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A query as the stage takes it: {"text", "vectors"}. Arguments as of `text_vectors`; text: as it is shown."""
    return {"text": text, "vectors": text_vectors(encode_text, texts, bases)}
