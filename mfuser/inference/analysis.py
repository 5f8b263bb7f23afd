"""What `Segmenter.analyse` returns: CPU arrays, and everything that is cheap to derive from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from mfuser.cityscapes import CLASSES, palette
from mfuser.inference.confidence import Confidence
from mfuser.pictures import visualize

# Texts and a stream -> unit embeddings (n, C_t) float32; kept outside pickles.
TextEncoder = Callable[[Sequence[str], str], np.ndarray]


TEXTS_KEPT = 64  # texts of queries whose embeddings an analysis keeps, for each of its two text spaces
CLUSTERS = 24  # taste: more than a street has kinds of things, fewer than it has things
# How a mask came about -> what the mask and its confidence mean. Only a decoder was trained to segment.
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
    """The result of `Segmenter.analyse` for one image.

    H, W are the size of the image after EXIF rotation. h, w are the patch grid. K is the number of classes, C the
    channels of a token, C_t the channels of the joint text-image space.

    An analysis can be pickled. Text queries then need `bind(segmenter)`; everything else works as it is.
    """

    image: np.ndarray  # (H, W, 3) uint8 RGB
    classes: tuple[str, ...]  # names of the K classes
    masks: dict[str, np.ndarray]  # stream -> (H, W) uint8 indices of `classes`
    confidence: Confidence  # stream -> (H, W) float32 in [0, 1]; means what `made` says, see MASK_ORIGINS
    tokens: dict[str, np.ndarray]  # stream -> (h, w, C) float16 normed last patch tokens
    dense: dict[str, np.ndarray]  # "vlm", "fused" -> (h, w, C_t) float16 unit embeddings in the text space
    # Of `analyse(..., layers=True)`, else empty. Per fused block: (before, after), (h, w, C) float16
    layers: list[dict[str, tuple[np.ndarray, np.ndarray]]]
    offset_norms: list[dict[str, np.ndarray]]  # of the same; per fused block: name -> (h, w) float32
    texts: tuple[np.ndarray, np.ndarray]  # (K, C_t) class embeddings before and after MTEnhancer
    ran: dict[str, Any]  # encoders, weights, device, precision, scan kernel, windows and their layout, milliseconds
    encode_text: TextEncoder | None = field(default=None, repr=False)  # None after unpickling, see `bind`
    made: dict[str, str] = field(default_factory=dict)  # stream -> key of MASK_ORIGINS: how its mask came about
    _queries: dict[tuple[str, str], np.ndarray] = field(default_factory=dict, repr=False)  # (text, stream) -> embedding

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
        """False for a class list of the user's own (experimental), for which no decoder was trained."""
        return self.classes == CLASSES

    @property
    def palette(self) -> np.ndarray:
        """Colour of each class, (K, 3) uint8 RGB."""
        return palette(self.classes)

    def title(self, stream: str, before: str = "") -> str:
        """The heading for the stream's mask: "VFM only", or "VFM only (clusters)" where no decoder made the mask.

        Args:
            stream: "vfm", "vlm" or "fused".
            before: words to put first inside the brackets, where the heading covers more than the mask.
        """
        origin = self.made.get(stream, "decoder")
        return visualize.STREAM_TITLES[stream] + ("" if origin == "decoder" else f" ({before}{origin})")

    def shares(self, stream: str = "fused") -> dict[str, float]:
        """Fraction of the pixels that each class covers.

        Args:
            stream: a stream with a mask.

        Returns:
            {class name: fraction in (0, 1]}, largest first. Classes without a pixel are left out.

        Raises:
            ValueError: the stream has no mask.
        """
        counts = np.bincount(self._of(self.masks, stream).ravel(), minlength=256)[: len(self.classes)]
        order = np.argsort(-counts, kind="stable")
        return {self.classes[k]: float(counts[k]) / self.masks[stream].size for k in order if counts[k]}

    def pca(self, stream: str = "fused", foreground: bool = False) -> np.ndarray:
        """First three principal components of the last patch tokens, as a picture.

        Args:
            stream: "vfm", "vlm" or "fused". "fused" takes the tokens of both encoders, concatenated.
            foreground: fit on the patches that the stream's mask does not call road, sidewalk or sky. The rest is grey.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            ValueError: unknown stream.
        """
        tokens = self._of(self.tokens, stream)
        return visualize.pca_rgb(tokens, self.size, self._foreground(stream) if foreground else None)

    def similarity(self, query: str | Sequence[str] | tuple[float, float], stream: str = "fused") -> np.ndarray:
        """Cosine of every pixel with a query.

        Args:
            query: a text, several texts (the largest cosine counts), or a pixel (x, y) whose patch is compared.
            stream: "vfm", "vlm" or "fused". Texts are read by the original text tower for "vlm", and by the
                prompt-tuned one for "fused".

        Returns:
            (H, W) float32 in [-1, 1], bilinear between the patches.

        Raises:
            ValueError: a text with "vfm", which has no text space; an empty text; a point outside the image; an unknown
                stream; or a new text for an unpickled analysis without `bind`.
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
        return (self._of(self.dense, stream).astype(np.float32) @ self.embed(texts, stream).T).max(-1)

    def embed(self, texts: Sequence[str], stream: str) -> np.ndarray:
        """Embeddings of texts, of which the analysis keeps the last few.

        Args:
            texts: n texts.
            stream: "vlm" or "fused", whose text tower reads them.

        Returns:
            (n, C_t) float32, unit length.

        Raises:
            ValueError: a new text for an unpickled analysis without `bind`.
        """
        known = {t: self._queries.get((t, stream)) for t in texts}
        if new := [t for t, embedding in known.items() if embedding is None]:
            if self.encode_text is None:
                raise ValueError("An unpickled analysis has no text tower: call analysis.bind(segmenter) first.")
            known |= zip(new, self.encode_text(new, stream), strict=True)
        for text, embedding in known.items():
            self._queries.pop((text, stream), None)
            self._queries[text, stream] = embedding  # now the latest
        for key in list(self._queries)[: -2 * TEXTS_KEPT]:
            self._queries.pop(key, None)
        return np.stack([known[t] for t in texts])

    def offsets(self, layer: int) -> dict[str, np.ndarray]:
        """Norm of what MVFuser added to each patch token after one fused block (paper equation 3).

        Args:
            layer: index of the fused block, from 0.

        Returns:
            {"vfm": (h, w), "vlm": (h, w)} float32.

        Raises:
            ValueError: no such block, or an analysis without layers.
        """
        return self.offset_norms[self._layer(layer)]

    def layer(self, index: int, stream: str, before: bool = False) -> np.ndarray:
        """Patch tokens of the fused stream at one block.

        Args:
            index: index of the fused block, from 0.
            stream: the encoder, "vfm" or "vlm".
            before: the tokens before the adapter's offset is added, instead of after.

        Returns:
            (h, w, C) float16.

        Raises:
            ValueError: no such block or encoder, or an analysis without layers.
        """
        return self._of(self.layers[self._layer(index)], stream)[0 if before else 1]

    def text(self, before: bool = False) -> np.ndarray:
        """Class embeddings of the fused stream.

        Args:
            before: the embeddings before MTEnhancer (paper equations 7-10), instead of after.

        Returns:
            (K, C_t) float32.
        """
        return self.texts[0 if before else 1]

    def bind(self, segmenter: Any) -> Analysis:
        """Give an unpickled analysis its text tower back.

        Args:
            segmenter: a `Segmenter` of the same preset and weights.

        Returns:
            The analysis itself.
        """
        self.encode_text = segmenter.encode_text
        return self

    @property
    def bytes(self) -> int:
        """Size of all arrays in bytes, for caches with a limit."""
        arrays = [self.image, *self.texts, self.confidence, *list(self._queries.values())]
        for group in (self.masks, self.tokens, self.dense, *self.offset_norms):
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
        if not self.layers:
            raise ValueError("The tokens of the blocks were not kept: pass layers=True to Segmenter.analyse.")
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
