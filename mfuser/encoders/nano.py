"""The built-in encoders: a small convolutional trunk as tokenizer, transformer blocks on top.

Two of them of complementary character: the VFM reads the fine stages of its trunk (strides 4, 8, 16), the VLM the
coarse ones (16, 32) and carries a text tower. Weights come from `python -m train pretrain`.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from mfuser.encoders.base import VisionEncoder, VisionLanguageEncoder
from mfuser.encoders.folding import fold_batch_norms
from mfuser.encoders.sentence import SentenceText
from mfuser.encoders.vocabulary import WordPieceTokenizer
from mfuser.presets import ASSETS

# Index of the last trunk stage at each stride, and its channels (EfficientNet-Lite0, Tan and Le 2019 / Liu 2020).
STAGES = {4: (1, 24), 8: (2, 40), 16: (4, 112), 32: (6, 320)}
MEAN, STD = 0.498, 0.502  # of the trunk's own training, in 0..1
VOCABULARY = ASSETS / "nano" / "vocabulary.txt"


class Trunk(nn.Module):
    """EfficientNet-Lite0 up to the last stage that is asked for; returns one map per stride.

    exact: run in float32 under autocast too. Filters of the first stage subtract what is nearly equal, and their batch
    norm multiplies the difference by up to 56: in fog, where neighbouring pixels hardly differ, half precision leaves
    noise of it, and one pixel in ten gets another class. Training rounds: it keeps these maps, the largest of all.
    """

    def __init__(self, strides: tuple[int, ...]):
        super().__init__()
        net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        self.taps = {STAGES[s][0]: s for s in strides}
        self.stem = nn.Sequential(net.conv_stem, net.bn1)
        self.stages = net.blocks[: max(self.taps) + 1]
        self.exact = False

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        with torch.autocast(x.device.type, enabled=False) if self.exact else nullcontext():
            x, maps = self.stem(x), {}
            for i, stage in enumerate(self.stages):
                x = stage(x)
                if i in self.taps:
                    maps[self.taps[i]] = x
        return maps


class NanoVision(VisionEncoder):
    """Hybrid ViT: trunk maps brought to stride 16, one token per cell, then pre-norm blocks.

    strides: trunk stages read. Input sides must be multiples of 32.
    """

    patch, prefix = 16, 1

    def __init__(self, width: int = 192, depth: int = 6, heads: int = 6, strides: tuple[int, ...] = (4, 8, 16)):
        super().__init__()
        self.width, self.depth = width, depth
        self.trunk = Trunk(strides)
        channels = {s: STAGES[s][1] * max(1, self.patch // s) ** 2 for s in strides}
        self.lateral = nn.ModuleDict({str(s): nn.Conv2d(c, width, 1) for s, c in channels.items()})
        self.token_norm = nn.LayerNorm(width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_scale = nn.Parameter(torch.tensor(0.1))
        self.blocks = nn.ModuleList(Block(width, heads, qkv_bias=True, init_values=0.1) for _ in range(depth))
        self.final_norm = nn.LayerNorm(width)
        nn.init.normal_(self.cls_token, std=0.02)

    def cells(self, pixels: Tensor) -> Tensor:
        """Trunk features of every cell before the blocks, (B, C, h, w)."""
        x = (pixels / 255 - MEAN) / STD
        maps = self.trunk(x.contiguous(memory_format=torch.channels_last))  # depthwise convolutions are faster there
        total = 0
        for stride, x in maps.items():
            if stride < self.patch:  # fine stages: every cell keeps its own sub-pixels
                x = F.pixel_unshuffle(x, self.patch // stride)
            x = self.lateral[str(stride)](x)
            if stride > self.patch:
                x = F.interpolate(x, scale_factor=stride // self.patch, mode="bilinear", align_corners=False)
            total = total + x
        return total

    def for_inference(self) -> None:
        fold_batch_norms(self.trunk)

    def for_half_precision(self) -> list[nn.Module]:
        self.trunk.exact = True
        return [self.trunk]

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        return self.with_positions(self.cells(pixels))

    def with_positions(self, cells: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Cells (B, C, h, w) -> tokens (B, 1 + h*w, C) with cls token and positions, and the grid."""
        grid = cells.shape[-2:]
        tokens = self.token_norm(cells.flatten(2).transpose(1, 2))
        tokens = tokens + self.position_scale * _position(grid, self.width, tokens.device).to(tokens.dtype)
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1), tuple(grid)

    def block(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return self.blocks[index](tokens)

    def norm(self, tokens: Tensor) -> Tensor:
        return self.final_norm(tokens)


def _position(grid: tuple[int, int], width: int, device: torch.device) -> Tensor:
    """Sine position in cells, (h*w, width): any grid works, and neighbours look alike at every size."""
    h, w = grid
    frequency = torch.exp(torch.arange(width // 4, device=device) * (-math.log(1000.0) / (width // 4)))
    y = torch.arange(h, device=device, dtype=torch.float32)[:, None] * frequency
    x = torch.arange(w, device=device, dtype=torch.float32)[:, None] * frequency
    y = torch.cat([y.sin(), y.cos()], -1)[:, None].expand(h, w, -1)
    x = torch.cat([x.sin(), x.cos()], -1)[None].expand(h, w, -1)
    return torch.cat([y, x], -1).flatten(0, 1)


class NanoVisionLanguage(NanoVision, VisionLanguageEncoder):
    """NanoVision with a projection into the text space and a text tower that began as a sentence encoder."""

    temperature = 0.05

    def __init__(
        self,
        width: int = 192,
        depth: int = 6,
        heads: int = 6,
        strides: tuple[int, ...] = (16, 32),
        embed_dim: int = 384,
        text_width: int = 384,
        text_layers: int = 4,
        text_heads: int = 12,
        text_length: int = 48,
        pieces: int = 30522,
    ):
        super().__init__(width, depth, heads, strides)
        self.embed_dim = embed_dim
        self.head = nn.Linear(width, embed_dim)
        self.text = SentenceText(pieces, text_width, text_layers, text_heads, text_length, embed_dim)
        self._tokenizer = WordPieceTokenizer(VOCABULARY, text_length)

    def dense(self, normed: Tensor) -> Tensor:
        return self.head(normed)

    def tokenize(self, texts: list[str], length: int | None = None) -> Tensor:
        return self._tokenizer(texts, length)

    def stored_bits(self) -> dict[str, int]:
        """Bits of the matrices that are stored in few: the table of word pieces, and the weights of the text blocks.

        By names of the state dict. The projection behind them is kept exactly, and can make up for what they lose.
        """
        names = [n for n, t in self.state_dict().items() if n.startswith("text.blocks.") and t.ndim == 2]
        return {"text.table.weight": 4, **dict.fromkeys(names, 8)}
