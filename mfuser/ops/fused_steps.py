"""Steps that are many passes over memory in torch and one pass in Triton: on CUDA in half precision, without gradients.

Each step is written twice. The plain version defines its meaning and runs everywhere. Triton's version runs after
`trust` has seen it compute the same on the device at hand. Triton comes with torch's CUDA builds for Linux.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger(__name__)

HALF = (torch.bfloat16, torch.float16)
MARK = 1e-2  # relative, of norms: half precision rounds each value by 4e-3 at most


class Kernel:
    """A step with two versions. Calling it runs Triton's where that is trusted, and the plain one elsewhere.

    Args:
        name: of Triton's version in `triton_kernels`.
        plain: the plain version.
        examples: takes a device and returns arguments to compare both versions, a tuple for each layout that occurs.
            They are larger than a tile of Triton's, and in bfloat16 except for parameters that stay float32.
    """

    def __init__(self, name: str, plain: Callable[..., Tensor], examples: Callable[[torch.device], list[tuple]]):
        self.name, self.plain, self.examples = name, plain, examples
        self.trusted: dict[torch.device, bool] = {}

    def __call__(self, x: Tensor, *arguments: Any) -> Tensor:
        if x.dtype not in HALF or torch.compiler.is_compiling():  # a compiler fuses the plain one by itself
            return self.plain(x, *arguments)
        fused = self.trusted.get(x.device, False) and not torch.is_grad_enabled()
        return (self.fused if fused else self.plain)(x, *arguments)

    def fused(self, x: Tensor, *arguments: Any) -> Tensor:
        """Run Triton's version. Args and returns are those of the plain one."""
        from mfuser.ops import triton_kernels

        with torch.cuda.device(x.device) if x.is_cuda else nullcontext():  # Triton launches on the current device
            return getattr(triton_kernels, self.name)(x, *arguments)

    @torch.no_grad()
    def error(self, device: torch.device) -> float:
        """Largest relative difference between both versions on the examples; infinite where a value is not finite.

        Args:
            device: where both run.
        """
        return max(self._error(arguments, device) for arguments in self.examples(device))

    def _error(self, arguments: tuple, device: torch.device) -> float:
        exact = [a.float() if isinstance(a, Tensor) and a.dtype in HALF else a for a in arguments]
        with torch.autocast(device.type, enabled=False):
            plain, fused = self.plain(*exact), self.fused(*arguments).float()
        found = ((fused - plain).norm() / plain.norm()).item()
        return found if math.isfinite(found) else math.inf  # not a number would be the largest only where it is first


def trust(device: torch.device) -> None:
    """Compare every kernel with its plain version on a CUDA device, once. What fails or differs is not used there.

    What cannot run, for example without a compiler, gives an info line. What computes something else gives a warning.

    Args:
        device: to check. Nothing happens for other devices than CUDA.
    """
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return
    device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
    for kernel in KERNELS:
        if device not in kernel.trusted:
            kernel.trusted[device] = False
            try:
                error = kernel.error(device)
            except Exception as reason:  # no compiler, an older Triton, another GPU: torch's own steps remain
                logger.info("%s runs in plain torch on %s: %s", kernel.name, device, reason)
                continue
            kernel.trusted[device] = error <= MARK
            if not kernel.trusted[device]:
                what = f"Triton's {kernel.name} computes something else on {device} (relative error {error:.1e}, "
                logger.warning("%smark %.0e): plain torch runs there", what, MARK)


