"""From an image to an Analysis: runs the three streams, at the sizes of `windows` and in the formats of `precision`."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser import config, images
from mfuser.decoder.head import MFuserOutput, Words
from mfuser.encoders.vocabulary import END
from mfuser.fusion.selective_scan import running_kernel
from mfuser.inference import fallbacks, open_vocabulary
from mfuser.inference.analysis import Analysis
from mfuser.inference.encoded import Clock, Encoded, EncodedCache, encode, to_array
from mfuser.inference.precision import PRECISIONS
from mfuser.inference.streamline import compile_blocks, lower
from mfuser.inference.windows import STRIDE, network_size, sliding_scores, window_places, working_size
from mfuser.loading import MFuser
from mfuser.weights import availability

logger = logging.getLogger(__name__)

LOWEST_SCORE = 1e-8  # least score of a class, so that its logarithm and its powers exist
BATCH = {"cpu": 1, "cuda": 6}  # windows at once. It bounds the memory; a CPU gains nothing from more than one


class Segmenter:
    """A model on a device. `analyse` is the one expensive call; everything in its Analysis is cheap.

    The segmenter takes the model over. With precision "bf16" most of its weights are stored in bfloat16, and on CUDA
    modules are merged (`mfuser.inference.streamline`). Such a model can no longer be trained or saved.

    Args:
        model: the network with its weights.
        device: a usable device, see `precision.usable_device`.
        precision: "float32" or "bf16".
        weights: what `Analysis.ran` calls the weights.
        classes: class names in place of the trained ones (experimental, see `open_vocabulary`).
        folder: where the weights lie, None when they come from no folder.

    Raises:
        ValueError: unknown precision, or a bad class list.
    """

    def __init__(
        self,
        model: MFuser,
        device: str = "cpu",
        precision: str = "float32",
        weights: str = "random",
        classes: Sequence[str] | None = None,
        folder: Path | None = None,
    ):
        if precision not in PRECISIONS:
            raise ValueError(f"Unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}.")
        self.model = model.to(device).eval()
        self.device, self.precision, self.weights = torch.device(device), precision, weights
        self.folder = folder
        if precision != "float32":
            lower(self.model, self.device, PRECISIONS[precision])
        self.classes = None if classes is None else open_vocabulary.check(classes, self.preset.classes)
        self.remember = 0  # bytes of encoder outputs to keep, so that another class list runs the decoders only
        self._cache = EncodedCache()
        self._words: OrderedDict[tuple, Words] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def preset(self) -> config.Preset:
        """The preset of the model."""
        return self.model.preset

    def compile(self) -> Segmenter:
        """Let torch.compile fuse the encoder blocks. This pays for many passes on a GPU.

        It needs a C compiler, and the first pass waits for the compilation. Returns the segmenter.
        """
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

        With windows, the two kinds of pass differ for encoders with learned positions. A window of 512 pixels has the
        grid of their position table, as in the released evaluation. A single pass stretches learned and rotary
        positions over its own grid. Masks without a decoder (`Analysis.made`) always come from the single pass.

        Args:
            image: anything that `images.load` reads.
            windows: "single" runs the whole image at once. "sliding" takes the masks from the paper's windows of 512
                pixels with stride 341; the features still come from a single pass.
            resolution: short side in pixels at which the network sees the image; None for the preset's.
            classes: class names in place of the trained ones (experimental, see `open_vocabulary`); None for those that
                the segmenter was built with.

        Raises:
            images.ImageError: the image cannot be read. It is a ValueError.
            ValueError: unknown windows, a resolution out of range, or a bad class list.
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
        size = network_size(picture.shape[:2], self.preset, windows, resolution)
        window_pixels = pixels if size == tuple(pixels.shape[-2:]) else self.to_pixels(picture, size)
        key = (images.fingerprint(picture), tuple(pixels.shape)) if self.remember else None
        cached = None if key is None else self._cache.get(key)
        encoded = self._encode_pixels(pixels) if cached is None else cached
        clock, scores, words = Clock(self.device), {}, None
        with self.autocast():
            for stream in [s for s in config.STREAMS if s in model.heads]:
                words = None if names is None else self._words_of(names, stream)
                output = model.decode(encoded.features[stream], stream, words)
                scores[stream] = (
                    output.semantic() if windows == "single" else self._sliding(window_pixels, stream, words)
                )
                clock.stop(stream)
        masks, confidence, origins = self._decide(scores, encoded, picture.shape[:2], names, clock)
        if key is not None:
            self._cache.put(key, encoded, self.remember)
        return Analysis(
            image=picture,
            classes=names or self.preset.classes,
            masks=masks,
            confidence=confidence,
            tokens=encoded.tokens,
            dense=encoded.dense,
            layers=encoded.layers,
            offset_norms=encoded.offset_norms,
            texts=(to_array(model.class_text("fused") if words is None else words.text), to_array(output.text[0])),
            ran=self._run_record(pixels, encoded, clock, time.perf_counter() - started)
            | {"encoders_ran": "now" if cached is None else "earlier"}
            | _layout(windows, window_pixels),
            encode_text=self.encode_text,
            made=origins,
        )

    def _encode_pixels(self, pixels: Tensor) -> Encoded:
        """Run the encoders. Their outputs do not depend on the classes."""
        with self.autocast():
            return encode(self.model, pixels)

    def _words_of(self, names: tuple[str, ...], stream: str) -> Words:
        """Texts and mixing weights of names, computed once while the list is in use."""
        if (names, stream) not in self._words:
            self._words[names, stream] = open_vocabulary.words(self.model, stream, names)
            while len(self._words) > 4 * len(config.STREAMS):
                self._words.popitem(last=False)
        return self._words[names, stream]

    @torch.inference_mode()
    def forward(self, pixels: Tensor, stream: str = "fused") -> MFuserOutput:
        """One pass of one stream, in the segmenter's precision.

        Args:
            pixels: (B, 3, H, W) float RGB 0..255.
            stream: a stream with a decoder.
        """
        with self.autocast():
            return self.model(pixels.to(self.device), stream)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str], stream: str = "fused") -> np.ndarray:
        """Embeddings of texts in the joint text-image space.

        Args:
            texts: n texts. What exceeds the tower's positions is cut, see `is_cut`.
            stream: "vlm" for the original text tower, "fused" for the tower with the learned prompts.

        Returns:
            (n, C_t) float32, unit length.
        """
        with self._lock:
            return self._encode(texts, stream)

    def _encode(self, texts: Sequence[str], stream: str) -> np.ndarray:
        prompts = self.model.heads["fused"].prompts if stream == "fused" else None
        ids = self.model.vlm.tokenize(list(texts), self._token_limit(stream)).to(self.device)
        return to_array(F.normalize(self.model.vlm.text(ids, prompts).float(), dim=-1))

    def is_cut(self, text: str) -> bool:
        """True when a text is longer than the text tower reads, so that its end is ignored."""
        return not self.model.vlm.fits(text, self._token_limit("fused"))

    def check_classes(self, classes: Sequence[str]) -> tuple[str, ...] | None:
        """Check a class list as `open_vocabulary.check` does, and that the text tower reads every name to its end.

        Args:
            classes: names in the order of their indices.

        Returns:
            The tidied names, or None for the trained list.

        Raises:
            ValueError: a bad list, or a name that is too long.
        """
        names = open_vocabulary.check(classes, self.preset.classes)
        open_vocabulary.token_ids(self.model, names or (), self.model.heads["fused"].prompts.shape[1])
        return names

    def _token_limit(self, stream: str) -> int:
        prompts = self.model.heads["fused"].prompts.shape[1]
        return self.model.vlm.text.positions - (prompts if stream == "fused" else 0)

    def to_pixels(self, picture: np.ndarray, size: tuple[int, int]) -> Tensor:
        """Resize a picture and put it on the device.

        Args:
            picture: (H, W, 3) uint8 RGB.
            size: (height, width) for the network.

        Returns:
            (1, 3, height, width) float32 RGB 0..255.
        """
        resized = images.resize(picture, *size)
        return torch.from_numpy(np.ascontiguousarray(resized)).to(self.device).permute(2, 0, 1)[None].float()

    def _sliding(self, pixels: Tensor, stream: str, words: Words | None = None, batch: int | None = None) -> Tensor:
        """Semantic scores averaged over windows, (1, K, H, W) at the size of `pixels`, with `batch` windows at once."""
        return sliding_scores(
            lambda crops: {stream: self.model(crops, stream, words=words).semantic()},
            pixels,
            batch or BATCH.get(self.device.type, 1),
        )[stream]

    def _decide(
        self,
        scores: dict[str, Tensor],
        encoded: Encoded,
        size: tuple[int, int],
        names: tuple[str, ...] | None,
        clock: Clock,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, str]]:
        """Masks, confidence and the origin of each mask, in the order of STREAMS."""
        decided: dict[str, tuple[np.ndarray, np.ndarray, str]] = {}
        for stream, s in scores.items():
            tempered = s.float().clamp_min(LOWEST_SCORE) ** (1 / self.model.temperatures.get(stream, 1.0))
            confidence = tempered.amax(1, keepdim=True) / tempered.sum(1, keepdim=True)
            decided[stream] = (*_upsampled(s.float(), confidence, size), "decoder")
        clock.stop("masks")
        if "vlm" not in scores:
            temperature = float(self.model.vlm.temperature)
            own = fallbacks.zero_shot(encoded.dense["vlm"], self._class_names(names), temperature)
            decided["vlm"] = (*_upsampled(*own, size), "zero-shot")
            clock.stop("vlm")
        if "vfm" not in scores:
            near = upsampled_argmax(fallbacks.cluster(encoded.tokens["vfm"]), size)[0].numpy()
            decided["vfm"] = (*fallbacks.label_clusters(near, decided["fused"][0]), "clusters")
            clock.stop("vfm")
        return tuple({s: decided[s][part] for s in config.STREAMS if s in decided} for part in range(3))

    def _class_names(self, names: tuple[str, ...] | None) -> np.ndarray:
        """Unit embeddings of the class names by the original text tower, (K, C_t)."""
        if names is not None or self.model.vlm.vocabulary_is_here():
            return self._encode(names or self.preset.classes, "vlm")
        ids = self.model.class_ids  # came with the weights; the vocabulary, SigLIP's, is not here
        ids = F.pad(ids, (0, self._token_limit("vlm") - ids.shape[1]), value=END)
        return to_array(F.normalize(self.model.vlm.text(ids).float(), dim=-1))

    def autocast(self) -> AbstractContextManager:
        """Context in which the model runs in the segmenter's precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, PRECISIONS[self.precision])

    def _run_record(self, pixels: Tensor, encoded: Encoded, clock: Clock, seconds: float) -> dict[str, Any]:
        model, ms, decoding = self.model, encoded.milliseconds, clock.milliseconds
        return {
            "preset": self.preset.name,
            "encoders": {"vfm": self.preset.vfm.title, "vlm": self.preset.vlm.title},
            "weights": self.weights,
            "device": str(self.device),
            "precision": self.precision,
            "scan_kernel": running_kernel(self.device),
            "input_size": tuple(pixels.shape[-2:]),
            "milliseconds": {
                "vfm": ms["embed vfm"] + ms["vfm"] + decoding["vfm"],
                "vlm": ms["embed vlm"] + ms["vlm"] + decoding["vlm"],
                "fused": ms["embed vfm"] + ms["embed vlm"] + ms["fused"] + decoding["fused"],
                "total": seconds * 1000,
            },
            "training": {
                s: availability.training_command(self.preset, s) for s in config.STREAMS if s not in model.heads
            },
            "parameters": dict(self.model.count_parameters()),
        }


def _layout(windows: str, pixels: Tensor) -> dict[str, Any]:
    """The entries of `Analysis.ran` about the passes that made the masks. `pixels` is what the windows slide over."""
    if windows == "single":
        return {"windows": windows}
    height, width = pixels.shape[-2:]
    places = list(window_places(height, width))
    layout = {"image_size": (height, width), "count": len(places), "window_size": places[0][2:], "stride": STRIDE}
    return {"windows": windows, "window_layout": layout}


def upsampled_argmax(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Argmax over the classes of bilinearly upsampled scores.

    It runs one class at a time: a running maximum stays in the CPU's cache, where K full-size maps do not.

    Args:
        scores: (B, K, h, w) float.
        size: (H, W).

    Returns:
        (B, H, W) uint8.
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


def _upsampled(scores: Tensor, confidence: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Mask (H, W) uint8 and confidence (H, W) float32 from scores (1, K, h, w) and confidence (1, 1, h, w)."""
    confidence = F.interpolate(confidence, size=size, mode="bilinear", align_corners=False)
    return upsampled_argmax(scores, size)[0].cpu().numpy(), to_array(confidence[0, 0])
