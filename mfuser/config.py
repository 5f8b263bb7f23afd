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
    """A file of a model repository on the Hugging Face hub."""

    repo: str  # "owner/name"
    files: tuple[str, ...]  # names of files with the same content, the preferred one first

    @property
    def command(self) -> str:
        """Shell command that puts the file into the cache, from where it is read."""
        return f"hf download {self.repo} {self.files[0]}"


@dataclass(frozen=True)
class EncoderConfig:
    """One encoder of a preset."""

    family: str  # key of `mfuser.encoders.registry.ENCODERS`
    title: str  # what people read
    options: dict[str, Any] = field(default_factory=dict)  # arguments of the encoder's constructor
    source: Source | None = None  # public weights; None when the preset brings its own
    vocabulary: Source | None = None  # of the text tower's tokens; None when the packages bring it


@dataclass(frozen=True)
class FusionConfig:
    """How the encoders are fused. Raises ValueError for an unknown kind."""

    kind: str = "mvfuser"  # one of FUSIONS
    state: int = 16  # scan states per channel
    conv: int = 3  # width of the depthwise convolution over tokens, odd
    dropout: float = 0.1  # share of every adapter's output
    init_scale: float = 1e-3  # first value of the learned factor on every adapter's output
    projections: bool = False  # linear layers around the VFM's side of each adapter, always there when widths differ
    joint: str = "sum"  # dense embedding: "sum" of both normed streams, or VLM plus "projected" VFM

    def __post_init__(self) -> None:
        if self.kind not in FUSIONS:
            raise ValueError(f"Unknown fusion {self.kind!r}; choose one of {', '.join(FUSIONS)}.")


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of everything that is trained besides the adapters. The defaults are the paper's."""

    width: int = 256  # channels of both decoders
    heads: int = 8  # of every attention of both decoders
    points: int = 4  # sampled per head and level by the deformable attention
    pixel_layers: int = 6  # layers of the pixel decoder
    pixel_ffn: int = 2048  # hidden channels of its feed-forward layers
    query_layers: int = 9  # layers of the query decoder
    query_ffn: int = 2048  # hidden channels of its feed-forward layers
    norm_groups: int = 32  # groups of every GroupNorm
    enhancer_width: int = 256  # channels of MTEnhancer
    enhancer_heads: int = 4  # of its self-attention
    prompts: int = 8  # learned tokens in the text encoder
    prompt_std: float = 1.0  # of their random start, as released
    text_scale_std: float = 1.0  # of the random start of MTEnhancer's factor, as released: it starts large
    class_tokens: int = 5  # length to which class names are tokenized


@dataclass(frozen=True)
class Preset:
    """Everything that is needed to build a model."""

    name: str  # key of `presets.PRESETS`
    title: str  # what people read
    vfm: EncoderConfig  # vision foundation model
    vlm: EncoderConfig  # vision-language model
    fusion: FusionConfig = FusionConfig()  # the adapters between them
    decoder: DecoderConfig = DecoderConfig()  # what is trained besides the adapters
    taps: tuple[int, int, int, int] = (7, 11, 15, 23)  # VFM blocks after which the pyramid is fed
    streams: tuple[str, ...] = ("fused",)  # streams with a decoder of their own
    classes: tuple[str, ...] = CLASSES  # class names, which are the text queries too
    resolution: int = 512  # short side in pixels at which a single pass runs
    divisor: int = 14  # pixels of which input sides are multiples
    exact: bool = True  # refuse other sides; else pixels beyond whole patches are not seen, as released
    sliding: tuple[int, int] | None = None  # most pixels of the (short, long) side for windows; None: as a single pass
    longest: int = 2048  # most pixels of the long side
    licence: str = "weights: see their source"  # of the weights, for people
    weights: Path | None = None  # folder of built-in weights

    def check_sides(self, height: int, width: int) -> None:
        """Check that the network can take a picture of this size.

        Args:
            height: in pixels.
            width: in pixels.

        Raises:
            ValueError: it cannot. The message names sides that would do.
        """
        divisor = self.divisor
        if min(height, width) < divisor or (self.exact and (height % divisor or width % divisor)):
            h, w = (max(divisor, round(n / divisor) * divisor) for n in (height, width))
            must = "multiples of" if self.exact else "at least"
            raise ValueError(f"Input sides must be {must} {divisor}: {height}x{width} is not, {h}x{w} is.")


def encoders_of(stream: str) -> tuple[str, ...]:
    """Names of the encoders that a stream runs.

    Args:
        stream: one of `STREAMS`.

    Raises:
        ValueError: unknown stream.
    """
    if stream not in STREAMS:
        raise ValueError(f"Unknown stream {stream!r}; choose one of {', '.join(STREAMS)}.")
    return ("vfm", "vlm") if stream == "fused" else (stream,)
