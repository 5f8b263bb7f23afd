"""An image in, an Analysis out: runs the three streams, at the sizes of `windows` and in the formats of `precision`."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser import fallbacks, images, kernels, open_vocabulary, presets
from mfuser.analysis import Analysis
from mfuser.decoder.head import MFuserOutput
from mfuser.encoders.vocabulary import END
from mfuser.fusion.selective_scan import fastest_kernel
from mfuser.model import Features, MFuser
from mfuser.open_vocabulary import Words
from mfuser.precision import PRECISIONS, store_weights
from mfuser.streamline import compile_blocks, streamline
from mfuser.windows import sliding_size, window_places, working_size

logger = logging.getLogger(__name__)

BATCH = {"cpu": 1, "cuda": 6}  # windows at once: bounds the memory; a CPU gains nothing from more


class Segmenter:
    """A model on a device. `analyse` is the one expensive call; everything in its Analysis is cheap.

    The model becomes the segmenter's own: with precision "bf16" most of its weights are stored in bfloat16, and on CUDA
    modules are merged (`mfuser.streamline`), so that it can no longer be trained or saved.
    """

    def __init__(
        self,
        model: MFuser,
        device: str = "cpu",
        precision: str = "float32",
        weights: str = "random",
        classes: Sequence[str] | None = None,
    ):
        if precision not in PRECISIONS:
            raise ValueError(f"Unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}.")
        self.model = model.to(device).eval()
        self.device, self.precision, self.weights = torch.device(device), precision, weights
        self._parameters = _parameters(self.model)
        if precision != "float32":
            if self.device.type == "cuda":
                streamline(self.model, PRECISIONS[precision], skip=self.model.vlm.text)
                kernels.trust(self.device)
            store_weights(self.model, PRECISIONS[precision])
        self.classes = None if classes is None else open_vocabulary.check(classes, self.preset.classes)
        self.remember = 0  # bytes for what the encoders gave, so that another class list runs the decoders only
        self._seen: OrderedDict[tuple, _Seen] = OrderedDict()
        self._words: OrderedDict[tuple, Words] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def preset(self) -> presets.Preset:
        return self.model.preset

    def compile(self) -> Segmenter:
        """Let torch.compile fuse the encoder blocks; returns the segmenter. For many passes on a GPU: it needs a C
        compiler there, and the first pass waits for it."""
        compile_blocks(self.model)
        return self

    @torch.inference_mode()
    def analyse(
        self,
        image: Any,
        windows: str = "single",
        resolution: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> Analysis:
        """Run every stream once.

        image: whatever `images.load` reads. windows: "single" (whole image at once) or "sliding" (masks from the
        paper's 512-pixel windows, stride 341; features still from one pass). resolution: short side in pixels at which
        the network sees the image; None for the preset's. classes: other names than the trained ones (experimental, see
        `open_vocabulary`); None for those that the segmenter was made with.
        Raises images.ImageError, or ValueError for bad arguments.

        The two differ for encoders with learned positions: a window of 512 pixels has the very grid of their position
        table, as the released code evaluates; a single pass stretches table and rotary positions over its own grid.
        Masks that no decoder makes (`Analysis.made`) come from the one pass always.
        """
        if windows not in ("single", "sliding"):
            raise ValueError(f"Unknown windows {windows!r}; choose single or sliding.")
        names = self.classes if classes is None else open_vocabulary.check(classes, self.preset.classes)
        picture = images.load(image)
        with self._lock:
            return self._analyse(picture, windows, resolution, names)

    def _analyse(
        self, picture: np.ndarray, windows: str, resolution: int | None, names: tuple[str, ...] | None
    ) -> Analysis:
        model, started = self.model, time.perf_counter()
        pixels = self.to_pixels(picture, working_size(picture.shape[:2], self.preset, resolution))
        wide = pixels
        if windows == "sliding" and self.preset.sliding is not None:
            wide = self.to_pixels(picture, sliding_size(picture.shape[:2], self.preset, resolution))
        key = (images.fingerprint(picture), tuple(pixels.shape)) if self.remember else None
        again = key in self._seen
        seen = self._seen[key] if again else self._look(pixels)
        clock, scores, words = _Clock(self.device), {}, None
        with self.autocast():
            for stream in [s for s in presets.STREAMS if s in model.heads]:
                words = None if names is None else self._words_of(names, stream)
                output = model.decode(seen.features[stream], stream, words)
                scores[stream] = output.semantic() if windows == "single" else self._sliding(wide, stream, words)
                clock.stop(stream)
        masks, confidence, made = self._decide(scores, seen, picture.shape[:2], names, clock)
        if key is not None:
            self._keep(key, seen)
        return Analysis(
            image=picture,
            classes=names or self.preset.classes,
            masks=masks,
            confidence=confidence,
            tokens=seen.tokens,
            dense=seen.dense,
            layers=seen.layers,
            offset_norms=seen.offset_norms,
            texts=(_array(model.class_text("fused") if words is None else words.text), _array(output.text[0])),
            ran=self._ran(pixels, windows, seen, again, clock, time.perf_counter() - started),
            encode_text=self.encode_text,
            made=made,
        )

    def _look(self, pixels: Tensor) -> _Seen:
        """Run the encoders: everything that does not depend on the classes."""
        model, seen, clock = self.model, _Seen(), _Clock(self.device)
        grid: tuple[int, int] = (0, 0)

        def record(index: int, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
            sides = {n: tuple(self._patches(n, tokens[n], grid) for tokens in (before, after)) for n in before}
            seen.offset_norms.append({name: _array((b - a).norm(dim=-1)) for name, (a, b) in sides.items()})
            seen.layers.append({name: (_half(a), _half(b)) for name, (a, b) in sides.items()})

        with self.autocast():
            embedded = {}
            for name in ("vfm", "vlm"):
                embedded |= model.embed(pixels, name)
                clock.stop(f"embed {name}")
            grid = embedded["vfm"][1]
            for stream in presets.STREAMS:
                seen.features[stream] = model.features(embedded, stream, record if stream == "fused" else None)
                clock.stop(stream)
        seen.milliseconds = clock.milliseconds
        seen.tokens = {name: _half(self._last_tokens(name, f, grid)) for name, f in seen.features.items()}
        seen.dense = {
            name: _half(F.normalize(seen.features[name].visual[0, 1:].float(), dim=-1).unflatten(0, grid))
            for name in ("vlm", "fused")
        }
        return seen

    def _keep(self, key: tuple, seen: _Seen) -> None:
        """Least recently used goes first; what is larger than all room is not kept."""
        self._seen[key] = seen
        self._seen.move_to_end(key)
        while self._seen and sum(s.nbytes for s in self._seen.values()) > self.remember:
            self._seen.popitem(last=False)

    def _words_of(self, names: tuple[str, ...], stream: str) -> Words:
        """Texts and mixes of names, made once while the list is in use."""
        if (names, stream) not in self._words:
            self._words[names, stream] = open_vocabulary.words(self.model, stream, names)
            while len(self._words) > 4 * len(presets.STREAMS):
                self._words.popitem(last=False)
        return self._words[names, stream]

    @torch.inference_mode()
    def forward(self, pixels: Tensor, stream: str = "fused") -> MFuserOutput:
        """One pass of a stream in the segmenter's precision; pixels (B, 3, H, W) float RGB 0..255."""
        with self.autocast():
            return self.model(pixels.to(self.device), stream)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str], stream: str = "fused") -> np.ndarray:
        """Unit text embeddings (n, C_t) float32: "vlm" from the original tower, "fused" with the learned prompts.

        Text beyond the tower's positions is cut; `is_cut` tells.
        """
        with self._lock:
            return self._encode(texts, stream)

    def _encode(self, texts: Sequence[str], stream: str) -> np.ndarray:
        prompts = self.model.heads["fused"].prompts if stream == "fused" else None
        ids = self.model.vlm.tokenize(list(texts), self._text_room(stream)).to(self.device)
        return _array(F.normalize(self.model.vlm.text(ids, prompts).float(), dim=-1))

    def is_cut(self, text: str) -> bool:
        """True when a text is longer than the text tower reads, so that its end is ignored."""
        return not self.model.vlm.fits(text, self._text_room("fused"))

    def check_classes(self, classes: Sequence[str]) -> tuple[str, ...] | None:
        """As `open_vocabulary.check`; raises ValueError also for a name that the text tower cannot read to its end."""
        names = open_vocabulary.check(classes, self.preset.classes)
        open_vocabulary.token_ids(self.model, names or (), self.model.heads["fused"].prompts.shape[1])
        return names

    def _text_room(self, stream: str) -> int:
        prompts = self.model.heads["fused"].prompts.shape[1]
        return self.model.vlm.text.positions - (prompts if stream == "fused" else 0)

    def to_pixels(self, picture: np.ndarray, size: tuple[int, int]) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, *size) float32 0..255 on the device."""
        resized = images.resize(picture, *size)
        return torch.from_numpy(np.ascontiguousarray(resized)).to(self.device).permute(2, 0, 1)[None].float()

    def _sliding(self, pixels: Tensor, stream: str, words: Words | None = None, batch: int | None = None) -> Tensor:
        """Semantic scores averaged over overlapping windows, (1, K, H, W) at the size of `pixels`, `batch` at once."""
        batch = batch or BATCH.get(self.device.type, 1)
        height, width = pixels.shape[-2:]
        total = pixels.new_zeros(1, len(self.preset.classes if words is None else words.text), height, width)
        count = pixels.new_zeros(1, 1, height, width)
        places = list(window_places(height, width))
        for first in range(0, len(places), batch):
            group = places[first : first + batch]
            crops = torch.cat([pixels[..., y : y + h, x : x + w] for y, x, h, w in group])
            scores = self.model(crops, stream, words=words).semantic()
            scores = F.interpolate(scores, size=crops.shape[-2:], mode="bilinear", align_corners=False)
            for (y, x, h, w), own in zip(group, scores, strict=True):
                total[..., y : y + h, x : x + w] += own
                count[..., y : y + h, x : x + w] += 1
        return total / count

    def _decide(
        self,
        scores: dict[str, Tensor],
        seen: _Seen,
        size: tuple[int, int],
        names: tuple[str, ...] | None,
        clock: _Clock,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, str]]:
        """Masks, confidence and what made each, in the order of STREAMS."""
        decided: dict[str, tuple[np.ndarray, np.ndarray, str]] = {}
        for stream, s in scores.items():
            sharp = s.float().clamp_min(1e-8) ** (1 / self.model.temperatures.get(stream, 1.0))
            certain = sharp.amax(1, keepdim=True) / sharp.sum(1, keepdim=True)
            decided[stream] = (*_upsampled(s.float(), certain, size), "decoder")
        clock.stop("masks")
        if "vlm" not in scores:
            temperature = float(self.model.vlm.temperature)
            own = fallbacks.zero_shot(seen.dense["vlm"], self._class_names(names), temperature)
            decided["vlm"] = (*_upsampled(*own, size), "zero-shot")
            clock.stop("vlm")
        if "vfm" not in scores:
            near = upsampled_argmax(fallbacks.cluster(seen.tokens["vfm"]), size)[0].numpy()
            decided["vfm"] = (*fallbacks.coloured(near, decided["fused"][0]), "clusters")
            clock.stop("vfm")
        return tuple({s: decided[s][part] for s in presets.STREAMS if s in decided} for part in range(3))

    def _class_names(self, names: tuple[str, ...] | None) -> np.ndarray:
        """Unit embeddings of the class names by the original text tower, (K, C_t)."""
        if names is not None or self.model.vlm.vocabulary_is_here():
            return self._encode(names or self.preset.classes, "vlm")
        ids = self.model.class_ids  # came with the weights; the vocabulary, SigLIP's, is not here
        ids = F.pad(ids, (0, self._text_room("vlm") - ids.shape[1]), value=END)
        return _array(F.normalize(self.model.vlm.text(ids).float(), dim=-1))

    def _patches(self, name: str, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(1, L, C) -> (h, w, C) float32."""
        return getattr(self.model, name).patches(tokens)[0].float().unflatten(0, grid)

    def _last_tokens(self, stream: str, f: Features, grid: tuple[int, int]) -> Tensor:
        sides = {"vfm": f.vfm, "vlm": f.vlm}
        normed = [
            self._patches(name, getattr(self.model, name).norm(tokens), grid)
            for name, tokens in sides.items()
            if tokens is not None
        ]
        return torch.cat(normed, dim=-1)

    def autocast(self) -> AbstractContextManager:
        """Context in which the model runs in the segmenter's precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, PRECISIONS[self.precision])

    def _ran(
        self, pixels: Tensor, windows: str, seen: _Seen, again: bool, clock: _Clock, seconds: float
    ) -> dict[str, Any]:
        model, ms, decoding = self.model, seen.milliseconds, clock.milliseconds
        return {
            "preset": self.preset.name,
            "encoders": {"vfm": self.preset.vfm.title, "vlm": self.preset.vlm.title},
            "weights": self.weights,
            "device": str(self.device),
            "precision": self.precision,
            "scan_kernel": fastest_kernel(self.device),
            "windows": windows,
            "input_size": tuple(pixels.shape[-2:]),
            "encoders_ran": "earlier" if again else "now",
            "milliseconds": {
                "vfm": ms["embed vfm"] + ms["vfm"] + decoding["vfm"],
                "vlm": ms["embed vlm"] + ms["vlm"] + decoding["vlm"],
                "fused": ms["embed vfm"] + ms["embed vlm"] + ms["fused"] + decoding["fused"],
                "total": seconds * 1000,
            },
            "training": {s: presets.training_command(self.preset, s) for s in presets.STREAMS if s not in model.heads},
            "parameters": dict(self._parameters),
        }


def _parameters(model: MFuser) -> dict[str, int]:
    """Parameters that each stream needs, its encoders' included."""
    params = {s: sum(p.numel() for m in model.owners(s).values() for p in m.parameters()) for s in model.heads}
    vfm, vlm = (sum(p.numel() for p in m.parameters()) for m in (model.vfm, model.vlm))
    text = sum(p.numel() for p in model.vlm.text.parameters()) if "vfm" in params else 0  # a decoder's queries
    own = {"vfm": vfm + text, "vlm": vlm, "fused": vfm + vlm}
    return {s: params.get(s, 0) + n for s, n in own.items()}


