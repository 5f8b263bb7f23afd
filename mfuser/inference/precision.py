"""Where a model runs, and in which number format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from mfuser.loading import MFuser

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}
HEAVY = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.MultiheadAttention)
LARGE_TABLE = 20_000_000  # entries; the token tables of the paper's text towers are larger


def usable_device(name: str | None = None) -> str:
    """The device of a name, CUDA or else the CPU for None. Raises ValueError for one that cannot be used here."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch has no one class for this
        usable = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise ValueError(f"Device {name!r} cannot be used here; choose one of {', '.join(usable)}.") from error
    return name


def native_precision(device: str | torch.device) -> str:
    """ "bf16" on a device that computes in it natively, "float32" elsewhere.

    Emulated bfloat16 is slower than float32; native it takes two thirds of the time or less.
    """
    if torch.device(device).type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        native = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if native else "float32"


def store_weights(model: MFuser, dtype: torch.dtype) -> None:
    """Store the weights of products, convolutions and large tables in `dtype`, one module after the other.

    Norms, scan parameters, prompts and positions are small and stay as they are: float32, as what they compute, but for
    the parameters of layer and group norms on CUDA, which `streamline` has put into the half dtype before. The text
    tower stays float32 but for its table of tokens: its embeddings are computed once for all images. So do the modules
    that an encoder computes in float32, see `VisionEncoder.for_half_precision`.
    """
    parts = (model.vlm.text, *model.vfm.for_half_precision(), *model.vlm.for_half_precision())
    kept = {module for part in parts for module in part.modules()}
    for module in model.modules():
        table = isinstance(module, nn.Embedding) and module.weight.numel() > LARGE_TABLE
        if table or (isinstance(module, HEAVY) and module not in kept):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
        if table:
            module.register_forward_hook(_as_float32)


def _as_float32(module: nn.Module, arguments: tuple, output: Tensor) -> Tensor:
    return output.float()
