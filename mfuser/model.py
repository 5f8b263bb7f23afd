"""MFuser, the paper's Figure 2: two frozen encoders, fused block by block, read by a text-queried decoder.

Three streams share the encoders. "fused" passes both with the adapters between them; "vfm" and "vlm" pass one encoder
alone. Each stream has a head of its own. `mfuser.MFuser` is this network with ways to get and keep its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mfuser.config import Preset, encoders_of
from mfuser.decoder.class_texts import ClassTexts
from mfuser.decoder.head import MFuserOutput, SegmentationHead, Words
from mfuser.encoders.base import VisionEncoder, VisionLanguageEncoder, freeze
from mfuser.encoders.registry import ENCODERS
from mfuser.fusion.stack import CoAdapters
from mfuser.ops.linear import use_fast_products


@dataclass
class Features:
    """Encoder side of a stream: what a head reads, and the last tokens."""

    taps: list[Tensor]  # 4 x (B, C, g, g)
    visual: Tensor  # (B, 1 + g*g, C_t), or (B, 1 + g*g, C) of a VFM alone
    vfm: Tensor | None  # (B, L_d, C_d) after the last block
    vlm: Tensor | None  # (B, L_v, C_v) after the last block
    grid: tuple[int, int]  # (h, w) of the patches


# Called after each pair of blocks of the fused stream: (index, {"vfm": before, "vlm": before}, {... after}).
Recorder = Callable[[int, dict[str, Tensor], dict[str, Tensor]], None]
# {encoder: its tokens before block 0, and the patch grid}.
Embedded = dict[str, tuple[Tensor, tuple[int, int]]]
# One picture for both encoders, or one for each by name.
Pixels = Tensor | Mapping[str, Tensor]


class MFuserNetwork(nn.Module):
    """The three streams. Pixels are float RGB 0..255, which each encoder normalises itself.

    Args:
        preset: what to build.
        token_ids: (K, T) int64 of the class names, for a vocabulary that is not at hand.
        bare_encoders: make the encoders without memory, for weights that are loaded next.
    """

    def __init__(self, preset: Preset, token_ids: Tensor | None = None, bare_encoders: bool = False):
        super().__init__()
        self.preset = preset
        with torch.device("meta") if bare_encoders else nullcontext():
            self.vfm = freeze(ENCODERS[preset.vfm.family](**preset.vfm.options))
            self.vlm: VisionLanguageEncoder = freeze(ENCODERS[preset.vlm.family](**preset.vlm.options))
        self.fusion = CoAdapters(preset.fusion, self.vfm, self.vlm)
        channels = {"vfm": self.vfm.width, "vlm": self.vlm.width, "fused": self.vfm.width + self.vlm.width}
        self.heads = nn.ModuleDict(
            {
                stream: SegmentationHead(
                    channels[stream],
                    self.vlm.embed_dim,
                    self.vlm.text.width,
                    len(preset.classes),
                    preset.decoder,
                    visual_width=self.vfm.width if stream == "vfm" else None,
                )
                for stream in preset.streams
            }
        )
        self.class_texts = ClassTexts(preset.classes, preset.decoder.class_tokens, self.vlm, token_ids)
        self.temperatures = dict.fromkeys(preset.streams, 1.0)  # of the confidence, fitted after training
        use_fast_products(self)

    def forward(
        self, pixels: Pixels, stream: str = "fused", record: Recorder | None = None, words: Words | None = None
    ) -> MFuserOutput:
        """Predictions of one stream.

        Args:
            pixels: (B, 3, H, W) float RGB 0..255; see `embed`.
            stream: "vfm", "vlm" or "fused".
            record: called after each pair of blocks of the fused stream.
            words: other names than the trained classes; see `decode`.
        """
        return self.decode(self.features(self.embed(pixels, stream), stream, record), stream, words)

    def embed(self, pixels: Pixels, stream: str = "fused") -> Embedded:
        """Tokens entering block 0 of each encoder of a stream. They are the same for a stream alone and fused.

        Args:
            pixels: (B, 3, H, W) float RGB 0..255 for both encoders, or {"vfm": ..., "vlm": ...} of one size. Sides are
                multiples of `preset.divisor` where the preset is exact. Otherwise pixels beyond whole patches are not
                seen, as in the released code's 512-pixel windows with patches of 14.
            stream: "vfm", "vlm" or "fused".

        Raises:
            ValueError: other sides, or a picture that is missing.
        """
        given = pixels if isinstance(pixels, Mapping) else dict.fromkeys(encoders_of(stream), pixels)
        if lacking := [name for name in encoders_of(stream) if name not in given]:
            raise ValueError(f"The stream {stream!r} needs pixels for {lacking[0]!r} too, got {', '.join(given)}.")
        shown = {name: given[name] for name in encoders_of(stream)}
        for picture in shown.values():
            self.preset.check_sides(*picture.shape[-2:])
        with torch.no_grad():
            return {name: getattr(self, name).embed(picture) for name, picture in shown.items()}

    def features(self, embedded: Embedded, stream: str = "fused", record: Recorder | None = None) -> Features:
        """Run the encoders of a stream from the tokens of `embed`.

        Args:
            embedded: tokens and grid of each encoder, from `embed`.
            stream: "vfm", "vlm" or "fused".
            record: called after each pair of blocks of the fused stream.
        """
        return self._fused(embedded, record) if stream == "fused" else self._alone(embedded, stream)

    @torch.no_grad()
    def _alone(self, embedded: Embedded, stream: str) -> Features:
        encoder: VisionEncoder = getattr(self, stream)
        (tokens, grid), side = embedded[stream], ("vfm", "vlm").index(stream)
        ends = [pair[side] for pair in self.fusion.pairs]
        tap_blocks, taps = {ends[t] for t in self.preset.taps}, []
        for i in range(encoder.depth):
            tokens = encoder.block(i, tokens, grid)
            if i in tap_blocks:
                taps.append(encoder.to_map(tokens, grid))
        normed = encoder.norm(tokens)
        if stream == "vlm":
            return Features(taps, self.vlm.dense(normed), None, tokens, grid)
        return Features(taps, normed, tokens, None, grid)

    def _fused(self, embedded: Embedded, record: Recorder | None) -> Features:
        (d, grid), (v, vlm_grid) = embedded["vfm"], embedded["vlm"]
        if grid != vlm_grid:
            raise ValueError(f"The encoders' patch grids differ, {grid} and {vlm_grid}: choose equal patch sizes.")
        taps, i, j = [], 0, 0
        for index, (end_vfm, end_vlm) in enumerate(self.fusion.pairs):
            for i in range(i, end_vfm + 1):  # noqa: B020  equation 1
                d = self.vfm.block(i, d, grid)
            for j in range(j, end_vlm + 1):  # noqa: B020
                v = self.vlm.block(j, v, grid)
            i, j = end_vfm + 1, end_vlm + 1
            to_d, to_v = self.fusion(index, d, v, grid)  # equation 2
            before = {"vfm": d, "vlm": v}
            d, v = d + to_d, v + to_v  # equation 3
            if record is not None:
                record(index, before, {"vfm": d, "vlm": v})
            if index in self.preset.taps:
                taps.append(torch.cat([self.vfm.to_map(d, grid), self.vlm.to_map(v, grid)], dim=1))
        return Features(taps, self._joint_embedding(d, v), d, v, grid)

    def _joint_embedding(self, d: Tensor, v: Tensor) -> Tensor:
        """Dense visual embedding of both streams in the text space, (B, 1 + g*g, C_t)."""
        extra = self.vfm.prefix - self.vlm.prefix  # a VLM without cls token meets the VFM's patches only
        if self.fusion.joint is not None:
            return self.vlm.dense(self.vlm.norm(v + self.fusion.joint(d[:, extra:])))
        return self.vlm.dense(self.vlm.norm(v) + self.vfm.norm(d)[:, extra:])

    def decode(self, features: Features, stream: str, words: Words | None = None) -> MFuserOutput:
        """Run a stream's head.

        Args:
            features: of `features`.
            stream: "vfm", "vlm" or "fused".
            words: names of the user's own (experimental, `mfuser.inference.open_vocabulary`); None: trained classes.

        Raises:
            ValueError: the preset has no head for the stream.
        """
        if stream not in self.heads:
            raise ValueError(f"Preset {self.preset.name!r} has no trained decoder for {stream!r}.")
        text, mix = (self.class_text(stream), None) if words is None else (words.text, words.mix)
        return self.heads[stream](features.taps, text, features.visual, mix)

    def class_text(self, stream: str) -> Tensor:
        """Class embeddings of the prompt-tuned text tower, (K, C_t)."""
        return self.class_texts(stream, self.vlm, self.heads[stream].prompts)

    def alignment_logits(self, score_map: Tensor) -> Tensor:
        """Score map (cosines) as logits of the pixel-text alignment loss."""
        return score_map / self.vlm.temperature
