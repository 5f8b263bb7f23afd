"""MFuser: two frozen encoders, fused block by block, read by a text-queried decoder.

Three streams share the encoders: "fused" passes both with the adapters between them; "vfm" and "vlm" pass one encoder
alone. Each stream has a head of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mfuser import checkpoint, hub, official, presets
from mfuser.decoder.head import MFuserOutput, SegmentationHead
from mfuser.encoders.base import VisionEncoder, VisionLanguageEncoder, freeze
from mfuser.encoders.dinov2 import DINOv2
from mfuser.encoders.nano import NanoVision, NanoVisionLanguage
from mfuser.encoders.vlm import CLIP, EVA02CLIP, SigLIP
from mfuser.fusion.stack import CoAdapters
from mfuser.linear import use_fast_products
from mfuser.open_vocabulary import Words
from mfuser.presets import Preset

ENCODERS: dict[str, Callable[..., VisionEncoder]] = {
    "nano-vfm": NanoVision,
    "nano-vlm": NanoVisionLanguage,
    "dinov2": DINOv2,
    "eva02-clip": EVA02CLIP,
    "clip": CLIP,
    "siglip": SigLIP,
}


@dataclass
class Features:
    """Encoder side of a stream: what a head reads, and the last tokens."""

    taps: list[Tensor]  # 4 x (B, C, g, g)
    visual: Tensor  # (B, 1 + g*g, C_t), or (B, 1 + g*g, C) of a VFM alone
    vfm: Tensor | None  # (B, L_d, C_d) after the last block
    vlm: Tensor | None  # (B, L_v, C_v)
    grid: tuple[int, int]


# Called after each pair of blocks of the fused stream: (index, {"vfm": before, "vlm": before}, {... after}).
Recorder = Callable[[int, dict[str, Tensor], dict[str, Tensor]], None]
Embedded = dict[str, tuple[Tensor, tuple[int, int]]]
Pixels = Tensor | Mapping[str, Tensor]


class MFuser(nn.Module):
    """Build with `from_preset` or `from_official`. Pixels are float RGB 0..255; see `embed` for their sides.

    token_ids: (K, T) int64 of the class names, for a vocabulary that is not at hand. bare_encoders: make the encoders
    without memory, for weights that are loaded next.
    """

    def __init__(self, preset: Preset, token_ids: Tensor | None = None, bare_encoders: bool = False):
        super().__init__()
        self.preset = preset
        with torch.device("meta") if bare_encoders else nullcontext():
            self.vfm = freeze(ENCODERS[preset.vfm.family](**preset.vfm.options))
            self.vlm: VisionLanguageEncoder = freeze(ENCODERS[preset.vlm.family](**preset.vlm.options))
        self.fusion = CoAdapters(preset.fusion, self.vfm, self.vlm)
        channels = {"vfm": self.vfm.width, "vlm": self.vlm.width, "fused": self.vfm.width + self.vlm.width}
        self.heads = nn.ModuleDict(
            {
                stream: SegmentationHead(
                    channels[stream],
                    self.vlm.embed_dim,
                    self.vlm.text.width,
                    len(preset.classes),
                    preset.decoder,
                    visual_width=self.vfm.width if stream == "vfm" else None,
                )
                for stream in preset.streams
            }
        )
        use_fast_products(self)
        self.temperatures = dict.fromkeys(preset.streams, 1.0)  # of the confidence, fitted after training
        self._texts: dict[str, tuple[int, Tensor]] = {}
        self._counted: dict[str, int] | None = None  # parameters of each stream, once some are merged
        self.register_buffer("class_ids", None, persistent=False)
        if token_ids is not None:
            self.set_class_ids(token_ids)
        elif self.vlm.vocabulary_is_here():
            self.set_class_ids(self.tokenize_classes())

    @classmethod
    def from_preset(
        cls, name: str | Preset, pretrained: bool | str = True, weights: str | Path | None = None
    ) -> MFuser:
        """Build a preset with its weights, or random ones.

        pretrained: True for all weights; "encoders" for those of the frozen encoders only, as training needs them;
        False for none. weights: the folder where they lie (default: `presets.folder_of`); public encoders that are not
        in it come from the hub; streams that it has besides the preset's own are loaded too. Raises ValueError for an
        unknown name, `checkpoint.WeightsError` for missing or foreign weights.
        """
        preset = presets.get(name) if isinstance(name, str) else name
        folder = Path(weights) if weights else presets.folder_of(preset)
        if pretrained == "encoders":
            model = cls(preset, bare_encoders=True)
            for encoder in ("vfm", "vlm"):
                checkpoint.load_encoder(model, encoder, folder)
        elif pretrained:
            preset = presets.with_trained_streams(preset, folder)
            with torch.device("meta"):  # no memory, no time for random values; the weights take their place
                model = cls(preset)
            checkpoint.load_folder(model, folder)
        else:
            model = cls(preset)
        return model.eval()

    @classmethod
    def from_official(
        cls,
        source: str | Path | Mapping[str, Tensor],
        vlm: str | None = None,
        token_ids: Tensor | None = None,
        preset: Preset | None = None,
    ) -> MFuser:
        """Build a paper preset from a checkpoint of the authors.

        source: their file, or its state dict, whose tensors are used as they are, without a copy. vlm: "eva02-clip-l",
        "clip-l" or "siglip-l"; None recognises it. token_ids: (K, 5) int64 of the class names, for SigLIP when its
        vocabulary is not at hand. preset: one of the same layout and other sizes.
        Raises `checkpoint.WeightsError` naming every missing, extra and misshaped key.
        """
        state = official.read(source) if isinstance(source, (str, Path)) else checkpoint.unwrap(source)
        if preset is None:
            preset = presets.get(f"dinov2-l+{official.recognise(state, vlm)}")
        with torch.device("meta"):
            model = cls(preset, token_ids)
        model.vlm.text.shorten(preset.decoder.prompts + preset.decoder.class_tokens)
        model.load_state_dict(official.convert(state, model), assign=True)
        return model.eval()

    def tokenize_classes(self) -> Tensor:
        """Token ids of the preset's class names, (K, T) int64. Raises hub.MissingError without their vocabulary."""
        try:
            with torch.device("cpu"):  # also inside a model that is made without memory
                return self.vlm.tokenize(list(self.preset.classes), self.preset.decoder.class_tokens)
        except hub.MissingError as error:
            raise hub.MissingError(f"The class names need a vocabulary, or token_ids. {error}") from error

    def set_class_ids(self, ids: Tensor) -> None:
        """Use these token ids, (K, T) int64, for the class names. Raises ValueError for another shape or dtype."""
        shape = (len(self.preset.classes), self.preset.decoder.class_tokens)
        if tuple(ids.shape) != shape or ids.dtype != torch.int64:
            got = f"{tuple(ids.shape)} {str(ids.dtype).removeprefix('torch.')}"
            raise ValueError(f"Token ids of the classes must be {shape} int64, got {got}: one row per class name.")
        device = self.class_ids.device if self.class_ids is not None else "cpu"
        self.class_ids = ids.to(device)
        self._texts = {}

    def for_inference(self) -> MFuser:
        """Prepare for speed, in place; the model can no longer be trained or saved. Safe to call again."""
        self._counted = self.count_parameters()
        for part in (self.vfm, self.vlm, *self.heads.values()):
            part.for_inference()
        return self

    def forward(
        self, pixels: Pixels, stream: str = "fused", record: Recorder | None = None, words: Words | None = None
    ) -> MFuserOutput:
        """pixels: (B, 3, H, W) float RGB 0..255; see `embed`. stream: "vfm", "vlm" or "fused". words: see `decode`."""
        return self.decode(self.features(self.embed(pixels, stream), stream, record), stream, words)

    def embed(self, pixels: Pixels, stream: str = "fused") -> Embedded:
        """Tokens entering block 0 of each encoder the stream uses; the same for the stream alone and fused.

        pixels: (B, 3, H, W) float RGB 0..255, for both encoders or, of one size, {"vfm": ..., "vlm": ...}, of which all
        that the stream uses must be there.
        Sides must be multiples of `preset.divisor` where the preset is exact; else pixels beyond whole patches are not
        seen, as in the released code's 512-pixel windows with patches of 14. Raises ValueError for other sides and for
        a picture that is missing.
        """
        given = pixels if isinstance(pixels, Mapping) else dict.fromkeys(encoders_of(stream), pixels)
        if lacking := [name for name in encoders_of(stream) if name not in given]:
            raise ValueError(f"The stream {stream!r} needs pixels for {lacking[0]!r} too, got {', '.join(given)}.")
        shown = {name: given[name] for name in encoders_of(stream)}
        divisor = self.preset.divisor
        for height, width in dict.fromkeys(tuple(picture.shape[-2:]) for picture in shown.values()):
            if min(height, width) < divisor or (self.preset.exact and (height % divisor or width % divisor)):
                h, w = (max(divisor, round(n / divisor) * divisor) for n in (height, width))
                must = "multiples of" if self.preset.exact else "at least"
                raise ValueError(f"Input sides must be {must} {divisor}: {height}x{width} is not, {h}x{w} is.")
        with torch.no_grad():
            return {name: getattr(self, name).embed(picture) for name, picture in shown.items()}

    def features(self, embedded: Embedded, stream: str = "fused", record: Recorder | None = None) -> Features:
        """Run the encoders of a stream from their tokens."""
        if stream == "fused":
            return self._fused(embedded, record)
        return self._alone(embedded, stream)

    @torch.no_grad()
    def _alone(self, embedded: Embedded, stream: str) -> Features:
        encoder: VisionEncoder = getattr(self, stream)
        (tokens, grid), side = embedded[stream], ("vfm", "vlm").index(stream)
        ends = [pair[side] for pair in self.fusion.pairs]
        tap_blocks, taps = {ends[t] for t in self.preset.taps}, []
        for i in range(encoder.depth):
            tokens = encoder.block(i, tokens, grid)
            if i in tap_blocks:
                taps.append(encoder.to_map(tokens, grid))
        normed = encoder.norm(tokens)
        if stream == "vlm":
            return Features(taps, self.vlm.dense(normed), None, tokens, grid)
        return Features(taps, normed, tokens, None, grid)

    def _fused(self, embedded: Embedded, record: Recorder | None) -> Features:
        (d, grid), (v, vlm_grid) = embedded["vfm"], embedded["vlm"]
        if grid != vlm_grid:
            raise ValueError(f"The encoders' patch grids differ, {grid} and {vlm_grid}: choose equal patch sizes.")
        taps, i, j = [], 0, 0
        for index, (end_vfm, end_vlm) in enumerate(self.fusion.pairs):
            for i in range(i, end_vfm + 1):  # noqa: B020  equation 1
                d = self.vfm.block(i, d, grid)
            for j in range(j, end_vlm + 1):  # noqa: B020
                v = self.vlm.block(j, v, grid)
            i, j = end_vfm + 1, end_vlm + 1
            to_d, to_v = self.fusion(index, d, v, grid)  # equation 2
            before = {"vfm": d, "vlm": v}
            d, v = d + to_d, v + to_v  # equation 3
            if record is not None:
                record(index, before, {"vfm": d, "vlm": v})
            if index in self.preset.taps:
                taps.append(torch.cat([self.vfm.to_map(d, grid), self.vlm.to_map(v, grid)], dim=1))
        return Features(taps, self._joint_embedding(d, v), d, v, grid)

    def _joint_embedding(self, d: Tensor, v: Tensor) -> Tensor:
        """Dense visual embedding of both streams in the text space, (B, 1 + g*g, C_t)."""
        extra = self.vfm.prefix - self.vlm.prefix  # a VLM without cls token meets the VFM's patches only
        if self.fusion.joint is not None:
            return self.vlm.dense(self.vlm.norm(v + self.fusion.joint(d[:, extra:])))
        return self.vlm.dense(self.vlm.norm(v) + self.vfm.norm(d)[:, extra:])

    def decode(self, features: Features, stream: str, words: Words | None = None) -> MFuserOutput:
        """Run a stream's head, for the trained classes or (experimental) for the names of `open_vocabulary.words`.

        Raises ValueError when the preset has no head for the stream.
        """
        if stream not in self.heads:
            raise ValueError(f"Preset {self.preset.name!r} has no trained decoder for {stream!r}.")
        text, mix = (self.class_text(stream), None) if words is None else (words.text, words.mix)
        return self.heads[stream](features.taps, text, features.visual, mix)

    def class_text(self, stream: str) -> Tensor:
        """Class embeddings of the prompt-tuned text tower, (K, C_t); computed once per state of the prompts."""
        prompts = self.heads[stream].prompts
        if self.class_ids is None:
            self.set_class_ids(self.tokenize_classes().to(prompts.device))
        if torch.is_grad_enabled() and prompts.requires_grad:
            return self.vlm.text(self.class_ids, prompts)
        cached = self._texts.get(stream)
        version = 0 if prompts.is_inference() else prompts._version  # a model loaded in inference mode counts none
        if cached is None or cached[0] != version or cached[1].device != prompts.device:
            # Once for all images, and whatever their precision: so exactly.
            with torch.no_grad(), torch.autocast(prompts.device.type, enabled=False):
                cached = (version, self.vlm.text(self.class_ids, prompts))
            self._texts[stream] = cached
        return cached[1]

    def alignment_logits(self, score_map: Tensor) -> Tensor:
        """Score map (cosines) as logits of the pixel-text alignment loss."""
        return score_map / self.vlm.temperature

    def count_parameters(self) -> dict[str, int]:
        """Parameters that each of the three streams needs, its encoders' included, as trained and saved."""
        if self._counted is not None:
            return self._counted
        own = {s: sum(p.numel() for m in self.owners(s).values() for p in m.parameters()) for s in self.heads}
        vfm, vlm = (sum(p.numel() for p in m.parameters()) for m in (self.vfm, self.vlm))
        text = sum(p.numel() for p in self.vlm.text.parameters()) if "vfm" in own else 0  # a decoder's queries
        encoders = {"vfm": vfm + text, "vlm": vlm, "fused": vfm + vlm}
        return {stream: own.get(stream, 0) + count for stream, count in encoders.items()}

    @property
    def prepared(self) -> bool:
        """True once `for_inference` has merged weights."""
        return self._counted is not None

    def refuse_prepared(self) -> None:
        """Raises ValueError for a model that can no longer be trained or saved."""
        if self.prepared:
            raise ValueError(
                "This model was prepared for inference, which merges weights: to train or save one, make it by "
                "MFuser.from_preset or MFuser.from_official."
            )

    # -- training -------------------------------------------------------------------------------------------------

    def owners(self, stream: str) -> dict[str, nn.Module]:
        """Modules that training a stream changes, by their prefix in the state dict."""
        owned: dict[str, nn.Module] = {f"heads.{stream}": self.heads[stream]}
        return {"fusion": self.fusion, **owned} if stream == "fused" else owned

    def trainable(self, stream: str) -> dict[str, nn.Parameter]:
        """Parameters that training a stream changes, by name."""
        return {f"{p}.{n}": w for p, m in self.owners(stream).items() for n, w in m.named_parameters()}

    def train_mode(self, stream: str) -> MFuser:
        """Training mode and gradients for one stream's own modules; everything else stays frozen in evaluation.

        Raises ValueError for a model that was prepared for inference.
        """
        self.refuse_prepared()
        freeze(self)
        for module in self.owners(stream).values():
            module.train().requires_grad_(True)
        return self

    def state_for(self, stream: str) -> dict[str, Tensor]:
        """Trainable part of a stream with its buffers."""
        return {f"{p}.{n}": t for p, m in self.owners(stream).items() for n, t in m.state_dict().items()}

    def load_state_for(self, stream: str, state: dict[str, Tensor]) -> None:
        """Load what `state_for` gave. Raises `checkpoint.WeightsError` naming every missing, extra or misshaped key."""
        checkpoint.fill(self.owners(stream), state, f"stream {stream!r}")
        self._texts.pop(stream, None)


def encoders_of(stream: str) -> Iterable[str]:
    """Names of the encoders that a stream runs. Raises ValueError for an unknown stream."""
    if stream not in presets.STREAMS:
        raise ValueError(f"Unknown stream {stream!r}; choose one of {', '.join(presets.STREAMS)}.")
    return ("vfm", "vlm") if stream == "fused" else (stream,)
