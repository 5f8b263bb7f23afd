"""Texts as vectors that a bundle's patches can be multiplied with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mfuser.encoders.vocabulary import unknown_words
from mfuser.inference.analysis import TextEncoder
from mfuser.stage.scales import Scales


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


def query(
    text: str,
    encode_text: TextEncoder,
    texts: Sequence[str],
    bases: Mapping[str, np.ndarray],
    scales: Scales | None = None,
) -> dict[str, Any]:
    """A query as the stage takes it.

    Args:
        text: as it is shown.
        encode_text: as of `text_vectors`.
        texts: n texts. One without any known word is left out.
        bases: as of `text_vectors`.
        scales: of the model, None where nobody measured one.

    Returns:
        "text"; "vectors", as of `text_vectors`, empty when no word is known; "background", stream -> vectors of which
        the highest product is subtracted; "note", a sentence on words that are not known, or "".
    """
    known = [t for t in texts if not is_unknown(t)]
    background = scales.background(encode_text) if scales and known else {}
    return {
        "text": text,
        "vectors": text_vectors(encode_text, known, bases) if known else {},
        "background": {s: np.round(of @ bases[s], 5).tolist() for s, of in background.items() if s in bases},
        "note": unknown_note(texts),
    }


def is_unknown(text: str) -> bool:
    """True when no word of a text is known."""
    return len(unknown_words(text)) == len(text.split())


def unknown_note(texts: Sequence[str]) -> str:
    """A sentence on the words of a query that the text tower does not know; "" when it knows all."""
    unknown = [word for text in texts for word in unknown_words(text)]
    if not unknown:
        return ""
    quoted = ", ".join(f"“{word}”" for word in dict.fromkeys(unknown))
    if all(map(is_unknown, texts)):
        return f"The model knows no word of this: {quoted}. Nothing is painted: describe it in English."
    return f"The model does not know {quoted}: it reads English words."
