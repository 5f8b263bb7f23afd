"""The text towers of a model: queries, class names, class lists of a user's own."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from mfuser import config
from mfuser.decoder.head import Words
from mfuser.encoders.vocabulary import END
from mfuser.inference import open_vocabulary
from mfuser.inference.encoded import to_array
from mfuser.loading import MFuser

LISTS_KEPT = 4  # class lists of a user's own whose texts are kept


class Texts:
    """Embeds texts. Queries have a lock of their own, so that none waits for a picture.

    Args:
        model: the network on its device.
    """

    def __init__(self, model: MFuser):
        self.model = model
        self._words: dict[tuple[tuple[str, ...], str], Words] = {}
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str], stream: str) -> np.ndarray:
        """See `Segmenter.encode_text`."""
        with self._lock:
            return self._encode(texts, stream)

    def is_cut(self, text: str) -> bool:
        """See `Segmenter.is_cut`."""
        return not self.model.vlm.fits(text, self._token_limit("fused"))

    @torch.inference_mode()
    def words(self, names: tuple[str, ...], stream: str) -> Words:
        """Texts and mixing weights of names, computed once while the list is in use.

        Args:
            names: a class list, as `open_vocabulary.check` returns it.
            stream: a stream with a decoder.
        """
        if (names, stream) not in self._words:
            self._words[names, stream] = open_vocabulary.words(self.model, stream, names)
            for old in list(self._words)[: -LISTS_KEPT * len(config.STREAMS)]:
                del self._words[old]
        return self._words[names, stream]

    @torch.inference_mode()
    def class_names(self, names: tuple[str, ...] | None) -> np.ndarray:
        """Embeddings of class names by the original text tower.

        Args:
            names: a class list, None for the trained one.

        Returns:
            (K, C_t) float32, unit length.
        """
        if names is not None or self.model.vlm.vocabulary_is_here():
            return self._encode(names or self.model.preset.classes, "vlm")
        ids = self.model.class_ids  # came with the weights; the vocabulary, SigLIP's, is not here
        ids = F.pad(ids, (0, self._token_limit("vlm") - ids.shape[1]), value=END)
        return to_array(F.normalize(self.model.vlm.text(ids).float(), dim=-1))

    def forget(self) -> None:
        """Drop the class lists."""
        self._words = {}

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str], stream: str) -> np.ndarray:
        prompts = self.model.heads["fused"].prompts if stream == "fused" else None
        ids = self.model.vlm.tokenize(list(texts), self._token_limit(stream)).to(
            self.model.heads["fused"].prompts.device
        )
        return to_array(F.normalize(self.model.vlm.text(ids, prompts).float(), dim=-1))

    def _token_limit(self, stream: str) -> int:
        prompts = self.model.heads["fused"].prompts.shape[1]
        return self.model.vlm.text.positions - (prompts if stream == "fused" else 0)
