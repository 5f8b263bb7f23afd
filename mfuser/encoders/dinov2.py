"""DINOv2 (Oquab et al. 2023) from timm, without registers: the paper's vision foundation model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor

from mfuser.encoders.base import OPENAI_MEAN, OPENAI_STD, VisionEncoder, normalise
from mfuser.encoders.resample import fit_grid, resample_positions

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DINOv2(VisionEncoder):
    """timm's ViT taken apart.

    Args:
        model: timm's name.
        patch: side of a patch in pixels. For another side than 14 the kernel is resampled when public weights are
            loaded.
        grid: patches per side of the stored position table. Other grids interpolate it (bicubic).
        changes: of timm's arguments, for example depth.
    """

    prefix = 1

    def __init__(self, model: str = "vit_large_patch14_dinov2", patch: int = 14, grid: int = 36, **changes: Any):
        super().__init__()
        self.trunk = timm.create_model(
            model, pretrained=False, num_classes=0, img_size=patch * grid, patch_size=patch, **changes
        )
        self.patch, self.grid = patch, grid
        self.width, self.depth = self.trunk.embed_dim, len(self.trunk.blocks)

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """See `VisionEncoder.embed`."""
        # By way of CLIP's normalisation, as released: the detour rounds, and 24 fused blocks amplify what is rounded.
        pixels = normalise(normalise(pixels, OPENAI_MEAN, OPENAI_STD), OPENAI_MEAN, OPENAI_STD, inverse=True)
        x = self.trunk.patch_embed.proj(normalise(pixels, MEAN, STD))  # a rest of less than a patch is not seen
        grid = tuple(x.shape[-2:])
        tokens = x.flatten(2).transpose(1, 2)  # (B, h*w, C)
        places = resample_positions(self.trunk.pos_embed[0], grid, self.prefix, "bicubic").to(x.dtype)
        cls = self.trunk.cls_token.to(x.dtype).expand(len(x), -1, -1)
        return torch.cat([cls, tokens], dim=1) + places, grid

    def block(self, index: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """See `VisionEncoder.block`."""
        return self.trunk.blocks[index](tokens)

    def norm(self, tokens: Tensor) -> Tensor:
        """See `VisionEncoder.norm`."""
        return self.trunk.norm(tokens)

    def from_public(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename a public checkpoint's tensors.

        Args:
            state: timm's or the authors' checkpoint of DINOv2.

        Returns:
            The state of this encoder, without the mask token, at this encoder's patch and grid.
        """
        kept = {f"trunk.{name}": t for name, t in state.items() if name != "mask_token"}
        return fit_grid(kept, "trunk.patch_embed.proj.weight", "trunk.pos_embed", self, "bicubic", "bicubic")
