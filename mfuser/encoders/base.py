"""The interface of every encoder: tokens pass block by block, so that adapters can act between the blocks."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from mfuser.encoders.sentence import SentenceText
from mfuser.encoders.text import PromptedText


class VisionEncoder(nn.Module):
    """A vision transformer taken apart: `embed`, then `block` by block, then `norm`.

    Whoever builds it freezes it. Pixels are float RGB 0..255; each encoder normalises them itself.

    Attributes:
        width: channels C of a token.
        depth: number of blocks.
        patch: side of a patch in pixels.
        prefix: number of tokens before the patches (cls).
    """

    width: int
    depth: int
    patch: int
    prefix: int

    @abstractmethod
    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Turn pixels into the tokens that enter block 0.

        Args:
            pixels: (B, 3, H, W) float RGB 0..255.

        Returns:
            Tokens (B, prefix + h*w, C), and the patch grid (h, w).
        """

    @abstractmethod
    def block(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Apply one block.

        Args:
            index: of the block, from 0.
            tokens: (B, L, C).
            grid: (h, w) of the patches.

        Returns:
            (B, L, C).
        """

    @abstractmethod
    def norm(self, tokens: Tensor) -> Tensor:
        """Final normalisation of tokens (B, L, C)."""

    def stored_bits(self) -> dict[str, int]:
        """Matrices that float16 files keep as integers: {name in the state dict: 4 or 8 bits}."""
        return {}

    def for_inference(self) -> None:  # noqa: B027  most encoders have nothing to prepare
        """Prepare weights for speed, in place; the encoder can no longer be trained or saved."""

    def for_half_precision(self) -> list[nn.Module]:
        """Prepare for inference in half precision, in place, before weights are rounded. Safe to call again.

        Returns:
            Modules that from now on run in float32 under autocast too; none for most encoders.
            `precision.store_weights` leaves their weights in float32.
        """
        return []

    def patches(self, tokens: Tensor) -> Tensor:
        """Patch tokens without the prefix, (B, h*w, C)."""
        return tokens[:, self.prefix :]

    def to_map(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Patch tokens as a map.

        Args:
            tokens: (B, prefix + h*w, C).
            grid: (h, w) of the patches.

        Returns:
            (B, C, h, w).
        """
        return self.patches(tokens).transpose(1, 2).unflatten(-1, grid)


class VisionLanguageEncoder(VisionEncoder):
    """A vision encoder with a projection into the joint text-image space, and a text tower.

    Attributes:
        embed_dim: channels C_t of the joint space.
        text: the text tower.
        temperature: the alignment loss divides cosines by it.
    """

    embed_dim: int
    text: PromptedText | SentenceText
    temperature: float = 0.07

    @abstractmethod
    def dense(self, normed: Tensor) -> Tensor:
        """Project tokens into the joint text-image space.

        Args:
            normed: (B, prefix + h*w, C) tokens after `norm`.

        Returns:
            (B, 1 + h*w, C_t), the global embedding first.
        """

    @abstractmethod
    def tokenize(self, texts: list[str], length: int | None = None) -> Tensor:
        """Token ids of texts.

        Args:
            texts: K texts.
            length: tokens of each; None for the whole position table. Longer texts are cut.

        Returns:
            (K, length) int64.
        """

    def vocabulary_is_here(self) -> bool:
        """True when `tokenize` needs no download."""
        return True

    def fits(self, text: str, length: int) -> bool:
        """Whether a text has at most so many tokens, so that nothing of it is cut.

        Args:
            text: one text.
            length: number of tokens.
        """
        return bool((self.tokenize([text], length + 1)[0] != 0).sum() <= length)


OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...], inverse: bool = False) -> Tensor:
    """Normalise pixels with the statistics of an encoder's training.

    Args:
        pixels: (B, 3, H, W) float RGB 0..255.
        mean: of each channel, in 0..1.
        std: of each channel, in 0..1.
        inverse: undo the normalisation instead.

    Returns:
        (pixels / 255 - mean) / std, of the same shape.
    """
    shift, scale = (pixels.new_tensor(x).view(3, 1, 1) * 255 for x in (mean, std))
    return pixels * scale + shift if inverse else (pixels - shift) / scale


def freeze(module: nn.Module) -> nn.Module:
    """Put a module into evaluation mode without gradients; returns it."""
    return module.eval().requires_grad_(False)
