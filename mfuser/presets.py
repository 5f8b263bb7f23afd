"""The model zoo as data: which encoders, how fused, how wide a decoder, whose licence."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mfuser import hub
from mfuser.cityscapes import CLASSES
from mfuser.hub import Source

ASSETS = Path(__file__).resolve().parent.parent / "assets"
STREAMS = ("vfm", "vlm", "fused")


@dataclass(frozen=True)
class EncoderConfig:
    """family: key of `mfuser.model.ENCODERS`. title: what the page calls it. options: of its constructor.

    source: of public weights; None when the preset brings its own. vocabulary: of the text tower's tokens; None when
    the packages bring it.
    """

    family: str
    title: str
    options: dict[str, Any] = field(default_factory=dict)
    source: Source | None = None
    vocabulary: Source | None = None


@dataclass(frozen=True)
class FusionConfig:
    """How the encoders meet."""

    kind: str = "mvfuser"  # key of `mfuser.fusion.alternatives.ADAPTERS`
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
    exact: bool = True  # other sides are refused; otherwise pixels beyond whole patches are not seen, as released
    sliding: tuple[int, int] | None = None  # (short, long) side into which windows' images fit; None: as a single pass
    longest: int = 2048  # long side is never more
    licence: str = "weights: see their source"
    weights: Path | None = None  # folder of built-in weights


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

    Both see a 512-pixel window as the same patch grid: 36 x 36 patches of 14 pixels for EVA02-CLIP-L (8 pixels at the
    right and bottom stay unseen), else 32 x 32 patches of 16, to which kernels of 14 pixels are resampled.
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


OFFICIAL = ("eva02-clip-l", "clip-l", "siglip-l")  # vision-language encoders of the authors' checkpoints
CHECKPOINTS = (
    "iter_20000.pth is a checkpoint of the authors' release, https://github.com/devinxzhang/MFuser, as its training "
    "writes it"
)
PRESETS: dict[str, Preset] = {p.name: p for p in (NANO, *map(pair, VLMS))}


def get(name: str) -> Preset:
    """The preset of a name. Raises ValueError that lists the known ones."""
    if name not in PRESETS:
        raise ValueError(f"Unknown preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def available() -> list[dict[str, Any]]:
    """Every preset: {"name", "title", "runnable", "why", "command"}; `why` and `command` say what is missing."""
    return [_status(preset) for preset in PRESETS.values()]


def _status(preset: Preset) -> dict[str, Any]:
    if (folder := folder_of(preset)) is None:  # made by tests and experiments; its weights are always passed
        return {"name": preset.name, "title": preset.title, "runnable": True, "why": None, "command": None}
    missing = [name for name in weight_files(preset) if not (folder / name).is_file()]
    encoders = {"encoder-vfm.safetensors": preset.vfm, "encoder-vlm.safetensors": preset.vlm}
    missing = [n for n in missing if n not in encoders or not _found(encoders[n], folder)]
    why = command = None
    if missing:
        why = f"missing in {folder.name}/: {', '.join(missing)}"
        command = f"git checkout -- assets/{folder.name}" if preset.weights else way(preset, folder)
        if is_official(preset) and "stream-fused.safetensors" in missing:
            why += f"; {CHECKPOINTS}"
    elif (command := vocabulary_command(preset, folder)) is not None:
        why = "missing: the vocabulary of its class names"
    return {"name": preset.name, "title": preset.title, "runnable": why is None, "why": why, "command": command}


def _found(encoder: EncoderConfig, folder: Path) -> bool:
    return encoder.source is not None and hub.find(encoder.source, folder) is not None


def way(preset: Preset, folder: Path) -> str:
    """Command that makes a preset of public encoders runnable: the authors' checkpoints hold the encoders too."""
    vlm = preset.name.partition("+")[2]
    streams = [n for n in weight_files(preset) if n.startswith("stream-") and not (folder / n).is_file()]
    if is_official(preset) and streams:
        return f"python -m mfuser import-official iter_20000.pth --vlm {vlm} --out {shlex.quote(str(folder))}"
    commands = [e.source.command for e in (preset.vfm, preset.vlm) if e.source and not _found(e, folder)]
    if streams:
        commands.append(f"python -m train fit --preset {preset.name} --data DATA --out {shlex.quote(str(folder))}")
    return " && ".join(commands)


def vocabulary_command(preset: Preset, folder: Path) -> str | None:
    """Command that gets the vocabulary of a preset's class names; None where it is here, or the streams in the folder
    hold their token ids."""
    source = preset.vlm.vocabulary
    if source is None or _holds_class_ids(preset, folder):
        return None
    lacking = [] if importlib.util.find_spec("tokenizers") else ["pip install tokenizers"]
    lacking += [] if hub.find(source) else [source.command]
    return " && ".join(lacking) or None


def _holds_class_ids(preset: Preset, folder: Path) -> bool:
    from mfuser import checkpoint  # imports this module

    files = [path for s in preset.streams if (path := folder / f"stream-{s}.safetensors").is_file()]
    try:
        return any("class_ids" in checkpoint.load_metadata(path) for path in files)
    except checkpoint.WeightsError:  # a damaged file, which loading tells
        return False


def is_official(preset: Preset) -> bool:
    """True for a preset of which the authors' checkpoints are."""
    return preset.name.partition("+")[2] in OFFICIAL


def folder_of(preset: Preset) -> Path | None:
    """The folder where a preset's weights are looked for: its built-in one, or, with public encoders, its own in the
    user's folder (`hub.home`)."""
    return hub.home() / preset.name if preset.weights is None and preset.vfm.source else preset.weights


def weight_files(preset: Preset) -> list[str]:
    """File names inside a weights folder: the two encoders, then one file per stream."""
    return ["encoder-vfm.safetensors", "encoder-vlm.safetensors", *(f"stream-{s}.safetensors" for s in preset.streams)]


def with_classes(preset: Preset, classes: tuple[str, ...]) -> Preset:
    """The same preset for another class list."""
    return replace(preset, classes=tuple(classes))


def with_streams(preset: Preset, streams: Iterable[str]) -> Preset:
    """The same preset with decoders for these streams behind its own, whose random start does not change so."""
    more = tuple(s for s in dict.fromkeys(streams) if s not in preset.streams)
    return replace(preset, streams=preset.streams + more) if more else preset


def with_trained_streams(preset: Preset, folder: Path | None) -> Preset:
    """The same preset with the further streams whose weights lie in a folder."""
    found = [] if folder is None else [s for s in STREAMS if (folder / f"stream-{s}.safetensors").is_file()]
    return with_streams(preset, found)


def training_command(preset: Preset, stream: str) -> str:
    """Trains the decoder of one more stream into WEIGHTS, the folder that holds the preset's stream-fused file."""
    return f"python -m train fit --streams {stream} --preset {preset.name} --data DATA --out WEIGHTS"


def with_fusion(preset: Preset, kind: str) -> Preset:
    """The same preset with another adapter, a key of `mfuser.fusion.alternatives.ADAPTERS`.

    The preset's own fused weights are MVFuser's and do not fit another kind. Raises ValueError for an unknown kind.
    """
    from mfuser.fusion.alternatives import ADAPTERS  # imports this module

    if kind not in ADAPTERS:
        raise ValueError(f"Unknown fusion {kind!r}; choose one of {', '.join(ADAPTERS)}.")
    return replace(preset, fusion=replace(preset.fusion, kind=kind))
