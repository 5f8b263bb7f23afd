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
    """Check the name of a device.

    Args:
        name: "cpu", "cuda", "cuda:1", ...; None takes CUDA when there is one, else the CPU.

    Raises:
        ValueError: the device cannot be used here. The message lists those that can.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch has no one class for this
        usable = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise ValueError(f"Device {name!r} cannot be used here; choose one of {', '.join(usable)}.") from error
    return name


def native_precision(device: str | torch.device) -> str:
    """ "bf16" on a device that computes in it natively, else "float32".

    Emulated bfloat16 is slower than float32. Native bfloat16 takes two thirds of the time or less.

    Args:
        device: a usable device.
    """
    if torch.device(device).type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        native = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if native else "float32"


def store_weights(model: MFuser, dtype: torch.dtype) -> None:
    """Store the weights of matrix products, convolutions and large tables in another dtype, in place.

    Norms, scan parameters, prompts and positions are small. They stay as they are: float32, except for the layer and
    group norms on CUDA, which `streamline` has put into the half dtype before. The text tower stays float32 except for
    its token table, because its embeddings are computed once for all images. The modules that an encoder computes in
    float32 (`VisionEncoder.for_half_precision`) stay float32 too.

    Args:
        model: the network.
        dtype: of the stored weights, a half precision.
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
