"""MTEnhancer: class text embeddings refined by the image's fused tokens (paper equations 7-10)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.fusion.mvfuser import MVFuser


class MTEnhancer(nn.Module):
    """The change of the class text embeddings, computed from them and the image tokens.

    Args:
        embed_dim: channels C_t of the joint text-image space.
        width: channels of the enhancer itself.
        heads: of its self-attention.
        layers: number of layers.
        dropout: share of activations that training drops.
    """

    def __init__(self, embed_dim: int, width: int = 256, heads: int = 4, layers: int = 1, dropout: float = 0.1):
        super().__init__()
        self.memory_proj = nn.Sequential(nn.LayerNorm(embed_dim), nn.Linear(embed_dim, width), nn.LayerNorm(width))
        self.text_proj = nn.Sequential(nn.LayerNorm(embed_dim), nn.Linear(embed_dim, width))
        self.layers = nn.ModuleList(EnhancerLayer(width, heads, dropout) for _ in range(layers))
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, embed_dim))
        self.apply(_init_linear)

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        """Refine class texts by an image.

        Args:
            text: (B, K, C_t) class embeddings.
            visual: (B, L, C_t) image embeddings, the global one first.

        Returns:
            (B, K, C_t), to be scaled and added to `text`.
        """
        x, memory = self.text_proj(text), self.memory_proj(visual)
        for layer in self.layers:
            x = layer(x, memory)
        return self.out_proj(x)


class EnhancerLayer(nn.Module):
    """Self-attention among the classes, one MVFuser over [text; image; text], and an MLP, each with a residual."""

    def __init__(self, width: int, heads: int, dropout: float = 0.1):
        super().__init__()
        self.self_attn = SelfAttention(width, heads, dropout)
        self.fuser = MVFuser(width, dropout=dropout)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """One layer.

        Args:
            x: (B, K, C) class texts.
            memory: (B, L, C) image tokens.

        Returns:
            (B, K, C).
        """
        classes = x.shape[1]
        x = x + self.self_attn(self.norm1(x))
        t = self.norm2(x)
        # The scan runs one way only: with the text at both ends, one copy is read by every image token and the other
        # reads them all (equation 8).
        m = self.fuser(torch.cat([t, memory, t], dim=1))
        x = x + m[:, :classes] + m[:, -classes:]
        return x + self.mlp(self.norm3(x))


class SelfAttention(nn.Module):
    """Multi-head self-attention without biases on queries, keys and values."""

    def __init__(self, width: int, heads: int, dropout: float = 0.1):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Attention among the classes, (B, K, C) to (B, K, C)."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in projections)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, K, C)
        return self.dropout(self.proj(y))


def _init_linear(module: nn.Module) -> None:
    # As released: this start also reaches the MVFuser inside, whose time-step bias becomes 0.
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
