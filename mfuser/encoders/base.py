"""The interface of every encoder: tokens in blocks, so that adapters can act between them."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from mfuser.encoders.sentence import SentenceText
from mfuser.encoders.text import PromptedText


class VisionEncoder(nn.Module):
    """A vision transformer taken apart: `embed`, then `block` by block, then `norm`.

    width: channels C. depth: number of blocks. patch: pixels per token side. prefix: tokens before the patches (cls).
    Frozen by whoever builds it. Pixels are float RGB 0..255; each encoder normalises for itself.
    """

    width: int
    depth: int
    patch: int
    prefix: int

    @abstractmethod
    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """pixels (B, 3, H, W) float RGB 0..255 -> tokens (B, prefix + h*w, C) entering block 0, and the grid (h, w)."""

    @abstractmethod
    def block(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Apply block `index` to tokens (B, L, C)."""

    @abstractmethod
    def norm(self, tokens: Tensor) -> Tensor:
        """Final normalisation of tokens (B, L, C)."""

    def stored_bits(self) -> dict[str, int]:
        """Names in the state dict -> 4 or 8, of matrices that float16 files keep as integers."""
        return {}

    def for_inference(self) -> None:  # noqa: B027  most encoders have nothing to prepare
        """Prepare weights for speed, in place; the encoder can no longer be trained or saved."""

    def for_half_precision(self) -> list[nn.Module]:
        """Prepare for inference in half precision, in place, before weights are rounded; safe to call again.

        Returns the modules, none for most encoders, that from now on run in float32 under autocast too and whose
        weights `precision.store_weights` therefore leaves in float32.
        """
        return []

    def patches(self, tokens: Tensor) -> Tensor:
        """Patch tokens without the prefix, (B, h*w, C)."""
        return tokens[:, self.prefix :]

    def to_map(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Patch tokens as a map, (B, C, h, w)."""
        return self.patches(tokens).transpose(1, 2).unflatten(-1, grid)


class VisionLanguageEncoder(VisionEncoder):
    """A vision encoder with a projection into the joint text-image space and a text tower.

    embed_dim: C_t of the joint space. text: the tower. temperature: the alignment loss divides cosines by it.
    """

    embed_dim: int
    text: PromptedText | SentenceText
    temperature: float = 0.07

    @abstractmethod
    def dense(self, normed: Tensor) -> Tensor:
        """Normed tokens (B, prefix + h*w, C) -> joint embeddings (B, 1 + h*w, C_t), the global one first."""

    @abstractmethod
    def tokenize(self, texts: list[str], length: int | None = None) -> Tensor:
        """Token ids (K, length) int64; length None uses the whole position table."""

    def vocabulary_is_here(self) -> bool:
        """True when `tokenize` needs nothing that would have to be downloaded."""
        return True

    def fits(self, text: str, length: int) -> bool:
        """False when a text has more tokens than `length`, so that its end would be cut."""
        return bool((self.tokenize([text], length + 1)[0] != 0).sum() <= length)


OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...], inverse: bool = False) -> Tensor:
    """pixels (B, 3, H, W) float 0..255 -> (pixels / 255 - mean) / std, with statistics of the range 0..1; or back."""
    shift, scale = (pixels.new_tensor(x).view(3, 1, 1) * 255 for x in (mean, std))
    return pixels * scale + shift if inverse else (pixels - shift) / scale


def freeze(module: nn.Module) -> nn.Module:
    """Evaluation mode, no gradients."""
    return module.eval().requires_grad_(False)