def example_values(device: torch.device, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Normal values in bfloat16, the same on every device.

    Args:
        device: of the tensors.
        shapes: one for each tensor.
    """
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(device, torch.bfloat16) for shape in shapes]


# -- rotary positions -------------------------------------------------------------------------------------------------


def rotate_plain(x: Tensor, table: Tensor) -> Tensor:
    """Rotary positions: turn pairs of neighbouring channels by the angles of their token, in float32.

    Args:
        x: (B, N, heads, D).
        table: (N, 2 D) float32, sines then cosines of each channel.

    Returns:
        Shape and dtype of x.
    """
    sine, cosine = table[:, None].chunk(2, dim=-1)
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
    return (x * cosine + turned * sine).to(x.dtype)


def _rotate_examples(device: torch.device) -> list[tuple]:
    packed, angle = example_values(device, (2, 37, 3 * 3, 32), (37, 32))
    angle = angle.float().repeat_interleave(2, dim=-1)[:, :32]
    table = torch.cat([angle.sin(), angle.cos()], dim=-1)
    return [(packed[:, :, :6], table), (packed, table)]


# -- SwiGLU with a norm -----------------------------------------------------------------------------------------------


def gated_norm_plain(x: Tensor, weight: Tensor, bias: Tensor, real: int, eps: float) -> Tensor:
    """LayerNorm of SiLU(gate) * value over the real channels of a padded width W.

    Args:
        x: (..., 2 W), gates then values.
        weight: (W,) of the norm.
        bias: (W,) of the norm.
        real: number of real channels, which come first.
        eps: of the norm.

    Returns:
        (..., W), zero in the padding.
    """
    gate, value = (part[..., :real] for part in x.chunk(2, dim=-1))
    weight, bias = (p[:real].to(x.dtype) for p in (weight, bias))
    with torch.autocast(x.device.type, enabled=False):
        y = F.layer_norm(F.silu(gate) * value, (real,), weight, bias, eps)
    return F.pad(y, (0, x.shape[-1] // 2 - real))


def _gated_norm_examples(device: torch.device) -> list[tuple]:
    x, weight, bias = example_values(device, (2, 37, 2 * 176), (176,), (176,))
    return [(x, weight.float(), bias.float(), 170, 1e-6)]


# -- MVFuser's convolutions -------------------------------------------------------------------------------------------


def conv_silu_plain(x: Tensor, weight: Tensor) -> Tensor:
    """SiLU of a depthwise causal convolution.

    Args:
        x: (B, C, N) in any layout.
        weight: (C, 1, taps).

    Returns:
        (B, C, N).
    """
    taps = weight.shape[-1]
    return F.silu(F.conv1d(x, weight.to(x.dtype), padding=taps - 1, groups=len(weight))[..., : x.shape[-1]])


def _conv_silu_examples(device: torch.device) -> list[tuple]:
    channels_last, rows_last, weight = example_values(device, (2, 300, 200), (2, 200, 300), (200, 1, 3))
    weight = weight.float()
    return [(channels_last.transpose(1, 2), weight), (rows_last, weight)]


# -- MVFuser's gate ---------------------------------------------------------------------------------------------------


def gated_rms_plain(y: Tensor, z: Tensor, eps: float, first: int) -> Tensor:
    """MVFuser's gate (paper equation 6): root-mean-square norm of y over its channels, times SiLU of z.

    Args:
        y: (B, C, L), as a scan returns it.
        z: (B, L, C).
        eps: of the norm.
        first: number of tokens of the first part.

    Returns:
        (B * L, C): the first `first` tokens of every sequence, then the others of every sequence, so that either part
        lies in one piece.
    """
    y = y.transpose(1, 2).float()
    gated = (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)).to(z.dtype) * F.silu(z)
    return torch.cat([gated[:, :first].flatten(0, 1), gated[:, first:].flatten(0, 1)])


def _gated_rms_examples(device: torch.device) -> list[tuple]:
    y, z = example_values(device, (2, 512, 50), (2, 53, 512))
    narrow, gate = example_values(device, (2, 96, 45), (2, 45, 96))
    return [(y, z[:, 1:51], 1e-5, 22), (narrow, gate, 1e-5, 45)]  # two parts of every sequence, and one


rotate = Kernel("rotate", rotate_plain, _rotate_examples)
gated_norm = Kernel("gated_norm", gated_norm_plain, _gated_norm_examples)
conv_silu = Kernel("conv_silu", conv_silu_plain, _conv_silu_examples)
gated_rms = Kernel("gated_rms", gated_rms_plain, _gated_rms_examples)
KERNELS: list[Kernel] = [rotate, gated_norm, conv_silu, gated_rms]
