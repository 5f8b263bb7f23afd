"""The built-in encoders: a small convolutional trunk as tokenizer, and transformer blocks after it.

The two have complementary character. The VFM has the larger trunk, reads all of its stages, and is distilled without
labels. The VLM reads the coarse stages of a smaller trunk (strides 16 and 32), is aligned with text, and has a text
tower. `python -m train pretrain` makes the weights.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from mfuser.config import ASSETS
from mfuser.encoders.base import VisionEncoder, VisionLanguageEncoder
from mfuser.encoders.folding import fold_batch_norms
from mfuser.encoders.sentence import SentenceText
from mfuser.encoders.vocabulary import WordPieceTokenizer

# Channels of a trunk at each stride, and the index of its last stage there (EfficientNet-Lite: Tan and Le 2019, Liu
# 2020). All sizes have the same stages.
TRUNKS = {"lite0": {4: 24, 8: 40, 16: 112, 32: 320}, "lite2": {4: 24, 8: 48, 16: 120, 32: 352}}
STAGES = {4: 1, 8: 2, 16: 4, 32: 6}
MEAN, STD = 0.498, 0.502  # of the trunks' own training, in 0..1
VOCABULARY = ASSETS / "nano" / "vocabulary.txt"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"


class Trunk(nn.Module):
    """EfficientNet-Lite up to the last stage that is asked for; returns one map per stride.

    `exact` makes it run in float32 under autocast too. Filters of the first stage subtract nearly equal values, and
    their batch norm multiplies the difference by up to 56. In fog neighbouring pixels hardly differ: half precision
    leaves rounding noise, and one pixel in ten gets another class. Training does not set it and keeps these maps, the
    largest of all, in half precision.

    Args:
        strides: of the maps to return, keys of `STAGES`.
        size: key of `TRUNKS`.
    """

    def __init__(self, strides: tuple[int, ...], size: str = "lite0"):
        super().__init__()
        net = timm.create_model(f"tf_efficientnet_{size}", pretrained=False)
        self.size, self.taps = size, {STAGES[s]: s for s in strides}
        self.stem = nn.Sequential(net.conv_stem, net.bn1)
        self.stages = net.blocks[: max(self.taps) + 1]
        self.exact = False

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Run the trunk.

        Args:
            x: (B, 3, H, W) float, normalised.

        Returns:
            {stride: (B, C, H / stride, W / stride)}.
        """
        with torch.autocast(x.device.type, enabled=False) if self.exact else nullcontext():
            x, maps = self.stem(x), {}
            for i, stage in enumerate(self.stages):
                x = stage(x)
                if i in self.taps:
                    maps[self.taps[i]] = x
        return maps


