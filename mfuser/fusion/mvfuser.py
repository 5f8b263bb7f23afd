"""MVFuser: the Mamba co-adapter between two frozen encoders (paper equations 2-6)."""

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

ALIGNED = 8  # half-precision rows that start at a multiple of so many start at 16 bytes, as the widest loads need
PIECE = 2048  # tokens at a time on a CPU: longer ones leave the caches, and memory of 32 MB is mapped anew at every use


class MVFuser(nn.Module):
    """Two gated branches over the concatenated tokens of both encoders, in a bottleneck of half the width.

    The sequential branch is a selective scan, the spatial branch a short convolution that gates it. Computes what the
    released code computes, its two peculiarities included: the time-step bias counts twice, and the gate passes SiLU
    twice.

    width: channels C of the tokens. state: scan states per channel. conv: depthwise kernel (odd, 'same' padding).
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
        """tokens: (B, L, C), both encoders' tokens one after the other. Returns the offsets to add, (B, L, C).

        lengths and grid, which other adapters need (see `alternatives.Adapter`), are not looked at.
        """
        if self.scale is None:
            return self.folded([tokens])[0]
        if tokens.shape[1] > PIECE and self.compiled_scan_runs(tokens):
            return self.in_pieces(tokens)
        return self.offsets(tokens, selective_scan)

    def offsets(self, tokens: Tensor, scan: Callable[..., Tensor], own: slice = slice(None)) -> Tensor:
        """Offsets of the tokens `own` of (B, L, C); the others are there for the convolutions."""
        x, z = self.in_proj(tokens).chunk(2, dim=-1)  # 2 x (B, L, C/2)
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
        y = self.norm(y) * F.silu(z)  # (B, L, C/2)
        return self.scale * self.dropout(self.out_proj(y))

    @staticmethod
    def compiled_scan_runs(tokens: Tensor) -> bool:
        """True when `selective_scan` would choose the compiled kernel."""
        return not torch.is_grad_enabled() and running_kernel(tokens.device) == "compiled"

    def in_pieces(self, tokens: Tensor) -> Tensor:
        """What `forward` gives, PIECE tokens after the other; the scan goes on where it was. CPU, without gradients."""
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
        """Tokens on either side that a convolution sees."""
        return self.conv1d_x.kernel_size[0] // 2

    def framed(self, parts: list[Tensor]) -> Tensor:
        """Parts (B, n, C) one after the other between rows of zeros, (B, rows, C).

        The zeros before are so many that a causal convolution, whose output of a token lies `reach` rows later, puts
        that of the first token in a row that is a multiple of 8 (row 8 for kernels of 3 to 17); those behind are at
        least `reach`, and as many more as make all rows a multiple of 8.
        """
        length = sum(part.shape[1] for part in parts)
        front = -self.reach % ALIGNED
        rows = front, self.reach + -(front + length + self.reach) % ALIGNED
        before, after = (parts[0].new_zeros(len(parts[0]), n, parts[0].shape[-1]) for n in rows)
        return torch.cat([before, *parts, after], dim=1)

    def folded(self, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
        """What `forward` gives for one or two parts (B, ., C) one after the other, each part's in one piece: sums with
        slices of a whole are three times as slow. The second is empty where there is one part.

        The side of the scan runs channels first, as the scan reads it, so that nothing is transposed or copied. The
        zero rows stand for the convolutions' padding, and with them every product and every row of the scan starts at
        16 bytes.
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
        gated = fused_steps.gated_rms(y, z.transpose(1, 2)[:, here], self.norm.eps, own)
        first, second = self.out_proj(gated).split([batch * own, batch * (length - own)])
        return first.unflatten(0, (batch, own)), second.unflatten(0, (batch, length - own))


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, computed in float32."""

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        if x.is_cuda:  # one kernel instead of five
            return F.rms_norm(y, self.weight.shape, self.weight.float(), self.eps).to(x.dtype)
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return (y * self.weight).to(x.dtype)


@lru_cache(maxsize=1)
def causal_conv_installed() -> bool:
    """True when causal-conv1d is installed and can be imported; asked for CUDA tensors only, as it imports."""
    return cuda.importable("causal_conv1d", "causal-conv1d")


def conv_silu(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """SiLU of a depthwise 'same' convolution over the tokens of (B, L, C).

    On CUDA with causal-conv1d present its fused kernel runs: that one is causal, so the sequence is padded at its end
    by half the kernel and the output is shifted back by as much. On a CPU shifted products take its place, in float32.
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
    """SiLU of a depthwise causal convolution over the rows of `MVFuser.framed`, (B, C, rows) in any layout.

    Outputs of a 'same' convolution lie half a kernel later in it.
    """
    if causal_fits(x, conv.kernel_size[0]):
        from causal_conv1d import causal_conv1d_fn

        return causal_conv1d_fn(x, conv.weight.squeeze(1).to(x.dtype), None, activation="silu")
    return fused_steps.conv_silu(x, conv.weight)


def causal_fits(x: Tensor, kernel: int) -> bool:
    """True when causal-conv1d takes a (B, C, rows) tensor and such a kernel as they are."""
    return x.is_cuda and kernel == 3 and x.shape[1] % 8 == 0 and causal_conv_installed()


def product(weight: Tensor, x: Tensor) -> Tensor:
    """weight (M, C) times x (B, C, N) -> (B, M, N), rows side by side whatever the layout of x."""
    return torch.bmm(weight.expand(len(x), -1, -1), x)


def shifted_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Depthwise 'same' convolution over axis 1 of (B, L, C) as one product per tap; weight: (C, 1, odd).

    Reads and writes whole rows, and needs no transpose: twenty times faster on a CPU than a grouped Conv1d.
    """
    taps = weight[:, 0].unbind(1)  # odd x (C,)
    middle, length = len(taps) // 2, x.shape[1]
    y = x * taps[middle]
    for shift in (s for s in range(-middle, middle + 1) if 0 < abs(s) < length):
        target, source = slice(max(0, -shift), length - max(0, shift)), slice(max(0, shift), length + min(0, shift))
        y[:, target].addcmul_(x[:, source], taps[middle + shift])
    return y
