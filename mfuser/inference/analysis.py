"""What one look at an image gives: CPU arrays, and everything that is cheap to derive from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from mfuser.cityscapes import CLASSES, palette
from mfuser.pictures import visualize

# Texts and a stream -> unit embeddings (n, C_t) float32; kept outside pickles.
TextEncoder = Callable[[Sequence[str], str], np.ndarray]


CLUSTERS = 24  # of a VFM's patches: more than a street has kinds of things, fewer than it has things
# How a mask came about -> what it and its confidence are. Only a decoder was trained to segment.
MASK_ORIGINS = {
    "decoder": "by a decoder trained for this stream; confidence: the best class's share of the scores, at the "
    "temperature fitted for the trained classes",
    "zero-shot": "no decoder was trained: the class name of the highest cosine with the patch; confidence: the softmax "
    "of these cosines, not fitted to anything",
    "clusters": f"no decoder was trained: {CLUSTERS} clusters of the patches (k-means), each in the class that the "
    "fused mask has there most; confidence: the share of the cluster that has it",
}


@dataclass
class Analysis:
    """Made by `Segmenter.analyse`. H, W: size of the image after EXIF rotation; h, w: patch grid; K: classes.

    Picklable; text queries need `bind(segmenter)` after unpickling, everything else works as it is.
    """

    image: np.ndarray  # (H, W, 3) uint8 RGB
    classes: tuple[str, ...]
    masks: dict[str, np.ndarray]  # stream -> (H, W) uint8 indices of `classes`
    confidence: dict[str, np.ndarray]  # stream -> (H, W) float32 in [0, 1]; means what `made` says, see MASK_ORIGINS
    tokens: dict[str, np.ndarray]  # stream -> (h, w, C) float16 normed last patch tokens
    dense: dict[str, np.ndarray]  # "vlm", "fused" -> (h, w, C_t) float16 unit embeddings in the text space
    layers: list[dict[str, tuple[np.ndarray, np.ndarray]]]  # per fused block: (before, after), (h, w, C) float16
    offset_norms: list[dict[str, np.ndarray]]  # per fused block: name -> (h, w) float32
    texts: tuple[np.ndarray, np.ndarray]  # (K, C_t) class embeddings before and after MTEnhancer
    ran: dict[str, Any]  # encoders, weights, device, precision, scan kernel, windows and their layout, milliseconds
    encode_text: TextEncoder | None = field(default=None, repr=False)
    made: dict[str, str] = field(default_factory=dict)  # stream -> key of MASK_ORIGINS: how its mask came about
    _queries: dict[tuple[str, str], np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.image.shape[:2]

    @property
    def streams(self) -> tuple[str, ...]:
        """Streams with a mask."""
        return tuple(self.masks)

    @property
    def trained_classes(self) -> bool:
        """False for a class list of the user's own (experimental), which no labels are in."""
        return self.classes == CLASSES

    @property
    def palette(self) -> np.ndarray:
        """Colour of each class, (K, 3) uint8 RGB."""
        return palette(self.classes)

    def title(self, stream: str, before: str = "") -> str:
        """What the stream is called beside its mask: "VFM only", or "VFM only (clusters)" where no decoder made it.

        before: words inside the brackets, where more than the mask is beside the title.
        """
        origin = self.made.get(stream, "decoder")
        return visualize.STREAM_TITLES[stream] + ("" if origin == "decoder" else f" ({before}{origin})")

    def shares(self, stream: str = "fused") -> dict[str, float]:
        """Fraction of the pixels of each class that occurs, largest first."""
        counts = np.bincount(self._of(self.masks, stream).ravel(), minlength=256)[: len(self.classes)]
        order = np.argsort(-counts, kind="stable")
        return {self.classes[k]: float(counts[k]) / self.masks[stream].size for k in order if counts[k]}

    def pca(self, stream: str = "fused", foreground: bool = False) -> np.ndarray:
        """First three principal components of the last patch tokens as (H, W, 3) uint8 RGB.

        "fused" takes both encoders' tokens, concatenated. foreground: fit on what the stream's mask does not call
        road, sidewalk or sky; the rest is grey.
        """
        tokens = self._of(self.tokens, stream)
        return visualize.pca_rgb(tokens, self.size, self._foreground(stream) if foreground else None)

    def similarity(self, query: str | Sequence[str] | tuple[float, float], stream: str = "fused") -> np.ndarray:
        """Cosine with a text, the largest over several texts, or with the patch at a pixel (x, y).

        Returns: (H, W) float32 in [-1, 1]. Text is compared in the joint text-image space: "vlm" with the original
        text tower, "fused" with the prompt-tuned one. A VFM has no text space: text with "vfm" raises ValueError, as
        do an empty text and a point outside the image.
        """
        if is_point(query):
            cosines = self._point_similarity(query, stream)
        else:
            cosines = self._text_similarity([query] if isinstance(query, str) else list(query), stream)
        h, w = self.size
        return np.clip(cv2.resize(cosines, (w, h), interpolation=cv2.INTER_LINEAR), -1, 1)

    def _point_similarity(self, point: Sequence[float], stream: str) -> np.ndarray:
        (h, w), tokens = self.size, self._of(self.tokens, stream).astype(np.float32)
        x, y = point
        if not (0 <= x < w and 0 <= y < h):
            raise ValueError(f"The point ({x:g}, {y:g}) is outside the image of {w}x{h} pixels.")
        unit = tokens / np.maximum(np.linalg.norm(tokens, axis=-1, keepdims=True), 1e-8)
        row, column = int(y * tokens.shape[0] / h), int(x * tokens.shape[1] / w)
        return unit @ unit[row, column]

    def _text_similarity(self, texts: list[str], stream: str) -> np.ndarray:
        if stream == "vfm":
            raise ValueError("A vision foundation model has no text space: click on the image, or ask vlm or fused.")
        texts = [" ".join(str(t).split()) for t in texts]
        texts = [t for t in texts if t]
        if not texts:
            raise ValueError("The text query is empty: type what to look for, for example car.")
        new = [t for t in dict.fromkeys(texts) if (t, stream) not in self._queries]
        if new:
            if self.encode_text is None:
                raise ValueError("An unpickled analysis has no text tower: call analysis.bind(segmenter) first.")
            self._queries.update({(t, stream): e for t, e in zip(new, self.encode_text(new, stream), strict=True)})
        embeddings = np.stack([self._queries[t, stream] for t in texts])  # (n, C_t)
        return (self._of(self.dense, stream).astype(np.float32) @ embeddings.T).max(-1)

    def offsets(self, layer: int) -> dict[str, np.ndarray]:
        """Norm of what MVFuser added after a fused block, per patch: {"vfm": (h, w), "vlm": (h, w)} float32."""
        return self.offset_norms[self._layer(layer)]

    def layer(self, index: int, stream: str, before: bool = False) -> np.ndarray:
        """Patch tokens (h, w, C) float16 of a fused block, of "vfm" or "vlm", before or after the adapter's offset."""
        return self._of(self.layers[self._layer(index)], stream)[0 if before else 1]

    def text(self, before: bool = False) -> np.ndarray:
        """Class embeddings of the fused stream (K, C_t) float32, before or after MTEnhancer."""
        return self.texts[0 if before else 1]

    def bind(self, segmenter: Any) -> Analysis:
        """Give text queries back their tower, after unpickling. segmenter: of the same preset and weights."""
        self.encode_text = segmenter.encode_text
        return self

    @property
    def bytes(self) -> int:
        """Memory that the arrays take, for bounded caches."""
        arrays = [self.image, *self.texts]
        for group in (self.masks, self.confidence, self.tokens, self.dense, *self.offset_norms):
            arrays += group.values()
        arrays += [a for layer in self.layers for pair in layer.values() for a in pair]
        return sum(a.nbytes for a in arrays)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "encode_text": None}

    def _foreground(self, stream: str) -> np.ndarray:
        mask = self.masks.get(stream, next(iter(self.masks.values())))
        stuff = [k for k, name in enumerate(self.classes) if name in ("road", "sidewalk", "sky")]
        h, w = self.tokens[stream].shape[:2]
        share = cv2.resize((~np.isin(mask, stuff)).astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
        return share > 0.5

    def _layer(self, index: int) -> int:
        if not 0 <= index < len(self.layers):
            last = len(self.layers) - 1
            raise ValueError(f"Layer {index} does not exist: this model fuses after blocks 0 to {last}.")
        return index

    @staticmethod
    def _of(group: dict[str, Any], stream: str) -> Any:
        if stream not in group:
            raise ValueError(f"No {stream!r} here; choose one of {', '.join(group)}.")
        return group[stream]


def is_point(query: object) -> bool:
    """True for a pair of numbers (x, y)."""
    return (
        isinstance(query, Sequence)
        and not isinstance(query, str)
        and len(query) == 2
        and all(isinstance(n, (int, float, np.integer, np.floating)) for n in query)
    )
