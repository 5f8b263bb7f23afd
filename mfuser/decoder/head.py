"""Everything that is trained for one stream besides the adapters: prompts, text enhancer, pyramid and two decoders."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.config import DecoderConfig
from mfuser.decoder.pixel_decoder import PixelDecoder
from mfuser.decoder.pyramid import FeaturePyramid, Upsampled
from mfuser.decoder.query_decoder import QueryDecoder
from mfuser.fusion.mtenhancer import MTEnhancer


@dataclass(frozen=True)
class Words:
    """Texts and positions of N class names that the decoder was not trained for."""

    text: Tensor  # (N, C_t) embeddings of the prompt-tuned tower
    mix: Tensor  # (N, K) weights of the trained positions, each row sums to 1


@dataclass
class MFuserOutput:
    """The result of one forward pass of a stream.

    P is the number of predictions: one before any decoder layer, one after each.
    """

    class_logits: list[Tensor]  # P x (B, K, K+1), last column "no object"
    mask_logits: list[Tensor]  # P x (B, K, h, w), h = 4 x patch grid
    score_map: Tensor  # (B, K, g, g) cosine of dense visual embedding and enhanced class text
    text: Tensor  # (B, K, C_t) enhanced class embeddings
    visual: Tensor  # (B, 1 + g*g, C_t) visual embeddings, the global one first
    levels: list[Tensor | Upsampled]  # see `pyramid`
    # Whether the queries are N names of the user's own (`mfuser.inference.open_vocabulary`). The columns of the class
    # logits are still the K trained classes; they then count as "something" or "no object" only.
    named: bool = False

    @property
    def pyramid(self) -> list[Tensor]:
        """The feature pyramid, 4 maps (B, C, ., .), finest first.

        Without gradients the first two are computed here, as nothing else needs them.
        """
        return [level.tensor() if isinstance(level, Upsampled) else level for level in self.levels]

    def semantic(self) -> Tensor:
        """Class scores of the last prediction.

        Returns:
            (B, K, h, w) float32. A score is a sum over the queries in [0, K), not a probability. With `named` it is
            (B, N, h, w) in [0, 1]: the query's mask times the probability that it is not "no object".
        """
        classes = self.class_logits[-1].float().softmax(-1)[..., :-1]
        if self.named:
            return classes.sum(-1)[..., None, None] * self.mask_logits[-1].float().sigmoid()
        return torch.einsum("bqk, bqhw -> bkhw", classes, self.mask_logits[-1].float().sigmoid())


class SegmentationHead(nn.Module):
    """The trained part of one stream: from taps, class texts and visual embeddings to predictions.

    Args:
        channels: of the taps.
        text_dim: channels C_t of the joint text-image space.
        text_width: of the text tower, where prompts are inserted.
        classes: number K of trained classes.
        config: sizes of the decoders.
        visual_width: channels of an encoder without text space. A trained projection brings its tokens to C_t. None
            when the visual embeddings come in C_t already.
    """

    def __init__(
        self,
        channels: int,
        text_dim: int,
        text_width: int,
        classes: int,
        config: DecoderConfig,
        visual_width: int | None = None,
    ):
        super().__init__()
        c = config
        self.prompts = nn.Parameter(torch.empty(1, c.prompts, text_width))
        self.text_scale = nn.Parameter(torch.empty(text_dim))
        nn.init.trunc_normal_(self.prompts, std=c.prompt_std)
        nn.init.trunc_normal_(self.text_scale, std=c.text_scale_std)
        self.visual_proj = None if visual_width is None else nn.Linear(visual_width, text_dim)
        self.enhancer = MTEnhancer(text_dim, c.enhancer_width, c.enhancer_heads)
        self.pyramid = FeaturePyramid(channels)
        self.pixel_decoder = PixelDecoder(
            channels, c.width, text_dim, classes, c.pixel_layers, c.heads, c.pixel_ffn, c.points, c.norm_groups
        )
        self.query_decoder = QueryDecoder(c.width, text_dim, classes, c.query_layers, c.heads, c.query_ffn)

    def for_inference(self) -> None:
        """Prepare for speed, in place; the head can no longer be trained or saved."""
        decoder = self.pixel_decoder
        if self.pyramid.up2 is not None:
            fine, coarse = decoder.lateral_conv, decoder.input_convs[-1]  # they read the pyramid at 4g and at 2g
            fine.conv, coarse.conv = self.pyramid.fold(fine.conv, coarse.conv)

    def forward(self, taps: list[Tensor], text: Tensor, visual: Tensor, mix: Tensor | None = None) -> MFuserOutput:
        """Predict masks.

        Args:
            taps: 4 maps (B, C, g, g), shallowest first.
            text: (K, C_t) class embeddings.
            visual: (B, 1 + g*g, C_t or visual_width), the global embedding first.
            mix: (N, K) when `text` is of N other names: how their positions are mixed from the trained ones.
        """
        if self.visual_proj is not None:
            visual = self.visual_proj(visual)
        grid = taps[0].shape[-2:]
        text = text.expand(len(visual), -1, -1)
        text = text + self.text_scale * self.enhancer(text, visual)
        classes, patches = F.normalize(text.float(), dim=-1), F.normalize(visual[:, 1:].float(), dim=-1)
        score_map = torch.einsum("bkc, blc -> bkl", classes, patches).unflatten(-1, tuple(grid))
        pyramid = self.pyramid(taps, defer=not torch.is_grad_enabled())
        memories, mask_features = self.pixel_decoder(pyramid, text, mix)
        class_logits, mask_logits = self.query_decoder(text, memories, mask_features, mix)
        return MFuserOutput(class_logits, mask_logits, score_map, text, visual, pyramid, named=mix is not None)
