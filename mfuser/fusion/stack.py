"""The co-adapters between two encoders: which blocks meet, and what crosses over (paper equations 1-3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mfuser.config import FusionConfig
from mfuser.encoders.base import VisionEncoder
from mfuser.fusion.alternatives import ADAPTERS, Grid
from mfuser.fusion.mvfuser import MVFuser


class CoAdapters(nn.Module):
    """One adapter per pair of blocks: MVFuser, or what `config.kind` names in `alternatives.ADAPTERS`.

    Encoders of different depth are paired evenly. Where the widths differ, the VFM's tokens pass a linear layer before
    the adapter, and their offsets another one after it.

    Args:
        config: of the fusion.
        vfm: the vision foundation model.
        vlm: the vision-language model. The adapters have its width.

    Raises:
        ValueError: unknown kind.
    """

    def __init__(self, config: FusionConfig, vfm: VisionEncoder, vlm: VisionEncoder):
        super().__init__()
        if config.kind not in ADAPTERS:
            raise ValueError(f"Unknown fusion {config.kind!r}; choose one of {', '.join(ADAPTERS)}.")
        self.pairs = pair_blocks(vfm.depth, vlm.depth)
        n, width = len(self.pairs), vlm.width
        self.adapters = nn.ModuleList(ADAPTERS[config.kind](width, config) for _ in range(n))
        projections = config.projections or vfm.width != width
        self.vfm_in = nn.ModuleList(nn.Linear(vfm.width, width) for _ in range(n)) if projections else None
        self.vfm_out = nn.ModuleList(nn.Linear(width, vfm.width) for _ in range(n)) if projections else None
        self.joint = None
        if config.joint == "projected":
            self.joint = nn.Linear(vfm.width, width)
            nn.init.zeros_(self.joint.weight)  # the dense embedding starts as the VLM's own
            nn.init.zeros_(self.joint.bias)

    def forward(self, index: int, vfm: Tensor, vlm: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """Offsets to add after one pair of blocks (paper equation 2).

        Args:
            index: of the pair.
            vfm: (B, L_d, C_d) tokens after their block.
            vlm: (B, L_v, C_v) tokens after their block.
            grid: (h, w) of the patches, which are the last h*w tokens of each encoder.

        Returns:
            (B, L_d, C_d) for the VFM and (B, L_v, C_v) for the VLM.
        """
        own = vfm if self.vfm_in is None else self.vfm_in[index](vfm)
        lengths = (vfm.shape[1], vlm.shape[1])
        adapter = self.adapters[index]
        if isinstance(adapter, MVFuser) and adapter.scale is None:  # one copy of the tokens instead of two
            to_vfm, to_vlm = adapter.folded([own, vlm])
        else:
            offsets = adapter(torch.cat([own, vlm], dim=1), lengths, grid)  # VFM tokens first
            to_vfm, to_vlm = offsets.split(lengths, dim=1)
        return (to_vfm if self.vfm_out is None else self.vfm_out[index](to_vfm)), to_vlm


def pair_blocks(vfm_depth: int, vlm_depth: int) -> list[tuple[int, int]]:
    """Pair the blocks of two encoders evenly.

    Args:
        vfm_depth: number of blocks of the VFM.
        vlm_depth: number of blocks of the VLM.

    Returns:
        Indices (vfm, vlm) of the blocks after which an adapter acts: as many pairs as the shallower encoder has
        blocks. The last pair joins both last blocks.
    """
    n = min(vfm_depth, vlm_depth)
    return [((i + 1) * vfm_depth // n - 1, (i + 1) * vlm_depth // n - 1) for i in range(n)]
