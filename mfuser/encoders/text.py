"""Text towers of open_clip with learned prompt tokens inserted (the paper's prompt tuning)."""

from __future__ import annotations

import torch
from open_clip.transformer import TextTransformer
from torch import Tensor, nn


class PromptedText(nn.Module):
    """Encodes token ids, with or without prompt tokens after the first token.

    Args:
        tower: open_clip's TextTransformer. It is causal and returns the end token's output (CLIP, EVA02-CLIP), or
            bidirectional and returns the last position's output (SigLIP).
    """

    def __init__(self, tower: TextTransformer):
        super().__init__()
        self.tower = tower
        self._mask()

    def _mask(self) -> None:
        if self.tower.attn_mask is not None:
            with torch.device("cpu"):  # real also in a model built without memory: it is computed, not loaded
                self.tower.attn_mask = self.tower.build_causal_mask()

    def shorten(self, positions: int) -> None:
        """Make the position table shorter, as in the authors' checkpoints. Its values are to be loaded afterwards.

        Args:
            positions: rows of the new table.

        Raises:
            ValueError: more rows than there are.
        """
        if positions > self.positions:
            raise ValueError(f"A text tower of {self.positions} positions cannot have {positions}.")
        table = self.tower.positional_embedding
        self.tower.positional_embedding = nn.Parameter(table.detach()[:positions].clone(), table.requires_grad)
        self.tower.num_pos = self.tower.context_length = positions
        self._mask()

    @property
    def width(self) -> int:
        """Channels of the tower."""
        return self.tower.width

    @property
    def positions(self) -> int:
        """Rows of the position table: the longest sequence, prompts included."""
        return self.tower.positional_embedding.shape[0]

    def forward(self, ids: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Embed texts.

        Args:
            ids: (K, T) int64, padded with zeros or with </s>.
            prompts: (1, P, width) or None.

        Returns:
            (K, C_t), not normalised.

        Raises:
            ValueError: T + P exceeds the position table.
        """
        tower = self.tower
        x = tower.token_embedding(ids)  # (K, T, width)
        added = 0
        if prompts is not None:
            added = prompts.shape[1]
            x = torch.cat([x[:, :1], prompts.expand(len(x), -1, -1).to(x.dtype), x[:, 1:]], dim=1)
        length = x.shape[1]
        if length > self.positions:
            raise ValueError(f"{length} text tokens do not fit in {self.positions} positions; shorten the text.")
        x = x + tower.positional_embedding[:length].to(x.dtype)
        mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length].to(x.dtype)
        x = tower.ln_final(tower.transformer(x, attn_mask=mask))
        if tower.pool_type == "last":
            x = x[:, -1]
        else:  # the end token has the largest id
            x = x[torch.arange(len(x), device=x.device), ids.argmax(-1) + added]
        projection = tower.text_projection
        return projection(x) if isinstance(projection, nn.Module) else x @ projection