@dataclass
class _Seen:
    """What the encoders gave for a picture. Arrays as in Analysis; features stay on the device, for the decoders."""

    features: dict[str, Features] = field(default_factory=dict)
    tokens: dict[str, np.ndarray] = field(default_factory=dict)
    dense: dict[str, np.ndarray] = field(default_factory=dict)
    layers: list[dict[str, tuple[np.ndarray, np.ndarray]]] = field(default_factory=list)
    offset_norms: list[dict[str, np.ndarray]] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        tensors = [t for f in self.features.values() for t in (*f.taps, f.visual, f.vfm, f.vlm) if t is not None]
        arrays = [*self.tokens.values(), *self.dense.values(), *(a for n in self.layers for p in n.values() for a in p)]
        return sum(x.nbytes for x in (*tensors, *arrays))


class _Clock:
    """Wall-clock laps in milliseconds; waits for the device."""

    def __init__(self, device: torch.device):
        self.device, self.milliseconds, self.last = device, {}, time.perf_counter()

    def stop(self, name: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.milliseconds[name], self.last = (now - self.last) * 1000, now


def upsampled_argmax(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Argmax over classes of bilinearly upsampled scores: (B, K, h, w) -> (B, H, W) uint8.

    One class at a time: a running maximum stays in cache where K full-size maps and an argmax across them do not.
    """
    best = label = None
    for k in range(scores.shape[1]):
        full = F.interpolate(scores[:, k : k + 1], size=size, mode="bilinear", align_corners=False)[:, 0]
        if best is None:
            best, label = full, torch.zeros(full.shape, dtype=torch.uint8, device=full.device)
        else:
            better = full > best
            label.masked_fill_(better, k)
            best = torch.maximum(best, full)
    return label


def _upsampled(scores: Tensor, certain: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Mask (H, W) uint8 and confidence (H, W) float32 of scores (1, K, h, w) and certainties (1, 1, h, w)."""
    certain = F.interpolate(certain, size=size, mode="bilinear", align_corners=False)
    return upsampled_argmax(scores, size)[0].cpu().numpy(), _array(certain[0, 0])


def _array(x: Tensor) -> np.ndarray:
    return x.float().cpu().numpy()


def _half(x: Tensor) -> np.ndarray:
    return x.half().cpu().numpy()
