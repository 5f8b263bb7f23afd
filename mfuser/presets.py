"""The model zoo as data: which encoders, how fused, how wide a decoder, whose licence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mfuser.config import ASSETS, STREAMS, DecoderConfig, EncoderConfig, FusionConfig, Preset, Source
from mfuser.weights import availability

NANO = Preset(
    name="nano",
    title="nano (built in)",
    vfm=EncoderConfig("nano-vfm", "nano-VFM: distilled hybrid ViT", {"strides": (4, 8, 16, 32), "trunk": "lite2"}),
    vlm=EncoderConfig("nano-vlm", "nano-VLM: text-aligned hybrid ViT", {"strides": (16, 32)}),
    fusion=FusionConfig(init_scale=0.1, joint="projected"),
    decoder=DecoderConfig(
        width=128,
        pixel_layers=3,
        pixel_ffn=512,
        query_ffn=256,
        norm_groups=16,
        enhancer_width=128,
        prompt_std=0.02,
        text_scale_std=0.02,
        class_tokens=8,
    ),
    taps=(1, 2, 3, 5),
    streams=STREAMS,
    resolution=480,
    divisor=32,
    longest=1024,
    licence="non-commercial research (CamVid teaches the weights)",
    weights=ASSETS / "nano",
)

DINOV2 = {
    "l": EncoderConfig(
        "dinov2",
        "DINOv2 ViT-L",
        {"model": "vit_large_patch14_dinov2"},
        Source("timm/vit_large_patch14_dinov2.lvd142m", ("model.safetensors", "pytorch_model.bin")),
    ),
    "b": EncoderConfig(
        "dinov2",
        "DINOv2 ViT-B",
        {"model": "vit_base_patch14_dinov2"},
        Source("timm/vit_base_patch14_dinov2.lvd142m", ("model.safetensors", "pytorch_model.bin")),
    ),
}
_SIGLIP = Source("timm/ViT-B-16-SigLIP", ("tokenizer.json",))
_OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
VLMS = {
    "eva02-clip-l": EncoderConfig(
        "eva02-clip",
        "EVA02-CLIP L/14-336",
        {"model": "EVA02-L-14-336"},
        Source("timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k", _OPEN_CLIP),
    ),
    "clip-l": EncoderConfig(
        "clip",
        "CLIP ViT-L/14-336",
        {"model": "ViT-L-14-336-quickgelu"},
        Source("timm/vit_large_patch14_clip_336.openai", _OPEN_CLIP),
    ),
    "siglip-l": EncoderConfig(
        "siglip",
        "SigLIP ViT-L/16-384",
        {"model": "ViT-L-16-SigLIP-384"},
        Source("timm/ViT-L-16-SigLIP-384", _OPEN_CLIP),
        _SIGLIP,
    ),
    "clip-b": EncoderConfig(
        "clip",
        "CLIP ViT-B/16",
        {"model": "ViT-B-16-quickgelu"},
        Source("timm/vit_base_patch16_clip_224.openai", _OPEN_CLIP),
    ),
    "eva02-clip-b": EncoderConfig(
        "eva02-clip",
        "EVA02-CLIP B/16",
        {"model": "EVA02-B-16"},
        Source("timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k", _OPEN_CLIP),
    ),
    "siglip-b": EncoderConfig(
        "siglip",
        "SigLIP ViT-B/16-512",
        {"model": "ViT-B-16-SigLIP-512"},
        Source("timm/ViT-B-16-SigLIP-512", _OPEN_CLIP),
        _SIGLIP,
    ),
}


def pair(vlm: str) -> Preset:
    """DINOv2 with a vision-language encoder of the same size, as the paper pairs them.

    Both encoders see a 512-pixel window as the same patch grid. For EVA02-CLIP-L it has 36 x 36 patches of 14 pixels,
    and 8 pixels at the right and bottom stay unseen. For the others it has 32 x 32 patches of 16 pixels, and kernels of
    14 pixels are resampled.

    Args:
        vlm: key of `VLMS`.
    """
    size = vlm[-1]
    patch = 14 if vlm == "eva02-clip-l" else 16
    clip = vlm.startswith("clip")
    view = {"patch": patch, "grid": 512 // patch}
    vfm, language = DINOV2[size], VLMS[vlm]
    return Preset(
        name=f"dinov2-{size}+{vlm}",
        title=f"{vfm.title} + {language.title}",
        vfm=replace(vfm, options={**vfm.options, **view}),
        vlm=replace(language, options={**language.options, **view}),
        fusion=FusionConfig(projections=clip, joint="projected" if clip else "sum"),
        decoder=DecoderConfig(prompts=8 if vlm.startswith("eva02") else 5),
        taps=(7, 11, 15, 23) if size == "l" else (3, 5, 7, 11),
        divisor=2 * patch,  # the pyramid halves the grid
        exact=False,
        sliding=(1024, 2048),
        licence="weights: those of the encoders (DINOv2: Apache-2.0) and of the checkpoint",
    )


PRESETS: dict[str, Preset] = {p.name: p for p in (NANO, *map(pair, VLMS))}


def get(name: str) -> Preset:
    """The preset of a name.

    Args:
        name: key of `PRESETS`.

    Raises:
        ValueError: unknown name. The message lists the known ones.
    """
    if name not in PRESETS:
        raise ValueError(f"Unknown preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def available() -> list[dict[str, Any]]:
    """Every preset, and what it needs to run here, see `mfuser.weights.availability.status`."""
    return [availability.status(preset) for preset in PRESETS.values()]


def with_classes(preset: Preset, classes: tuple[str, ...]) -> Preset:
    """The same preset for another class list.

    Args:
        preset: to change.
        classes: class names in the order of their ids.
    """
    return replace(preset, classes=tuple(classes))


def with_streams(preset: Preset, streams: Iterable[str]) -> Preset:
    """The same preset with a decoder for further streams.

    The new decoders come after the preset's own, so that the random start of these does not change.

    Args:
        preset: to extend.
        streams: those that it should have.
    """
    more = tuple(s for s in dict.fromkeys(streams) if s not in preset.streams)
    return replace(preset, streams=preset.streams + more) if more else preset


def with_fusion(preset: Preset, kind: str) -> Preset:
    """The same preset with another adapter. The preset's own fused weights are MVFuser's and do not fit another kind.

    Args:
        preset: to change.
        kind: one of `config.FUSIONS`.

    Raises:
        ValueError: unknown kind.
    """
    return replace(preset, fusion=replace(preset.fusion, kind=kind))
