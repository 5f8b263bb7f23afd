"""SigLIP's word pieces: the vocabulary is a file of the hub, which the package does not bring."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from open_clip.tokenizer import get_clean_fn
from torch import Tensor

from mfuser import hub
from mfuser.hub import MissingError, Source

END = 1  # </s>, also the padding


class SigLIPTokenizer:
    """Texts to ids; the vocabulary is read when it is first needed. repo: of `tokenizer.json` on the hub."""

    def __init__(self, repo: str, length: int):
        self.source, self.length = Source(repo, ("tokenizer.json",)), length
        self._pieces: Any = None

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """(K, context_length) int64, cut to one end token and padded with it. Raises hub.MissingError."""
        length = context_length or self.length
        rows = [[*self.pieces(text)[: length - 1], END] for text in texts]
        return torch.tensor([row + [END] * (length - len(row)) for row in rows])

    def count(self, text: str) -> int:
        """Tokens of a text with its end token."""
        return len(self.pieces(text)) + 1

    def pieces(self, text: str) -> list[int]:
        """Ids of a text without end token: lower case, without punctuation. Raises hub.MissingError."""
        if self._pieces is None:
            self._pieces = self._read()
        return [i for i in self._pieces.encode(get_clean_fn("canonicalize")(text)).ids if i != END]

    def here(self) -> bool:
        """True when the vocabulary can be read without a download."""
        return _installed() and hub.find(self.source) is not None

    def _read(self) -> Any:
        if not _installed():
            raise MissingError("SigLIP's vocabulary needs the package tokenizers: run `pip install tokenizers`.")
        from tokenizers import Tokenizer

        path = hub.fetch(self.source)
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises bare exceptions
            raise MissingError(f"{path} is no readable vocabulary ({error}): run `{self.source.command}`.") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def _installed() -> bool:
    return importlib.util.find_spec("tokenizers") is not None
