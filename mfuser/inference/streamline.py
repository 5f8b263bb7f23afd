"""Change a model for inference in half precision on CUDA: the same function in fewer kernels and passes over memory.

Under autocast a norm casts its input to float32 and its parameters keep its output there, so that every product after
it casts once more. Scales in float32 lift whole token streams to float32.
Here norms keep the dtype of their input (the kernels compute in float32 inside). Scales are folded into the products
before them. Products that share an input become one product. Widths that make slow products are padded.
The keys of the state dict change: a prepared model serves inference alone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.encoders.streamlined import LAYER_NORMS, streamline_parts
from mfuser.fusion.mvfuser import MVFuser
from mfuser.inference.precision import store_weights
from mfuser.ops import fused_steps

if TYPE_CHECKING:
    from mfuser.encoders.base import VisionEncoder
    from mfuser.loading import MFuser


def lower(model: MFuser, device: torch.device, dtype: torch.dtype) -> None:
    """Prepare a model for inference in half precision, in place. It can no longer be trained or saved.

    On CUDA it runs `streamline` and the trusted fused kernels. On every device it stores the weights of products in
    `dtype`. Safe to call again.

    Args:
        model: the network.
        device: where it runs.
        dtype: the half precision.
    """
    for stream in model.heads if model.class_ids is not None else ():
        model.class_text(stream)  # before weights are rounded: they are computed once, and so exactly
    if device.type == "cuda":
        model.for_inference()
        streamline(model, dtype, skip=model.vlm.text)
        fused_steps.trust(device)
    store_weights(model, dtype)


def streamline(model: nn.Module, dtype: torch.dtype, skip: nn.Module | None = None) -> None:
    """Prepare every module for half precision, in place. Safe to call again.

    Args:
        model: the network, or a part of it.
        dtype: in which norms keep their parameters. Products are rounded by `precision.store_weights` afterwards.
        skip: a module that is left alone with all of its parts.
    """
    left = set() if skip is None else set(skip.modules())
    for module in [m for m in model.modules() if m not in left]:
        streamline_parts(module)
        if isinstance(module, MVFuser):
            module.fold_scales()
    for module in [m for m in model.modules() if m not in left]:
        if type(module) in LAYER_NORMS:
            module.__class__ = LayerNorm
        elif type(module) is nn.GroupNorm:
            module.__class__ = GroupNorm
        elif type(module) is nn.MultiheadAttention and Attention.can_be(module):
            module.__class__ = Attention
        if isinstance(module, (LayerNorm, GroupNorm)):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)


def native(x: Tensor) -> AbstractContextManager:
    """Context in which an operator keeps the dtype of x where autocast would take float32."""
    return torch.autocast(x.device.type, enabled=False)


class LayerNorm(nn.LayerNorm):
    """nn.LayerNorm in the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Args as nn.LayerNorm; returns the dtype of x."""
        weight, bias = (None if p is None else p.to(x.dtype) for p in (self.weight, self.bias))
        with native(x):
            return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm in the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Args as nn.GroupNorm; returns the dtype of x."""
        weight, bias = (None if p is None else p.to(x.dtype) for p in (self.weight, self.bias))
        with native(x):
            return F.group_norm(x, self.num_groups, weight, bias, self.eps)


class Attention(nn.MultiheadAttention):
    """nn.MultiheadAttention over (B, L, C) without its transposes and copies. No dropout; no weights are returned."""

    @staticmethod
    def can_be(module: nn.MultiheadAttention) -> bool:
        """True for a module that this class computes: batch first, equal widths, no extra keys."""
        plain = module.bias_k is None and module.bias_v is None and not module.add_zero_attn
        return plain and module.batch_first and module._qkv_same_embed_dim

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """Attention of `query` over `key` and `value`.

        Args:
            query: (B, L, C).
            key: (B, S, C).
            value: (B, S, C).
            key_padding_mask: not supported; put it into attn_mask.
            need_weights: not looked at; weights are never returned.
            attn_mask: (L, S), (1, L, S) or (B * heads, L, S). A bool mask is true where a query must not look; a float
                mask is added to the scores.
            average_attn_weights: not looked at.
            is_causal: not supported; put it into attn_mask.

        Returns:
            (B, L, C), and None in place of the weights.

        Raises:
            ValueError: key_padding_mask or is_causal is given.
        """
        if key_padding_mask is not None or is_causal:
            raise ValueError("Streamlined attention takes neither key_padding_mask nor is_causal: pass attn_mask.")
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if query is key and key is value:
            parts = F.linear(query, weight, bias).chunk(3, dim=-1)
        else:
            weights, biases = weight.chunk(3), (None,) * 3 if bias is None else bias.chunk(3)
            parts = (F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in parts)
        if attn_mask is not None:
            if attn_mask.ndim == 3:
                attn_mask = attn_mask[None] if len(attn_mask) == 1 else attn_mask.unflatten(0, (-1, self.num_heads))
            attn_mask = ~attn_mask if attn_mask.dtype == torch.bool else attn_mask.to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self.out_proj(y.transpose(1, 2).flatten(2)), None


def compile_blocks(model: MFuser, dynamic: bool | None = None) -> None:
    """Let torch.compile fuse what lies between the products of every encoder block, in place, at the first pass.

    Args:
        model: the network.
        dynamic: as for `torch.compile`. None compiles a second graph, for any size, when a second size comes.

    Raises:
        ValueError: an encoder keeps its blocks in no list.
    """
    for block in blocks_of(model):
        block.compile(dynamic=dynamic)


def blocks_of(model: MFuser) -> list[nn.Module]:
    """The transformer blocks of both vision towers.

    Args:
        model: the network.

    Raises:
        ValueError: an encoder keeps its blocks in no list.
    """
    return [block for encoder in (model.vfm, model.vlm) for block in _blocks_of(encoder)]


def _blocks_of(encoder: VisionEncoder) -> list[nn.Module]:
    for name, module in encoder.named_modules():
        held = isinstance(module, (nn.ModuleList, nn.Sequential)) and not name.startswith("text")
        if held and len(module) == encoder.depth and hasattr(module[0], "attn"):
            return list(module)
    raise ValueError(f"{type(encoder).__name__} keeps its blocks in no list: they cannot be compiled one by one.")
