"""A sentence encoder as text tower, with learned prompt tokens inserted as in `PromptedText`.

It is bidirectional, normalises after each branch, and returns the mean token (BERT, Devlin et al. 2019; Sentence-BERT,
Reimers and Gurevych 2019).
"""

from __future__ import annotations

import torch
from timm.layers import Mlp
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

PAD = 0


class PostNormBlock(nn.Module):
    """Attention and MLP, each added and then normalised."""

    def __init__(self, width: int, heads: int, ratio: int = 4):
        super().__init__()
        self.attn = Attention(width, heads, qkv_bias=True)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.mlp = Mlp(width, ratio * width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """One block.

        Args:
            x: (K, L, C).
            mask: (K, 1, 1, L) bool, true for tokens that are read.

        Returns:
            (K, L, C).
        """
        x = self.norm1(x + self.attn(x, attn_mask=mask))
        return self.norm2(x + self.mlp(x))


class SentenceText(nn.Module):
    """Encodes token ids, with or without prompt tokens after the first token. The interface is that of `PromptedText`.

    Args:
        pieces: entries of the vocabulary.
        width: channels of the blocks.
        layers: number of blocks.
        heads: of their attention.
        length: rows of the position table.
        embed_dim: channels C_t of the result.
    """

    def __init__(self, pieces: int, width: int, layers: int, heads: int, length: int, embed_dim: int):
        super().__init__()
        self.width = width
        self.table = nn.Embedding(pieces, width)
        self.position = nn.Parameter(torch.zeros(length, width))
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.blocks = nn.ModuleList(PostNormBlock(width, heads) for _ in range(layers))
        self.projection = nn.Parameter(torch.empty(width, embed_dim))
        nn.init.normal_(self.table.weight, std=0.05)
        nn.init.normal_(self.position, std=0.02)
        nn.init.orthogonal_(self.projection)

    @property
    def positions(self) -> int:
        """Rows of the position table: the longest sequence, prompts included."""
        return self.position.shape[0]

    def forward(self, ids: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Embed texts.

        Prompts act on a text's own tokens through attention. The mean is over the text's own tokens, so that the number
        of prompts does not weigh on short texts more than on long ones.

        Args:
            ids: (K, T) int64, zero-padded.
            prompts: (1, P, width) or None.

        Returns:
            (K, C_t), not normalised.

        Raises:
            ValueError: T + P exceeds the position table.
        """
        x, own = self.table(ids), ids != PAD
        read, added = own, 0
        if prompts is not None:
            added = prompts.shape[1]
            x = torch.cat([x[:, :1], prompts.expand(len(x), -1, -1).to(x.dtype), x[:, 1:]], dim=1)
            read = torch.cat([own[:, :1], own.new_ones(len(x), added), own[:, 1:]], dim=1)
        if x.shape[1] > self.positions:
            raise ValueError(f"{x.shape[1]} text tokens do not fit in {self.positions} positions; shorten the text.")
        x = self.norm(x + self.position[: x.shape[1]].to(x.dtype))
        for block in self.blocks:
            x = block(x, read[:, None, None])
        x = torch.cat([x[:, :1], x[:, 1 + added :]], dim=1) * own[..., None]
        return x.sum(1) / own.sum(1, keepdim=True) @ self.projection
