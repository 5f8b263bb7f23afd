"""The class names as the decoder reads them: token ids, and their embeddings by the prompt-tuned text tower."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mfuser.encoders.base import VisionLanguageEncoder
from mfuser.hub import MissingError


class ClassTexts(nn.Module):
    """Embeddings of the trained class names, computed once per state of the prompts while nothing is trained.

    Args:
        names: K class names.
        length: T, the number of tokens of each name.
        vlm: the encoder whose tokenizer and text tower read the names.
        ids: (K, T) int64, for a vocabulary that is not at hand. None tokenizes the names where the vocabulary is here.
    """

    def __init__(self, names: Sequence[str], length: int, vlm: VisionLanguageEncoder, ids: Tensor | None = None):
        super().__init__()
        self.names, self.length = tuple(names), length
        self._known: dict[str, tuple[int, Tensor]] = {}  # stream -> version of its prompts, embeddings
        self.register_buffer("ids", None, persistent=False)
        if ids is not None:
            self.set_ids(ids)
        elif vlm.vocabulary_is_here():
            self.set_ids(self.tokenize(vlm))

    def tokenize(self, vlm: VisionLanguageEncoder) -> Tensor:
        """Token ids of the names.

        Args:
            vlm: the encoder whose tokenizer reads them.

        Returns:
            (K, T) int64 on the CPU.

        Raises:
            MissingError: their vocabulary is not here and cannot be downloaded.
        """
        try:
            with torch.device("cpu"):  # also inside a model that is made without memory
                return vlm.tokenize(list(self.names), self.length)
        except MissingError as error:
            raise MissingError(f"The class names need a vocabulary, or token_ids. {error}") from error

    def set_ids(self, ids: Tensor) -> None:
        """Use these token ids.

        Args:
            ids: (K, T) int64.

        Raises:
            ValueError: another shape or dtype.
        """
        shape = (len(self.names), self.length)
        if tuple(ids.shape) != shape or ids.dtype != torch.int64:
            got = f"{tuple(ids.shape)} {str(ids.dtype).removeprefix('torch.')}"
            raise ValueError(f"Token ids of the classes must be {shape} int64, got {got}: one row per class name.")
        self.ids = ids.to("cpu" if self.ids is None else self.ids.device)
        self.forget()

    def forget(self, stream: str | None = None) -> None:
        """Drop the stored embeddings, so that the next call computes them anew.

        Args:
            stream: whose embeddings; None for all.
        """
        self._known = {s: known for s, known in self._known.items() if stream is not None and s != stream}

    def forward(self, stream: str, vlm: VisionLanguageEncoder, prompts: Tensor) -> Tensor:
        """Embeddings of the names for a stream, (K, C_t).

        Args:
            stream: the stream that the prompts belong to.
            vlm: the encoder whose text tower reads the names.
            prompts: (1, P, C) learned tokens of the stream. They are differentiated where gradients are on.
        """
        if self.ids is None:
            self.set_ids(self.tokenize(vlm).to(prompts.device))
        if torch.is_grad_enabled() and prompts.requires_grad:
            return vlm.text(self.ids, prompts)
        version = 0 if prompts.is_inference() else prompts._version  # a model loaded in inference mode counts none
        known = self._known.get(stream)
        if known is None or known[0] != version or known[1].device != prompts.device:
            # Once for all images, and whatever their precision: so exactly.
            with torch.no_grad(), torch.autocast(prompts.device.type, enabled=False):
                known = self._known[stream] = (version, vlm.text(self.ids, prompts))
        return known[1]
