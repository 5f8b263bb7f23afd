"""Tiny random models, and what the authors' released code computes: by module in tests/data, of whole models outside.

The values of whole models are too large for the repository. They are read from the folder that the environment variable
MFUSER_REFERENCE names, else from ../shared/reference beside the checkout; without either, their tests are skipped.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mfuser.encoders  # noqa: F401  before timm or open_clip: lets torchvision be imported beside a CPU torch
from mfuser import presets
from mfuser.config import DecoderConfig, EncoderConfig, FusionConfig, Preset

MODULE_VALUES = Path(__file__).resolve().parent / "data"
WHOLE_MODELS = Path(__file__).resolve().parents[2] / "shared" / "reference"
TINY_ENCODER = {"width": 64, "depth": 4, "heads": 2}
TINY_TEXT = {"embed_dim": 48, "text_width": 32, "text_layers": 1, "text_heads": 2, "text_length": 16}
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


FAMILIES = ("eva02-clip", "clip", "siglip")


def tiny_pair(family: str) -> Preset:
    """The paper's pair of a family with 4 blocks of 64 channels, patches of 8 and a stored grid of 4 x 4."""
    paper = presets.get({"eva02-clip": "dinov2-l+eva02-clip-l"}.get(family, f"dinov2-l+{family}-l"))
    view = {"patch": 8, "grid": 4}
    vfm = {"depth": 4, "embed_dim": 64, "num_heads": 2}
    vision = {"width": 64, "layers": 4, "head_width": 32} if family == "clip" else vfm
    text = {"width": 32, "heads": 2, "layers": 2, "vocab_size": 32000 if family == "siglip" else 49408}
    decoder = replace(TINY.decoder, prompts=paper.decoder.prompts, class_tokens=5, norm_groups=4)
    return replace(
        paper,
        name=f"tiny-{family}",
        vfm=replace(paper.vfm, options={**view, **vfm}),
        vlm=replace(paper.vlm, options={"model": paper.vlm.options["model"], **view, "vision": vision, "text": text,
                                        "embed_dim": 64 if family == "siglip" else 48}),
        fusion=replace(paper.fusion, init_scale=0.5),
        decoder=decoder,
        taps=(0, 1, 2, 3),
        resolution=32,
        divisor=16,
        sliding=(64, 128),
        longest=1024,
    )  # fmt: skip


def class_ids(preset: Preset) -> Tensor:
    """Token ids that stand for SigLIP's, whose vocabulary need not be here."""
    ids = torch.randint(2, 32000, (len(preset.classes), 5), generator=torch.Generator().manual_seed(5))
    ids[:, 2:] = 1
    return ids


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def pair_preset(family: str) -> Preset:
    return tiny_pair(family)


@pytest.fixture(scope="session")
def official_state(pair_preset: Preset) -> dict[str, Tensor]:
    """A checkpoint in the authors' layout of a tiny pair: random values of ordinary size by official names."""
    from mfuser.loading import MFuser
    from mfuser.weights import official

    ids = class_ids(pair_preset)
    with torch.device("meta"):
        model = MFuser(pair_preset, ids)
    model.vlm.text.shorten(pair_preset.decoder.prompts + 5)
    own, generator, state = model.state_dict(), torch.Generator().manual_seed(2), {}
    for name, origin in official.origins(own, pair_preset).items():
        for entry in origin.names:
            state[entry] = ordinary(entry, origin.shape(tuple(own[name].shape)), generator)
    state["backbone.dinov2.mask_token"] = torch.randn(1, 64, generator=generator)
    if pair_preset.vlm.family == "eva02-clip":
        state["random_text"] = torch.randn(19, 48, generator=generator)
        for name, table in official.rotary_constants(model).items():
            for place in ("", *(f"blocks.{i}.attn." for i in range(4))):
                state[f"backbone.{place}rope.freqs_{name}"] = table.clone()
    if pair_preset.vlm.family == "siglip":
        for i in range(4):
            state[f"backbone.adapter_proj1.{i}.weight"] = torch.randn(64, 64, generator=generator)
    return state


def ordinary(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A value of ordinary size for an official entry."""
    n, last = torch.randn(shape, generator=generator), name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return torch.tensor(3)
    if last == "A_log":
        return torch.arange(1, shape[1] + 1).float().log() + 0.05 * n
    if last == "running_var":
        return 1 + 0.1 * n.abs()
    if len(shape) == 1 and last in ("weight", "D", "gamma") or not shape:
        return 0.6 + 0.1 * n
    if len(shape) == 1 or "embed" in name or last in ("cls_token", "contexts", "probe"):
        return 0.5 * n
    fan = shape[0] if last in ("proj", "text_projection") or ("fpn" in name and len(shape) == 4) else n[0].numel()
    return n / fan**0.5


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
    from mfuser.loading import MFuser

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
    """Folder with names, shapes and values of the authors' whole models. A test that asks for it is skipped without."""
    named = os.environ.get("MFUSER_REFERENCE")
    folder = Path(named) if named else WHOLE_MODELS
    if (folder / "eva_stats.json").is_file():
        return folder
    if named:
        pytest.fail(f"MFUSER_REFERENCE is {named}, which does not hold the released code's values (eva_stats.json).")
    pytest.skip("values of the released code's whole models are not here: name their folder in MFUSER_REFERENCE")


@pytest.fixture(scope="session")
def reference() -> Callable[[str], tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Loader of a module in tests/data: (tensors by "in.*" and "out.*", weights by the released code's names)."""

    def load(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        with np.load(MODULE_VALUES / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        tensors = {key: torch.from_numpy(a) for key, a in arrays.items() if a.dtype.kind != "U"}  # no remarks
        weights = {key[2:]: t for key, t in tensors.items() if key.startswith("w.")}
        return {key: t for key, t in tensors.items() if not key.startswith("w.")}, weights

    return load
