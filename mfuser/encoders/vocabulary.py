"""Tokenizers by word pieces: SigLIP's, whose vocabulary is a file of the hub, and that of the built-in text tower."""

from __future__ import annotations

import hashlib
import importlib.util
import unicodedata
from pathlib import Path
from typing import Any

import torch
from open_clip.tokenizer import get_clean_fn
from torch import Tensor

from mfuser import hub
from mfuser.config import Source
from mfuser.hub import MissingError

END = 1  # </s>, also the padding


def unknown_words(text: str) -> list[str]:
    """Words that no text tower here can know: without a Latin letter or a digit, as emoji and other scripts.

    All text towers were trained on English. Their vocabularies have single letters of other scripts at most, or bytes.

    Args:
        text: any text.

    Returns:
        The words in their order. Accents do not make a word unknown: tokenizers drop them.
    """
    return [
        word
        for word in text.split()
        if not any(c.isascii() and c.isalnum() for c in unicodedata.normalize("NFKD", word))
    ]


class SigLIPTokenizer:
    """SigLIP's tokenizer. The vocabulary is read when it is first needed.

    Args:
        repo: of `tokenizer.json` on the hub.
        length: tokens of a text.
        sha256: what the file must have; None for any.
    """

    def __init__(self, repo: str, length: int):
        self.source, self.length = Source(repo, ("tokenizer.json",)), length
        self._pieces: Any = None

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """(K, context_length) int64, cut to one end token and padded with it. Raises hub.MissingError."""
        length = context_length or self.length
        rows = [[*self.pieces(text)[: length - 1], END] for text in texts]
        return torch.tensor([row + [END] * (length - len(row)) for row in rows])

    def count(self, text: str) -> int:
        """Number of tokens of a text, its end token included."""
        return len(self.pieces(text)) + 1

    def pieces(self, text: str) -> list[int]:
        """Ids of a text without end token. The text is read in lower case and without punctuation.

        Args:
            text: one text.

        Raises:
            hub.MissingError: the vocabulary is not here and cannot be downloaded.
        """
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


class WordPieceTokenizer:
    """BERT's tokenizer: lower case, a first and an end token, zero-padded.

    Args:
        path: of the vocabulary, one piece a line. It is read when it is first needed.
        length: tokens of a text.
    """

    def __init__(self, path: Path, length: int, sha256: str | None = None):
        self.path, self.length, self.sha256 = path, length, sha256
        self._pieces: Any = None

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """(K, context_length) int64; a text that is too long is cut and keeps its end token."""
        length = context_length or self.length
        rows = []
        for text in texts:  # one by one: in a batch the package starts threads, and loaders that fork complain of them
            ids = self.pieces(text)
            ids = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
            rows.append(ids + [0] * (length - len(ids)))
        return torch.tensor(rows, dtype=torch.int64).view(len(texts), length)

    def pieces(self, text: str) -> list[int]:
        """Ids of a text with its first and end token.

        Args:
            text: one text.

        Raises:
            hub.MissingError: the vocabulary is not here.
        """
        if self._pieces is None:
            self._pieces = self._read()
        return self._pieces.encode(text).ids

    def _read(self) -> Any:
        if not _installed():
            raise MissingError("nano's vocabulary needs the package tokenizers: run `pip install tokenizers`.")
        if not self.path.is_file():
            raise MissingError(f"nano's vocabulary is missing: fetch {self.path} again, it comes with the project.")
        if self.sha256 not in (None, hashlib.sha256(self.path.read_bytes()).hexdigest()):
            raise MissingError(f"nano's vocabulary {self.path} is damaged: fetch it again, it comes with the project.")
        from tokenizers import BertWordPieceTokenizer

        try:
            return BertWordPieceTokenizer(str(self.path), lowercase=True)
        except Exception as error:  # the package raises bare Exceptions
            raise MissingError(f"{self.path} is no readable vocabulary ({error}): fetch it again.") from error
