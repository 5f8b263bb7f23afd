"""From an image to an Analysis: runs the three streams, at the sizes of `windows` and in the formats of `precision`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mfuser import config, images
from mfuser.decoder.head import MFuserOutput, Words
from mfuser.inference import open_vocabulary
from mfuser.inference.analysis import Analysis
from mfuser.inference.confidence import Confidence
from mfuser.inference.encoded import Clock, Encoded, EncodedCache, encode, to_array
from mfuser.inference.masks import Masks
from mfuser.inference.precision import PRECISIONS
from mfuser.inference.run_record import run_record, window_layout
from mfuser.inference.streamline import compile_blocks, lower
from mfuser.inference.texts import Texts
from mfuser.inference.windows import network_size, sliding_scores, working_size
from mfuser.loading import MFuser

BATCH = {"cpu": 1, "cuda": 6}  # windows at once. It bounds the memory; a CPU gains nothing from more than one


@dataclass(frozen=True)
class Step:
    """A stream is ready.

    Attributes:
        stream: "vfm", "vlm" or "fused".
        masks: stream -> (H, W) uint8, of the streams that are ready. One without a decoder may follow at the end.
        analysis: at the last step, else None.
    """

    stream: str
    masks: dict[str, np.ndarray]
    analysis: Analysis | None = None


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
        self._texts = Texts(self.model)
        self._lock = threading.RLock()

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

    def analyse(
        self,
        image: Any,
        windows: str = "single",
        resolution: int | None = None,
        classes: Sequence[str] | None = None,
        layers: bool = False,
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
            layers: keep the tokens of every fused block, for `Analysis.layer` and `Analysis.offsets`. They are most of
                an analysis' memory.

        Raises:
            images.ImageError: the image cannot be read. It is a ValueError.
            ValueError: unknown windows, a resolution out of range, or a bad class list.
        """
        picture = images.load(image)
        with self._lock:
            *_, last = self.steps(picture, windows, resolution, classes, layers)
        return last.analysis

    @torch.inference_mode()
    def steps(
        self,
        image: Any,
        windows: str = "single",
        resolution: int | None = None,
        classes: Sequence[str] | None = None,
        layers: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[Step]:
        """`analyse`, stream by stream. Whoever stops asking for the next step ends the work.

        Args:
            image, windows, resolution, classes, layers: as for `analyse`.
            check: called inside a step, between windows and between blocks of the fused stream. What it raises ends the
                work.

        Yields:
            A step for each of "vfm", "vlm" and "fused". The last one has the analysis.

        Raises:
            images.ImageError, ValueError: as `analyse`.
        """
        if windows not in ("single", "sliding"):
            raise ValueError(f"Unknown windows {windows!r}; choose single or sliding.")
        names = self.classes if classes is None else open_vocabulary.check(classes, self.preset.classes)
        picture, seconds = images.load(image), 0.0
        run = self._run(picture, windows, resolution, names, layers, check)
        while True:
            with self._lock:  # not held while the caller has a step
                started = time.perf_counter()
                step = next(run)
                seconds += time.perf_counter() - started
            if step.analysis is not None:
                step.analysis.ran["milliseconds"]["total"] = seconds * 1000
                yield step
                return
            yield step

    def _run(
        self,
        picture: np.ndarray,
        windows: str,
        resolution: int | None,
        names: tuple[str, ...] | None,
        layers: bool,
        check: Callable[[], None],
    ) -> Iterator[Step]:
        model, clock = self.model, Clock(self.device)
        pixels = self.to_pixels(picture, working_size(picture.shape[:2], self.preset, resolution))
        size = network_size(picture.shape[:2], self.preset, windows, resolution)
        window_pixels = pixels if size == tuple(pixels.shape[-2:]) else self.to_pixels(picture, size)
        key = (images.fingerprint(picture), tuple(pixels.shape)) if self.remember and not layers else None
        cached = None if key is None else self._cache.get(key)
        found = Masks(model.temperatures, picture.shape[:2])
        encoding = (
            self._encode_pixels(pixels, layers, check)
            if cached is None
            else iter((stream, cached) for stream in config.STREAMS)
        )
        for _ in config.STREAMS:
            with self.autocast():
                stream, encoded = next(encoding)
                clock.restart()
                if stream in model.heads:
                    words = None if names is None else self._texts.words(names, stream)
                    output = model.decode(encoded.features[stream], stream, words)
                    scores = output.semantic()
                    if windows == "sliding":
                        scores = self._sliding(window_pixels, stream, words, check=check)
                    clock.stop(stream)
            if stream in model.heads:
                found.decode(stream, scores)
            elif stream == "vlm":
                temperature = float(model.vlm.temperature)
                found.classify(encoded.dense["vlm"], self._texts.class_names(names), temperature)
                clock.stop("vlm")
            if stream == "fused":
                break
            yield Step(stream, found.masks)
        if "vfm" not in model.heads:
            clock.restart()
            found.cluster(encoded.tokens["vfm"])
            clock.stop("vfm")
        if key is not None:
            self._cache.put(key, encoded, self.remember)
        record = run_record(model, self.device, tuple(pixels.shape[-2:]), encoded.milliseconds, clock.milliseconds)
        analysis = Analysis(
            image=picture,
            classes=names or self.preset.classes,
            masks=found.masks,
            confidence=Confidence(found.confidence),
            tokens=dict(encoded.tokens),
            dense=dict(encoded.dense),
            layers=encoded.layers,
            offset_norms=encoded.offset_norms,
            texts=(to_array(model.class_text("fused") if words is None else words.text), to_array(output.text[0])),
            ran=record
            | {"weights": self.weights, "precision": self.precision}
            | {"encoders_ran": "now" if cached is None else "earlier"}
            | window_layout(windows, window_pixels),
            encode_text=self.encode_text,
            made=found.origins,
        )
        yield Step("fused", found.masks, analysis)

    def _encode_pixels(
        self, pixels: Tensor, layers: bool = False, check: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str, Encoded]]:
        """Run the encoders. Their outputs do not depend on the classes."""
        return encode(self.model, pixels, layers, check)

    @property
    def remembered(self) -> int:
        """Bytes of encoder outputs that are kept now."""
        return self._cache.nbytes

    def forget(self, seconds: float = 0.0) -> None:
        """Drop encoder outputs and class lists that were not used for so many seconds."""
        with self._lock:
            self._cache.forget(seconds)
            self._texts.forget()

    @torch.inference_mode()
    def forward(self, pixels: Tensor, stream: str = "fused") -> MFuserOutput:
        """One pass of one stream, in the segmenter's precision.

        Args:
            pixels: (B, 3, H, W) float RGB 0..255.
            stream: a stream with a decoder.
        """
        with self.autocast():
            return self.model(pixels.to(self.device), stream)

    def encode_text(self, texts: Sequence[str], stream: str = "fused") -> np.ndarray:
        """Embeddings of texts in the joint text-image space. They never wait for a picture.

        Args:
            texts: n texts. What exceeds the tower's positions is cut, see `is_cut`.
            stream: "vlm" for the original text tower, "fused" for the tower with the learned prompts.

        Returns:
            (n, C_t) float32, unit length.
        """
        return self._texts.encode(texts, stream)

    def is_cut(self, text: str) -> bool:
        """True when a text is longer than the text tower reads, so that its end is ignored."""
        return self._texts.is_cut(text)

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

    def _sliding(
        self,
        pixels: Tensor,
        stream: str,
        words: Words | None = None,
        batch: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Semantic scores averaged over windows, (1, K, H, W) at the size of `pixels`, with `batch` windows at once."""

        def scores(crops: Tensor) -> dict[str, Tensor]:
            check()
            return {stream: self.model(crops, stream, words=words).semantic()}

        return sliding_scores(scores, pixels, batch or BATCH.get(self.device.type, 1))[stream]

    def autocast(self) -> AbstractContextManager:
        """Context in which the model runs in the segmenter's precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, PRECISIONS[self.precision])
