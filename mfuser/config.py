"""What a model is made of: encoders, fusion, decoder. The ground of the project."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfuser.cityscapes import CLASSES

ASSETS = Path(__file__).resolve().parent.parent / "assets"
STREAMS = ("vfm", "vlm", "fused")
FUSIONS = (  # Tables 3 and 4 of the paper; `mfuser.fusion.alternatives` says what each is
    *("mvfuser", "self-attention", "separate-attention", "deformable", "convolution", "learnable-tokens"),
    *("separate", "concat"),
)


@dataclass(frozen=True)
class Source:
    """A file of a model repository. files: names of the same content, the preferred one first."""

    repo: str
    files: tuple[str, ...]

    @property
    def command(self) -> str:
        """Shell command that puts the file into the cache, from where it is read."""
        return f"hf download {self.repo} {self.files[0]}"


@dataclass(frozen=True)
class EncoderConfig:
    """family: key of `mfuser.encoders.registry.ENCODERS`. title: what the page calls it. options: of its constructor.

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

    kind: str = "mvfuser"  # one of FUSIONS
    state: int = 16  # scan states per channel
    conv: int = 3  # depthwise kernel over tokens
    dropout: float = 0.1
    init_scale: float = 1e-3  # of every adapter's output
    projections: bool = False  # linear layers around the VFM's side (needed when widths differ)
    joint: str = "sum"  # dense embedding from "sum" of both normed streams, or VLM plus "projected" VFM

    def __post_init__(self) -> None:
        if self.kind not in FUSIONS:
            raise ValueError(f"Unknown fusion {self.kind!r}; choose one of {', '.join(FUSIONS)}.")


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

    def check_sides(self, height: int, width: int) -> None:
        """Raises ValueError, with sides that would do, when the network cannot take a picture of this size."""
        divisor = self.divisor
        if min(height, width) < divisor or (self.exact and (height % divisor or width % divisor)):
            h, w = (max(divisor, round(n / divisor) * divisor) for n in (height, width))
            must = "multiples of" if self.exact else "at least"
            raise ValueError(f"Input sides must be {must} {divisor}: {height}x{width} is not, {h}x{w} is.")


def encoders_of(stream: str) -> tuple[str, ...]:
    """Names of the encoders that a stream runs. Raises ValueError for an unknown stream."""
    if stream not in STREAMS:
        raise ValueError(f"Unknown stream {stream!r}; choose one of {', '.join(STREAMS)}.")
    return ("vfm", "vlm") if stream == "fused" else (stream,)
