"""The model zoo as data: which encoders, how fused, how wide a decoder, whose licence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mfuser.cityscapes import CLASSES

ASSETS = Path(__file__).resolve().parent.parent / "assets"
STREAMS = ("vfm", "vlm", "fused")


@dataclass(frozen=True)
class EncoderConfig:
    """family: key of `mfuser.model.ENCODERS`. title: what the page calls it. options: of its constructor."""

    family: str
    title: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FusionConfig:
    """How the encoders meet."""

    kind: str = "mvfuser"
    state: int = 16  # scan states per channel
    conv: int = 3  # depthwise kernel over tokens
    dropout: float = 0.1
    init_scale: float = 1e-3  # of every adapter's output
    projections: bool = False  # linear layers around the VFM's side (needed when widths differ)
    joint: str = "sum"  # dense embedding from "sum" of both normed streams, or VLM plus "projected" VFM


@dataclass(frozen=True)
class DecoderConfig:
    """Widths of everything that is trained behind the encoders; the defaults are the paper's."""

    width: int = 256
    heads: int = 8
    points: int = 4  # sampled per head and level
    pixel_layers: int = 6
    pixel_ffn: int = 2048
    query_layers: int = 9
    query_ffn: int = 2048
    norm_groups: int = 32
    enhancer_width: int = 256
    enhancer_heads: int = 4
    prompts: int = 8  # learned tokens in the text encoder
    prompt_std: float = 1.0  # as released
    text_scale_std: float = 1.0  # as released: the enhancer starts large and random
    class_tokens: int = 5  # length to which class names are tokenized


@dataclass(frozen=True)
class Preset:
    """Everything needed to build a model."""

    name: str
    title: str
    vfm: EncoderConfig
    vlm: EncoderConfig
    fusion: FusionConfig = FusionConfig()
    decoder: DecoderConfig = DecoderConfig()
    taps: tuple[int, int, int, int] = (7, 11, 15, 23)  # VFM blocks after which the pyramid is fed
    streams: tuple[str, ...] = ("fused",)  # streams with a decoder of their own
    classes: tuple[str, ...] = CLASSES
    resolution: int = 512  # short side in pixels at which a single pass runs
    divisor: int = 14  # input sides are multiples of this
    longest: int = 2048  # long side is never more
    licence: str = "weights: see their source"
    weights: Path | None = None  # folder of built-in weights


NANO = Preset(
    name="nano",
    title="nano (built in)",
    vfm=EncoderConfig("nano-vfm", "nano-VFM: self-distilled hybrid ViT", {"strides": (4, 8, 16)}),
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

PRESETS: dict[str, Preset] = {p.name: p for p in (NANO,)}


def get(name: str) -> Preset:
    """The preset of a name. Raises ValueError that lists the known ones."""
    if name not in PRESETS:
        raise ValueError(f"Unknown preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def available() -> list[dict[str, Any]]:
    """Every preset: {"name", "title", "runnable", "why", "command"}; `why` and `command` say what is missing."""
    return [_status(preset) for preset in PRESETS.values()]


def _status(preset: Preset) -> dict[str, Any]:
    missing = []
    if preset.weights is not None:
        missing = [name for name in weight_files(preset) if not (preset.weights / name).is_file()]
    why = f"missing in {preset.weights.name}/: {', '.join(missing)}" if missing else None
    command = f"git checkout -- assets/{preset.weights.name}" if missing else None
    return {"name": preset.name, "title": preset.title, "runnable": not missing, "why": why, "command": command}


def weight_files(preset: Preset) -> list[str]:
    """File names inside a weights folder: the two encoders, then one file per stream."""
    return ["encoder-vfm.safetensors", "encoder-vlm.safetensors", *(f"stream-{s}.safetensors" for s in preset.streams)]


def with_classes(preset: Preset, classes: tuple[str, ...]) -> Preset:
    """The same preset for another class list."""
    return replace(preset, classes=tuple(classes))
