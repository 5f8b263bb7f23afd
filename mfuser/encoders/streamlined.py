"""Parts of timm's and open_clip's vision towers, rewritten for fewer kernels and passes over memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.transformer import LayerNorm as OpenCLIPLayerNorm
from open_clip.transformer import QuickGELU, ResidualAttentionBlock
from timm.layers import LayerNorm as TimmLayerNorm
from timm.layers import SwiGLU
from timm.models.eva import EvaAttention
from timm.models.vision_transformer import Block, LayerScale
from torch import Tensor, nn

from mfuser.ops import fused_steps

LAYER_NORMS = (nn.LayerNorm, TimmLayerNorm, OpenCLIPLayerNorm)
MULTIPLE = 8  # half-precision products run at full speed when every row starts at 16 bytes


def streamline_parts(module: nn.Module) -> None:
    """Rewrite one module for speed, in place.

    Scales and QuickGELU of a block are folded into its products. Among its children, attention and SwiGLU of EVA02 are
    replaced. Grandchildren are left to further calls.

    Args:
        module: any module.
    """
    if isinstance(module, Block):
        fold_layer_scales(module)
    elif isinstance(module, ResidualAttentionBlock):
        fold_quick_gelu(module.mlp)
    for name, child in list(module.named_children()):
        if type(child) is EvaAttention and RotaryAttention.can_be(child):
            setattr(module, name, RotaryAttention(child))
        elif type(child) is SwiGLU and PaddedSwiGLU.can_be(child):
            setattr(module, name, PaddedSwiGLU(child))


def fold_layer_scales(block: Block) -> None:
    """Fold the learned scale of each residual branch into the product that ends the branch, in place."""
    for name, product in (("ls1", block.attn.proj), ("ls2", block.mlp.fc2)):
        scale = getattr(block, name)
        if isinstance(scale, LayerScale):
            gamma = scale.gamma.data.to(product.weight.dtype)
            product.weight.data = product.weight.data * gamma[:, None]
            if product.bias is not None:
                product.bias.data = product.bias.data * gamma
            setattr(block, name, nn.Identity())


def fold_quick_gelu(mlp: nn.Module) -> None:
    """Replace QuickGELU by SiLU, in place: x sigmoid(1.702 x) = SiLU(1.702 x) / 1.702.

    The two factors go into the products around it. That makes one pass over memory instead of three.
    """
    if isinstance(mlp.gelu, QuickGELU):
        for parameter in mlp.c_fc.parameters():
            parameter.data = parameter.data * 1.702
        mlp.c_proj.weight.data = mlp.c_proj.weight.data / 1.702
        mlp.gelu = nn.SiLU()


class RotaryAttention(nn.Module):
    """timm's EvaAttention with queries, keys and values from one product, and both rotated in one pass."""

    def __init__(self, source: EvaAttention):
        super().__init__()
        self.num_heads, self.head_dim = source.num_heads, source.head_dim
        self.table_prefix = source.num_prefix_tokens  # rows that the table has for them
        products = (source.q_proj, source.k_proj, source.v_proj)
        weight = torch.cat([p.weight.data for p in products])
        biases = [torch.zeros_like(p.weight.data[:, 0]) if p.bias is None else p.bias.data for p in products]
        self.qkv = linear_of(weight, torch.cat(biases))
        self.norm, self.proj = source.norm, source.proj

    @staticmethod
    def can_be(source: EvaAttention) -> bool:
        """True for an attention that this class computes: separate projections, no gate, no norms inside."""
        normed = not isinstance(source.q_norm, nn.Identity)
        return source.qkv is None and not normed and source.gate is None and not source.rotate_half

    def forward(self, x: Tensor, rope: Tensor | None = None, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        """Attention among tokens.

        Args:
            x: (B, N, C).
            rope: (N, 2 * head_dim), see `fused_steps.rotate_plain`; None for no positions.
            attn_mask: not looked at; timm passes it.
            is_causal: not looked at; timm passes it.

        Returns:
            (B, N, C).
        """
        packed = self.qkv(x).unflatten(-1, (3 * self.num_heads, -1))  # (B, N, 3 * heads, D)
        both, v = packed.split([2 * self.num_heads, self.num_heads], dim=2)
        if rope is not None:
            both = fused_steps.rotate(both, rope)
        q, k, v = (part.transpose(1, 2) for part in (*both.chunk(2, dim=2), v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(self.norm(y))


class PaddedSwiGLU(nn.Module):
    """timm's SwiGLU with one product for gates and values, its hidden width padded to a multiple of 8.

    The norm reads the real channels alone. Those of the padding are zero before the last product and add nothing.
    """

    def __init__(self, source: SwiGLU):
        super().__init__()
        weight = source.fc1_g.weight.data
        more = -len(weight) % MULTIPLE
        halves = (source.fc1_g, source.fc1_x)
        biases = [torch.zeros_like(p.weight.data[:, 0]) if p.bias is None else p.bias.data for p in halves]
        self.fc1 = linear_of(
            torch.cat([F.pad(p.weight.data, (0, 0, 0, more)) for p in halves]),
            torch.cat([F.pad(b, (0, more)) for b in biases]),
        )
        self.real, self.eps = source.norm.normalized_shape[0], source.norm.eps
        values = (F.pad(p.data, (0, more)) for p in (source.norm.weight, source.norm.bias))
        self.weight, self.bias = (nn.Parameter(v, requires_grad=False) for v in values)
        bias = source.fc2.bias
        self.fc2 = linear_of(F.pad(source.fc2.weight.data, (0, more)), None if bias is None else bias.data)

    @staticmethod
    def can_be(source: SwiGLU) -> bool:
        """True for a SwiGLU that this class computes: with a LayerNorm, and SiLU as activation."""
        return type(source.norm) in LAYER_NORMS and type(source.act) is nn.SiLU

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        return self.fc2(fused_steps.gated_norm(self.fc1(x), self.weight, self.bias, self.real, self.eps))


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer with given values, without gradients.

    Args:
        weight: (M, C).
        bias: (M,) or None.
    """
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return layer.eval()
