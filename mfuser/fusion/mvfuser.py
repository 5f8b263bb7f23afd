"""MVFuser: the Mamba co-adapter between two frozen encoders (paper equations 2-6).

in_proj maps the concatenated tokens to two halves of the channels, x and z:

    x_seq = RMSNorm(SSM(SiLU(conv(x))))    the sequential branch (equation 4)
    x_spa = SiLU(SiLU(conv(z)))            the spatial branch (equation 5)
    offsets = scale * proj(x_seq * x_spa)  the gate (equation 6)

The norm, the second SiLU and the learned scale are those of the released code.
The gate is in `MVFuser.offsets`. `MVFuser.folded` computes the same in half precision on CUDA. The choice of the scan's
kernel is in `selective_scan`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.fusion.scan_kernels import compiled, cuda
from mfuser.fusion.selective_scan import running_kernel, selective_scan
from mfuser.ops import fused_steps

ALIGNED = 8  # values: half-precision rows that start at a multiple of 8 start at 16 bytes, as the widest loads need
PIECE = 2048  # tokens at a time on a CPU: longer pieces leave the caches, and 32 MB of memory are mapped anew each time


class MVFuser(nn.Module):
    """Two branches over the concatenated tokens of both encoders (paper equations 2-6), in half the width.

    The sequential branch is a selective scan. The spatial branch is a short convolution that gates it. The module
    computes what the released code computes, with its two peculiarities: the time-step bias counts twice, and the gate
    passes SiLU twice.

    Args:
        width: channels C of the tokens.
        state: scan states per channel.
        conv: width of the depthwise convolutions, odd; 'same' padding.
        dropout: share of the output that training drops.
        init_scale: first value of the learned factor on the output.
    """

    def __init__(self, width: int, state: int = 16, conv: int = 3, dropout: float = 0.1, init_scale: float = 1e-3):
        super().__init__()
        half, rank = width // 2, math.ceil(width / 16)
        self.half, self.rank, self.state = half, rank, state
        self.in_proj = nn.Linear(width, 2 * half, bias=False)
        self.conv1d_x = nn.Conv1d(half, half, conv, padding="same", groups=half, bias=False)
        self.conv1d_z = nn.Conv1d(half, half, conv, padding="same", groups=half, bias=False)
        self.x_proj = nn.Linear(half, rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(rank, half)
        self.A_log = nn.Parameter(torch.arange(1, state + 1, dtype=torch.float32).log().repeat(half, 1))
        self.D = nn.Parameter(torch.ones(half))
        self.norm = RMSNorm(half)
        self.out_proj = nn.Linear(half, width, bias=False)
        self.scale = nn.Parameter(torch.tensor(init_scale))
        self.dropout = nn.Dropout(dropout)
        self._init_time_step()

    def _init_time_step(self, low: float = 1e-3, high: float = 0.1) -> None:
        """Mamba's start: softplus(bias) log-uniform in [low, high]."""
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        dt = torch.exp(torch.rand(self.half) * (math.log(high) - math.log(low)) + math.log(low))
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))

    def forward(
        self, tokens: Tensor, lengths: tuple[int, int] | None = None, grid: tuple[int, int] | None = None
    ) -> Tensor:
        """The offsets to add to the tokens (paper equation 2).

        Args:
            tokens: (B, L, C), those of both encoders one after the other.
            lengths: not looked at; other adapters need it (`alternatives.Adapter`).
            grid: not looked at; other adapters need it.

        Returns:
            (B, L, C).
        """
        if self.scale is None:
            return self.folded([tokens])[0]
        if tokens.shape[1] > PIECE and self.compiled_scan_runs(tokens):
            return self.in_pieces(tokens)
        return self.offsets(tokens, selective_scan)

    def offsets(self, tokens: Tensor, scan: Callable[..., Tensor], own: slice = slice(None)) -> Tensor:
        """The offsets of some of the tokens.

        Args:
            tokens: (B, L, C). Those outside `own` serve the convolutions of their neighbours.
            scan: `selective_scan`, or a function of the same arguments.
            own: the tokens that are computed.

        Returns:
            (B, n, C).
        """
        x, z = self.in_proj(tokens).chunk(2, dim=-1)  # 2 x (B, L, C/2)
        # x enters the sequential branch (equation 4); z is the spatial branch, x_spa (equation 5).
        x, z = conv_silu(x, self.conv1d_x)[:, own], conv_silu(z, self.conv1d_z)[:, own]
        dt, b, c = self.x_proj(x).split([self.rank, self.state, self.state], dim=-1)
        y = scan(
            x.transpose(1, 2),
            self.dt_proj(dt).transpose(1, 2),  # holds the bias already; the scan adds it once more, as released
            -torch.exp(self.A_log.float()),
            b.transpose(1, 2),
            c.transpose(1, 2),
            self.D,
            delta_bias=self.dt_proj.bias,
            delta_softplus=True,
        )
        y = y.transpose(1, 2)
        y = y.contiguous() if y.is_cuda else y  # or every operator from here would read across rows
        # The gate (equation 6): x_seq * x_spa. As released, x_seq is normalised first, and x_spa, which has passed SiLU
        # already, passes it once more.
        y = self.norm(y) * F.silu(z)  # (B, L, C/2)
        return self.scale * self.dropout(self.out_proj(y))

    @staticmethod
    def compiled_scan_runs(tokens: Tensor) -> bool:
        """True when `selective_scan` would choose the compiled kernel."""
        return not torch.is_grad_enabled() and running_kernel(tokens.device) == "compiled"

    def in_pieces(self, tokens: Tensor) -> Tensor:
        """What `forward` returns, computed for `PIECE` tokens at a time. For CPUs, without gradients.

        Each piece of the scan starts from the states in which the piece before it ended.

        Args:
            tokens: (B, L, C).

        Returns:
            (B, L, C).
        """
        batch, length, _ = tokens.shape
        scan = partial(compiled.scan, states=compiled.no_states(batch, self.half, self.state))
        out: Tensor | None = None
        for first in range(0, length, PIECE):
            last = min(first + PIECE, length)
            low, high = max(0, first - self.reach), min(length, last + self.reach)
            piece = self.offsets(tokens[:, low:high], scan, slice(first - low, last - low))
            out = piece.new_empty(batch, length, piece.shape[-1]) if out is None else out
            out[:, first:last] = piece
        return out

    # -- inference in half precision ----------------------------------------------------------------------------------

    def fold_scales(self) -> None:
        """Fold the norm's weight and the output's scale into the last product, in place: for inference alone.

        `forward` then runs `folded`. Safe to call again.
        """
        if self.scale is not None:
            self.out_proj.weight.data = self.scale.data * self.out_proj.weight.data * self.norm.weight.data
            self.scale = self.norm.weight = None

    @property
    def reach(self) -> int:
        """Number of tokens on either side that a convolution sees."""
        return self.conv1d_x.kernel_size[0] // 2

    def framed(self, parts: list[Tensor]) -> Tensor:
        """Concatenate parts between rows of zeros, which take the place of the convolutions' padding.

        A causal convolution puts the output of a token `reach` rows later. There are as many zero rows before the
        tokens as bring the output of the first token to a row that is a multiple of 8 (row 8 for kernels of 3 to 17).
        There are at least `reach` zero rows after them, and as many more as make the number of rows a multiple of 8.

        Args:
            parts: tensors (B, n, C).

        Returns:
            (B, rows, C).
        """
        length = sum(part.shape[1] for part in parts)
        front = -self.reach % ALIGNED
        rows = front, self.reach + -(front + length + self.reach) % ALIGNED
        before, after = (parts[0].new_zeros(len(parts[0]), n, parts[0].shape[-1]) for n in rows)
        return torch.cat([before, *parts, after], dim=1)

    def folded(self, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
        """What `forward` returns, after `fold_scales`, for tokens that come in one or two parts.

        Each part of the result lies in one piece of memory: sums with slices of a whole are three times as slow.
        The side of the scan runs channels first, as the scan reads it, so that nothing is transposed or copied. With
        the zero rows of `framed`, every product and every row of the scan starts at 16 bytes.

        Args:
            parts: one or two tensors (B, n, C).

        Returns:
            The offsets of each part, (B, n, C). The second is empty where there is one part.
        """
        rows, own = self.framed(parts), parts[0].shape[1]
        batch, length = len(rows), sum(part.shape[1] for part in parts)
        x_weight, z_weight = self.in_proj.weight.chunk(2)
        x = conv_silu_framed(product(x_weight, rows.transpose(1, 2)), self.conv1d_x)  # (B, C/2, rows)
        z = conv_silu_framed(F.linear(rows, z_weight).transpose(1, 2), self.conv1d_z)
        start = -self.reach % ALIGNED + self.reach
        here = slice(start, start + length)
        dt, b, c = product(self.x_proj.weight, x).split([self.rank, self.state, self.state], dim=1)
        y = selective_scan(
            x[..., here],
            product(self.dt_proj.weight, dt)[..., here],
            -torch.exp(self.A_log.float()),
            b[..., here],
            c[..., here],
            self.D,
            delta_bias=2 * self.dt_proj.bias.float(),  # twice, as released
            delta_softplus=True,
        )
        # The gate (equation 6), as in `offsets`: the norm of x_seq times SiLU of x_spa.
        gated = fused_steps.gated_rms(y, z.transpose(1, 2)[:, here], self.norm.eps, own)
        first, second = self.out_proj(gated).split([batch * own, batch * (length - own)])
        return first.unflatten(0, (batch, own)), second.unflatten(0, (batch, length - own))


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, computed in float32.

    Args:
        width: channels of the last axis.
        eps: added to the mean square.
    """

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (..., width); returns its shape and dtype."""
        y = x.float()
        if x.is_cuda:  # one kernel instead of five
            return F.rms_norm(y, self.weight.shape, self.weight.float(), self.eps).to(x.dtype)
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return (y * self.weight).to(x.dtype)


@lru_cache(maxsize=1)
def causal_conv_installed() -> bool:
    """True when causal-conv1d is installed and can be imported. It imports the package: ask for CUDA tensors only."""
    return cuda.importable("causal_conv1d", "causal-conv1d")


def conv_silu(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """SiLU of a depthwise 'same' convolution over the tokens.

    On CUDA the fused kernel of causal-conv1d runs where it is installed. It is causal: the sequence is padded at its
    end by half the kernel, and the output is shifted back by as much. On a CPU `shifted_conv` takes its place, in
    float32.

    Args:
        x: (B, L, C).
        conv: its weight is (C, 1, taps), its taps odd.

    Returns:
        (B, L, C).
    """
    kernel = conv.kernel_size[0]
    if not x.is_cuda:
        return F.silu(shifted_conv(x.float(), conv.weight.float()))
    if kernel == 3 and x.shape[-1] % 8 == 0 and causal_conv_installed():
        from causal_conv1d import causal_conv1d_fn

        shift = kernel // 2
        padded = F.pad(x, (0, 0, 0, shift)).transpose(1, 2)  # (B, C, L + 1), channels side by side as the kernel allows
        y = causal_conv1d_fn(padded, conv.weight.squeeze(1).to(x.dtype), None, activation="silu")
        return y.transpose(1, 2)[:, shift:]
    return F.silu(conv(x.transpose(1, 2))).transpose(1, 2)


def conv_silu_framed(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """SiLU of a depthwise causal convolution over the rows of `MVFuser.framed`.

    The outputs of a 'same' convolution lie half a kernel later in it.

    Args:
        x: (B, C, rows) in any layout.
        conv: its weight is (C, 1, taps).

    Returns:
        (B, C, rows).
    """
    if causal_fits(x, conv.kernel_size[0]):
        from causal_conv1d import causal_conv1d_fn

        return causal_conv1d_fn(x, conv.weight.squeeze(1).to(x.dtype), None, activation="silu")
    return fused_steps.conv_silu(x, conv.weight)


def causal_fits(x: Tensor, kernel: int) -> bool:
    """True when causal-conv1d takes a tensor and a kernel as they are.

    Args:
        x: (B, C, rows).
        kernel: width of the convolution.
    """
    return x.is_cuda and kernel == 3 and x.shape[1] % 8 == 0 and causal_conv_installed()


def product(weight: Tensor, x: Tensor) -> Tensor:
    """Matrix product with rows that are contiguous whatever the layout of x.

    Args:
        weight: (M, C).
        x: (B, C, N).

    Returns:
        (B, M, N).
    """
    return torch.bmm(weight.expand(len(x), -1, -1), x)


def shifted_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Depthwise 'same' convolution over the tokens as one product per tap.

    It reads and writes whole rows and needs no transpose: twenty times faster on a CPU than a grouped Conv1d.

    Args:
        x: (B, L, C).
        weight: (C, 1, taps), the number of taps odd.

    Returns:
        (B, L, C).
    """
    taps = weight[:, 0].unbind(1)  # odd x (C,)
    middle, length = len(taps) // 2, x.shape[1]
    y = x * taps[middle]
    for shift in (s for s in range(-middle, middle + 1) if 0 < abs(s) < length):
        target, source = slice(max(0, -shift), length - max(0, shift)), slice(max(0, shift), length + min(0, shift))
        y[:, target].addcmul_(x[:, source], taps[middle + shift])
    return y