class NanoVision(VisionEncoder):
    """Hybrid ViT: the trunk's maps are brought to stride 16, each cell becomes one token, and pre-norm blocks follow.

    Input sides must be multiples of 32.

    Args:
        width: channels C of a token.
        depth: number of blocks.
        heads: of their attention.
        strides: of the trunk's maps that are read.
        trunk: its size, a key of `TRUNKS`.
    """

    patch, prefix = 16, 1

    def __init__(
        self,
        width: int = 192,
        depth: int = 6,
        heads: int = 6,
        strides: tuple[int, ...] = (4, 8, 16),
        trunk: str = "lite0",
    ):
        super().__init__()
        self.width, self.depth = width, depth
        self.trunk = Trunk(strides, trunk)
        channels = {s: TRUNKS[trunk][s] * max(1, self.patch // s) ** 2 for s in strides}
        self.lateral = nn.ModuleDict({str(s): nn.Conv2d(c, width, 1) for s, c in channels.items()})
        self.token_norm = nn.LayerNorm(width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_scale = nn.Parameter(torch.tensor(0.1))
        self.blocks = nn.ModuleList(Block(width, heads, qkv_bias=True, init_values=0.1) for _ in range(depth))
        self.final_norm = nn.LayerNorm(width)
        nn.init.normal_(self.cls_token, std=0.02)

    def cells(self, pixels: Tensor) -> Tensor:
        """Trunk features of every cell before the blocks.

        Args:
            pixels: (B, 3, H, W) float RGB 0..255.

        Returns:
            (B, C, h, w).
        """
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
        """See `VisionEncoder.for_inference`: batch norms are folded."""
        fold_batch_norms(self.trunk)

    def for_half_precision(self) -> list[nn.Module]:
        """See `VisionEncoder.for_half_precision`: the trunk stays in float32."""
        self.trunk.exact = True
        return [self.trunk]

    def stored_bits(self) -> dict[str, int]:
        """8 bits for the matrices of the blocks and the convolutions of the trunk's last two stages, by name.

        These are most of the weights. The stages before them stay exact, see `Trunk`.
        """
        late = tuple(f"trunk.stages.{i}." for i in range(STAGES[16] + 1, len(self.trunk.stages)))
        names = [n for n, t in self.state_dict().items() if t.ndim in (2, 4) and n.startswith(("blocks.", *late))]
        return dict.fromkeys(names, 8)

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """See `VisionEncoder.embed`."""
        return self.with_positions(self.cells(pixels))

    def with_positions(self, cells: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Add cls token and positions to cells.

        Args:
            cells: (B, C, h, w).

        Returns:
            Tokens (B, 1 + h*w, C), and the grid (h, w).
        """
        grid = cells.shape[-2:]
        tokens = self.token_norm(cells.flatten(2).transpose(1, 2))
        tokens = tokens + self.position_scale * _position(grid, self.width, tokens.device).to(tokens.dtype)
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1), tuple(grid)

    def block(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """See `VisionEncoder.block`."""
        return self.blocks[index](tokens)

    def norm(self, tokens: Tensor) -> Tensor:
        """See `VisionEncoder.norm`."""
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
    """NanoVision with a projection into the text space, and a text tower that was initialised from a sentence encoder.

    Args:
        width: channels C of a token.
        depth: number of blocks.
        heads: of their attention.
        strides: of the trunk's maps that are read.
        trunk: its size, a key of `TRUNKS`.
        embed_dim: channels C_t of the joint space.
        text_width: channels of the text tower.
        text_layers: its number of blocks.
        text_heads: of its attention.
        text_length: rows of its position table.
        pieces: entries of its vocabulary.
    """

    temperature = 0.05

    def __init__(
        self,
        width: int = 192,
        depth: int = 6,
        heads: int = 6,
        strides: tuple[int, ...] = (16, 32),
        trunk: str = "lite0",
        embed_dim: int = 384,
        text_width: int = 384,
        text_layers: int = 4,
        text_heads: int = 12,
        text_length: int = 48,
        pieces: int = 30522,
    ):
        super().__init__(width, depth, heads, strides, trunk)
        self.embed_dim = embed_dim
        self.head = nn.Linear(width, embed_dim)
        self.text = SentenceText(pieces, text_width, text_layers, text_heads, text_length, embed_dim)
        self._tokenizer = WordPieceTokenizer(VOCABULARY, text_length, VOCABULARY_SHA256)

    def dense(self, normed: Tensor) -> Tensor:
        """See `VisionLanguageEncoder.dense`."""
        return self.head(normed)

    def tokenize(self, texts: list[str], length: int | None = None) -> Tensor:
        """See `VisionLanguageEncoder.tokenize`."""
        return self._tokenizer(texts, length)

    def stored_bits(self) -> dict[str, int]:
        """Those of the vision tower and of the text tower: 4 bits for the table of word pieces, 8 for the blocks.

        The projection after them is kept exactly, and can make up for what they lose.
        """
        names = [n for n, t in self.state_dict().items() if n.startswith("text.blocks.") and t.ndim == 2]
        return super().stored_bits() | {"text.table.weight": 4, **dict.fromkeys(names, 8)}
