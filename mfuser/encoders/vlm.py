"""The paper's vision-language models, with weights in open_clip's layout: EVA02-CLIP, CLIP and SigLIP.

Each is taken apart the same way. Where the released code differs from open_clip or timm, this file follows the released
code, and a comment says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import open_clip
import timm
import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import LayerNorm, QuickGELU, TextTransformer, VisionTransformer
from torch import Tensor, nn

from mfuser.encoders.base import OPENAI_MEAN, OPENAI_STD, VisionLanguageEncoder, normalise
from mfuser.encoders.resample import fit_grid, resample_positions
from mfuser.encoders.text import PromptedText
from mfuser.encoders.vocabulary import SigLIPTokenizer


class OpenCLIPEncoder(VisionLanguageEncoder):
    """What the three families share.

    Args:
        model: open_clip's name.
        patch: side of a patch in pixels.
        grid: patches per side of the stored position table. Other grids interpolate it.
        vision: changes of the vision tower's arguments, for example depth.
        text: changes of the text tower's arguments.
        embed_dim: channels C_t of the joint space; None for open_clip's.
    """

    mean, std = OPENAI_MEAN, OPENAI_STD
    kernel_mode = position_mode = "bilinear"  # interpolation of public weights at other sizes
    kernel, positions = "trunk.patch_embed.proj.weight", "trunk.pos_embed"  # names in the state
    activation: Any = nn.GELU  # of the text tower

    def __init__(
        self,
        model: str,
        patch: int,
        grid: int,
        vision: Mapping[str, Any] | None = None,
        text: Mapping[str, Any] | None = None,
        embed_dim: int | None = None,
    ):
        super().__init__()
        config = open_clip.get_model_config(model)
        self.patch, self.grid, self.embed_dim = patch, grid, embed_dim or config["embed_dim"]
        self.trunk = self.build_trunk({**config["vision_cfg"], **(vision or {})}, dict(vision or {}))
        options = {**config["text_cfg"], **(text or {})}
        eps = options.pop("norm_kwargs", {}).get("eps", 1e-5)
        self._tokenizer = self.build_tokenizer(options.pop("hf_tokenizer_name", None), options["context_length"])
        options.pop("tokenizer_kwargs", None)
        tower = TextTransformer(
            output_dim=self.embed_dim, act_layer=self.activation, norm_layer=partial(LayerNorm, eps=eps), **options
        )
        self.text = PromptedText(tower)

    def build_trunk(self, config: Mapping[str, Any], changes: dict[str, Any]) -> nn.Module:
        """The vision tower, its head a projection to the joint space.

        Args:
            config: open_clip's configuration of the vision tower, with the changes.
            changes: the changes alone, which timm takes as arguments.
        """
        return timm.create_model(
            config["timm_model_name"],
            pretrained=False,
            img_size=self.patch * self.grid,
            patch_size=self.patch,
            **{"num_classes": self.embed_dim, **changes},
        )

    def build_tokenizer(self, name: str | None, length: int) -> Any:
        """The tokenizer.

        Args:
            name: of a vocabulary on the hub, or None.
            length: tokens of a text.
        """
        return SimpleTokenizer(context_length=length)

    def tokenize(self, texts: list[str], length: int | None = None) -> Tensor:
        """See `VisionLanguageEncoder.tokenize`."""
        return self._tokenizer(texts, context_length=length or self.text.positions)

    def to_patches(self, pixels: Tensor, conv: nn.Module) -> tuple[Tensor, tuple[int, int]]:
        """Normalise pixels and embed their patches. A remainder of less than a patch is not seen.

        Args:
            pixels: (B, 3, H, W) float RGB 0..255.
            conv: the patch embedding.

        Returns:
            (B, h*w, C), and the grid (h, w).
        """
        x = conv(normalise(pixels, self.mean, self.std))
        return x.flatten(2).transpose(1, 2), tuple(x.shape[-2:])

    def places(self, table: Tensor, grid: tuple[int, int]) -> Tensor:
        """Position table at a grid.

        Args:
            table: (prefix + n*n, C).
            grid: (h, w).

        Returns:
            (prefix + h*w, C).
        """
        return resample_positions(table, grid, self.prefix, self.position_mode)

    def from_public(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename a public checkpoint's tensors.

        Args:
            state: open_clip's checkpoint of both towers.

        Returns:
            The state of this encoder, at its patch and grid.
        """
        kept = {}
        for name, tensor in state.items():
            if name in ("logit_scale", "logit_bias") or name.startswith("visual.trunk.rope."):
                continue
            own = name.removeprefix("visual.trunk.").removeprefix("visual.")
            of_text = own == name
            kept["text.tower." + name.removeprefix("text.") if of_text else "trunk." + own] = tensor
        return fit_grid(kept, self.kernel, self.positions, self, self.kernel_mode, self.position_mode)


