"""Tiny random models, and the stored values of the released code where a checkout has them beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser.presets import DecoderConfig, EncoderConfig, FusionConfig, Preset

REFERENCE = Path(__file__).resolve().parent.parent.parent / "shared" / "reference"
TINY_ENCODER = {"width": 64, "depth": 4, "heads": 2}
TINY_TEXT = {"embed_dim": 48, "text_width": 32, "text_layers": 1, "text_heads": 2, "text_factor": 8, "text_length": 16}
TINY = Preset(
    name="tiny",
    title="tiny (tests)",
    vfm=EncoderConfig("nano-vfm", "tiny VFM", {**TINY_ENCODER, "strides": (8, 16)}),
    vlm=EncoderConfig("nano-vlm", "tiny VLM", {**TINY_ENCODER, "strides": (16, 32), **TINY_TEXT}),
    fusion=FusionConfig(init_scale=0.5, joint="projected"),
    decoder=DecoderConfig(
        width=32,
        heads=4,
        points=2,
        pixel_layers=1,
        pixel_ffn=48,
        query_layers=3,
        query_ffn=48,
        norm_groups=4,
        enhancer_width=32,
        prompts=4,
        prompt_std=0.02,
        text_scale_std=0.5,
        class_tokens=8,
    ),
    taps=(0, 1, 2, 3),
    streams=("vfm", "vlm", "fused"),
    resolution=64,
    divisor=32,
    longest=1024,
)


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """Tiny tensors gain nothing from threads, and sums are repeatable with one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_preset() -> Preset:
    return TINY


@pytest.fixture(scope="session")
def uneven_preset() -> Preset:
    """Encoders of different width and depth, the VFM the deeper one."""
    vfm = EncoderConfig("nano-vfm", "deep VFM", {"width": 48, "depth": 6, "heads": 2, "strides": (16,)})
    return replace(TINY, name="uneven", vfm=vfm, streams=("vfm", "fused"))


@pytest.fixture(scope="session")
def randomise() -> Callable[[nn.Module, int], nn.Module]:
    """Give every parameter and buffer of statistics a value of ordinary size: zero starts would hide mistakes."""

    def apply(module: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, p in module.named_parameters():
                n = torch.randn(p.shape, generator=generator)
                last = name.rsplit(".", 1)[-1]
                if last == "A_log":
                    p.copy_(torch.arange(1, p.shape[1] + 1).float().log() + 0.05 * n)
                elif p.ndim > 1:
                    fan = p[0].numel() if p.ndim < 4 else p.shape[0]
                    p.copy_(n / fan**0.5)
                elif last in ("weight", "D") or p.ndim == 0:
                    p.copy_(1 + 0.1 * n)
                else:
                    p.add_(0.1 * n)
        return module

    return apply


@pytest.fixture(scope="session")
def tiny_model(tiny_preset: Preset):
    """Random weights, evaluation mode. Shared by the session: a test that changes weights makes its own."""
    return build(tiny_preset)


@pytest.fixture
def fresh_model(tiny_preset: Preset):
    """A tiny model of the test's own, with the weights of `tiny_model`."""
    return build(tiny_preset)


@pytest.fixture(scope="session")
def build_model() -> Callable[[Preset], nn.Module]:
    return build


_made: dict[tuple[str, int], nn.Module] = {}


def build(preset: Preset, seed: int = 0) -> nn.Module:
    """A model with the random weights of a seed; each is made once and copied."""
    key = (repr(preset), seed)
    if key not in _made:
        _made[key] = make(preset, seed)
    tokenizer = _made[key].vlm._tokenizer  # unchanging, and slow to copy
    return copy.deepcopy(_made[key], {id(tokenizer): tokenizer})


def make(preset: Preset, seed: int) -> nn.Module:
    from mfuser.model import MFuser

    torch.manual_seed(seed)
    model = MFuser.from_preset(preset, pretrained=False)
    if model.fusion.joint is not None:  # starts at zero, where the fused embedding would not depend on the VFM
        nn.init.normal_(model.fusion.joint.weight, std=0.1)
    for stream in preset.streams:
        tie_queries_to_classes(model.eval(), stream)
    return model


@torch.no_grad()
def tie_queries_to_classes(model: nn.Module, stream: str) -> None:
    """Let query k speak for class k with a mask of its own, by least squares over a few pictures, as after training.

    By chance one class would win everywhere, and a test on a constant mask proves nothing.
    """
    head, seen = model.heads[stream], {}
    layers = {
        "features": head.pixel_decoder.mask_feature,
        "classes": head.query_decoder.cls_embed,
        "masks": head.query_decoder.mask_embed[-1],
    }

    def look() -> None:
        hooks = [
            layer.register_forward_hook(lambda module, args, out, name=name: seen.update({name: (args[0], out)}))
            for name, layer in layers.items()
        ]
        model(smooth_pixels(8), stream)
        for hook in hooks:
            hook.remove()

    look()
    features, layer = seen["features"][1], layers.pop("features")
    scale = features.std((0, 2, 3))
    layer.weight.div_(scale[:, None, None, None])
    layer.bias.sub_(features.mean((0, 2, 3))).div_(scale)
    look()
    count = len(model.preset.classes)
    wanted = {"classes": 6 * torch.eye(count, count + 1), "masks": torch.randn(count, len(layers["masks"].weight))}
    for name, layer in layers.items():
        rows = F.pad(seen[name][0].flatten(0, 1), (0, 1), value=1.0)  # (8 K, C + 1)
        solution = torch.linalg.lstsq(rows, wanted[name].repeat(8, 1), driver="gelsd").solution
        layer.weight.copy_(solution[:-1].T)
        layer.bias.copy_(solution[-1])


def smooth_pixels(batch: int) -> Tensor:
    """(batch, 3, 64, 96) float RGB 0..255, smooth enough for the trunk to see something."""
    coarse = torch.rand(batch, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, size=(64, 96), mode="bilinear", align_corners=False) * 255


@pytest.fixture(scope="session")
def pixels() -> Tensor:
    return smooth_pixels(2)


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """Folder with names, shapes and values of the released code."""
    if not REFERENCE.is_dir():
        pytest.skip("the stored values of the released code are not beside this checkout")
    return REFERENCE


@pytest.fixture(scope="session")
def reference(reference_folder: Path) -> Callable[[str], tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Loader of a module fixture: (tensors by "in.*" and "out.*", weights by the released code's names)."""

    def load(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        with np.load(reference_folder / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        tensors = {key: torch.from_numpy(a) for key, a in arrays.items() if a.dtype.kind != "U"}  # no remarks
        weights = {key[2:]: t for key, t in tensors.items() if key.startswith("w.")}
        return {key: t for key, t in tensors.items() if not key.startswith("w.")}, weights

    return load
