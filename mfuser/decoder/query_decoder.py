"""Query decoder: one query per class, started from its text, refined by masked attention (Cheng et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.decoder.pixel_decoder import FeedForward, mixed, sine_position


class QueryDecoder(nn.Module):
    """From class texts and memories to class and mask logits, before the first layer and after each.

    Args:
        width: channels.
        text_dim: channels C_t of the texts.
        classes: number K of classes. Query k belongs to class k.
        layers: number of layers.
        heads: of every attention.
        ffn: hidden channels of the feed-forward layers.
        levels: of memories. The layers read them in turn.
    """

    def __init__(
        self,
        width: int = 256,
        text_dim: int = 768,
        classes: int = 19,
        layers: int = 9,
        heads: int = 8,
        ffn: int = 2048,
        levels: int = 3,
    ):
        super().__init__()
        self.heads, self.levels = heads, levels
        self.text_proj = nn.Sequential(nn.Linear(text_dim, width), nn.ReLU(), nn.Linear(width, width))
        self.query_embed = nn.Embedding(classes, width)
        self.level_embed = nn.Embedding(levels, width)
        self.layers = nn.ModuleList(QueryDecoderLayer(width, heads, ffn) for _ in range(layers))
        self.post_norm = nn.LayerNorm(width)
        self.cls_embed = nn.Linear(width, classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(
        self, text: Tensor, memories: list[Tensor], mask_features: Tensor, mix: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Decode masks.

        Args:
            text: (B, K, C_t), or (B, N, C_t) with `mix`.
            memories: 3 maps (B, C, h, w), coarsest first.
            mask_features: (B, C, 4g, 4g).
            mix: (N, K) for N other names, see `pixel_decoder.mixed`. There are N queries then, and still K + 1 class
                logits.

        Returns:
            Class logits, a list of (B, K, K + 1), the last column "no object". Mask logits, a list of (B, K, 4g, 4g).
        """
        sizes = [m.shape[-2:] for m in memories]
        values = [
            m.flatten(2).transpose(1, 2) + level for m, level in zip(memories, self.level_embed.weight, strict=True)
        ]
        keys = [v + sine_position(size, v.shape[-1], v.device) for v, size in zip(values, sizes, strict=True)]
        query, pos = self.text_proj(text), mixed(self.query_embed.weight, mix)
        prediction, blocked = self.predict(query, mask_features, sizes[0])
        predictions = [prediction]
        for i, layer in enumerate(self.layers):
            level = i % self.levels
            query = layer(query, pos, keys[level], values[level], blocked)
            prediction, blocked = self.predict(query, mask_features, sizes[(i + 1) % self.levels])
            predictions.append(prediction)
        class_logits, mask_logits = zip(*predictions, strict=True)
        return list(class_logits), list(mask_logits)

    def predict(
        self, query: Tensor, mask_features: Tensor, size: tuple[int, int]
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Predict from the queries, and derive the mask of the next layer's attention.

        Args:
            query: (B, K, C).
            mask_features: (B, C, 4g, 4g).
            size: (h, w) of the memory that the next layer reads.

        Returns:
            Class logits (B, K, classes + 1) and mask logits (B, K, 4g, 4g). Where the next layer must not look, (B *
            heads, K, h*w) bool.
        """
        n = self.post_norm(query)
        masks = torch.einsum("bkc, bchw -> bkhw", self.mask_embed(n), mask_features)
        small = F.interpolate(masks.detach(), size=size, mode="bilinear", align_corners=False)
        blocked = (small < 0).flatten(2)  # sigmoid below 0.5
        blocked = blocked & ~blocked.all(-1, keepdim=True)  # a query that may look nowhere may look everywhere
        return (self.cls_embed(n), masks), blocked.repeat_interleave(self.heads, dim=0)


class QueryDecoderLayer(nn.Module):
    """Masked cross-attention, self-attention among the queries, feed-forward; post-norm."""

    def __init__(self, width: int, heads: int, ffn: int):
        super().__init__()
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ffn = FeedForward(width, ffn)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, query: Tensor, pos: Tensor, key: Tensor, value: Tensor, blocked: Tensor) -> Tensor:
        """One layer.

        Args:
            query: (B, K, C).
            pos: (K, C) positions of the queries.
            key: (B, h*w, C) memory with positions.
            value: (B, h*w, C) memory.
            blocked: (B * heads, K, h*w) bool, true where a query must not look.

        Returns:
            (B, K, C).
        """
        x = query + self.cross_attn(query + pos, key, value, attn_mask=blocked, need_weights=False)[0]
        x = self.norms[0](x)
        q = x + pos
        x = self.norms[1](x + self.self_attn(q, q, x, need_weights=False)[0])
        return self.norms[2](self.ffn(x))