class EVA02CLIP(OpenCLIPEncoder):
    """EVA02-CLIP (Sun et al. 2023): sub-LayerNorm, SwiGLU, and rotary positions besides the learned ones."""

    prefix = 1
    position_mode = "bicubic"
    span = 16  # rotary positions run from 0 to 16 across any grid, the grid of pre-training

    def build_trunk(self, config: Mapping[str, Any], changes: dict[str, Any]) -> nn.Module:
        """See `OpenCLIPEncoder.build_trunk`."""
        trunk = super().build_trunk(config, changes)
        trunk.rope = None  # its table is made for one grid
        self.width, self.depth = trunk.embed_dim, len(trunk.blocks)
        return trunk

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """See `VisionEncoder.embed`."""
        tokens, grid = self.to_patches(pixels, self.trunk.patch_embed.proj)
        cls = self.trunk.cls_token.to(tokens.dtype).expand(len(tokens), -1, -1)
        return torch.cat([cls, tokens], dim=1) + self.places(self.trunk.pos_embed[0], grid).to(tokens.dtype), grid

    def block(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """See `VisionEncoder.block`."""
        block = self.trunk.blocks[index]
        rows = getattr(block.attn, "table_prefix", 0)  # timm's attention takes no rows for the class token
        return block(tokens, rope=rotary_table(grid, block.attn.head_dim, self.span, tokens.device, rows))

    def norm(self, tokens: Tensor) -> Tensor:
        """See `VisionEncoder.norm`."""
        return self.trunk.norm(tokens)

    def dense(self, normed: Tensor) -> Tensor:
        """See `VisionLanguageEncoder.dense`."""
        return self.trunk.head(normed)


@lru_cache(maxsize=8)
def rotary_table(grid: tuple[int, int], width: int, span: int, device: torch.device, prefix: int = 0) -> Tensor:
    """Sines and cosines of rotary positions.

    The first half of a head's channels turns with the row, the second half with the column. Neighbouring channels form
    a pair. The rows of the prefix do not turn.

    Args:
        grid: (h, w) of the patches.
        width: channels of a head.
        span: positions run from 0 to this across any grid.
        device: of the result.
        prefix: rows before those of the patches.

    Returns:
        (prefix + h*w, 2 * width) float32, sines then cosines.
    """
    with torch.inference_mode(False):  # a cached inference tensor could not take part in training
        half = width // 2
        frequency = 1 / 10000 ** (torch.arange(0, half, 2, device=device).float() / half)

        def angles(n: int) -> Tensor:
            place = torch.arange(n, device=device) / n * span
            return (place[:, None] * frequency).repeat_interleave(2, dim=-1)  # (n, half)

        h, w = grid
        rows, columns = angles(h)[:, None].expand(h, w, half), angles(w)[None].expand(h, w, half)
        angle = F.pad(torch.cat([rows, columns], dim=-1).flatten(0, 1), (0, 0, prefix, 0))
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class CLIP(OpenCLIPEncoder):
    """CLIP (Radford et al. 2021) with its QuickGELU. As released, the class embedding counts twice."""

    prefix = 1
    kernel, positions = "trunk.conv1.weight", "trunk.positional_embedding"
    activation = QuickGELU

    def build_trunk(self, config: Mapping[str, Any], changes: dict[str, Any]) -> nn.Module:
        """See `OpenCLIPEncoder.build_trunk`."""
        self.width, self.depth = config["width"], config["layers"]
        return VisionTransformer(
            image_size=self.patch * self.grid,
            patch_size=self.patch,
            width=self.width,
            layers=self.depth,
            heads=self.width // config.get("head_width", 64),
            mlp_ratio=config.get("mlp_ratio", 4.0),
            output_dim=self.embed_dim,
            act_layer=QuickGELU,
        )

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """See `VisionEncoder.embed`."""
        tokens, grid = self.to_patches(pixels, self.trunk.conv1)
        places = self.places(self.trunk.positional_embedding, grid)
        cls = self.trunk.class_embedding + (places[:1] + self.trunk.class_embedding)  # twice, as released
        cls = cls.to(tokens.dtype).expand(len(tokens), 1, -1)
        return self.trunk.ln_pre(torch.cat([cls, tokens + places[1:].to(tokens.dtype)], dim=1)), grid

    def block(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """See `VisionEncoder.block`."""
        return self.trunk.transformer.resblocks[index](tokens)

    def norm(self, tokens: Tensor) -> Tensor:
        """See `VisionEncoder.norm`."""
        return self.trunk.ln_post(tokens)

    def dense(self, normed: Tensor) -> Tensor:
        """See `VisionLanguageEncoder.dense`."""
        return normed @ self.trunk.proj


class SigLIP(OpenCLIPEncoder):
    """SigLIP (Zhai et al. 2023), without class token.

    Its attention pooling gives the global embedding and, applied to every patch, the dense embeddings, as released.
    Both towers use tanh GELU, which timm and open_clip do not set.
    """

    prefix = 0
    mean = std = (0.5, 0.5, 0.5)
    default_scale = 4.7  # logarithm; about what public weights have learned, and the authors' checkpoints leave out
    activation = partial(nn.GELU, approximate="tanh")

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.register_buffer("logit_scale", torch.tensor(self.default_scale))

    @property
    def temperature(self) -> Tensor:
        """Temperature of the cosines, 0-d. The bias of SigLIP's logits cancels in a softmax over the classes."""
        return torch.exp(-self.logit_scale)

    def build_trunk(self, config: Mapping[str, Any], changes: dict[str, Any]) -> nn.Module:
        """See `OpenCLIPEncoder.build_trunk`."""
        trunk = super().build_trunk(config, {"num_classes": 0, "act_layer": "gelu_tanh", **changes})
        self.width, self.depth = trunk.embed_dim, len(trunk.blocks)
        return trunk

    def build_tokenizer(self, name: str | None, length: int) -> Any:
        """See `OpenCLIPEncoder.build_tokenizer`."""
        return SigLIPTokenizer(name, length)

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """See `VisionEncoder.embed`."""
        tokens, grid = self.to_patches(pixels, self.trunk.patch_embed.proj)
        tokens = tokens.contiguous()  # sums keep the layout of their first term: all blocks would add across rows
        return tokens + self.places(self.trunk.pos_embed[0], grid).to(tokens.dtype), grid

    def block(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """See `VisionEncoder.block`."""
        return self.trunk.blocks[index](tokens)

    def norm(self, tokens: Tensor) -> Tensor:
        """See `VisionEncoder.norm`."""
        return self.trunk.norm(tokens)

    def dense(self, normed: Tensor) -> Tensor:
        """See `VisionLanguageEncoder.dense`."""
        pool = self.trunk.attn_pool
        k, v = pool.kv(normed).unflatten(-1, (2, pool.num_heads, -1)).permute(2, 0, 3, 1, 4)
        probe = pool.latent.to(normed.dtype).expand(len(normed), -1, -1)
        q = pool.q(torch.cat([probe, normed], dim=1)).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
        x = pool.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # (B, 1 + h*w, C)
        return x + pool.mlp(pool.norm(x))

    def vocabulary_is_here(self) -> bool:
        """See `VisionLanguageEncoder.vocabulary_is_here`."""
        return self._tokenizer.here()

    def fits(self, text: str, length: int) -> bool:
        """See `VisionLanguageEncoder.fits`."""
        return self._tokenizer.count(text) <= length

    def from_public(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `OpenCLIPEncoder.from_public`. The logit scale is kept where it is there."""
        own = super().from_public(state)
        if "logit_scale" in state:
            own["logit_scale"] = state["logit_scale"].reshape(())
        return own
