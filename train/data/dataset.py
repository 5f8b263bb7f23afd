"""An opened dataset: every file checked, photographs kept in memory when they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mfuser import images
from mfuser.cityscapes import IGNORE
from train.data.files import Pair, image_size, read_label
from train.data.groups import LabelGroups
from train.data.registry import DatasetType, parse

CACHE_BYTES = 3 << 30  # photographs of a set together; forked workers share them
THREADS = 8  # decoders release the interpreter


class SegmentationData:
    """Photographs with label maps of group indices. `data[i]` -> ((H, W, 3) uint8 RGB, (H, W) uint8, 255 = ignore).

    counts: (N, G) int64, pixels of each group in each label; None for an unlabelled set.
    """

    def __init__(self, kind: DatasetType, pairs: Sequence[Pair], name: str, cache_bytes: int = CACHE_BYTES):
        self.kind, self.pairs, self.name = kind, list(pairs), name
        self.labelled = all(pair.label is not None for pair in self.pairs)
        sizes = _map(image_size, [pair.image for pair in self.pairs])
        self.counts: np.ndarray | None = None
        self._labels: list[np.ndarray] | None = None
        bytes_needed = sum(h * w for h, w in sizes)
        if self.labelled:
            keep = bytes_needed <= cache_bytes
            checked = _map(lambda item: self._check(*item, keep), list(zip(self.pairs, sizes, strict=True)))
            self.counts = np.stack([counts for counts, _ in checked])
            self._labels = [label for _, label in checked] if keep else None
        cached = bytes_needed * 3 <= cache_bytes
        self._images = _map(self._read_image, [pair.image for pair in self.pairs]) if cached else None

    @property
    def groups(self) -> LabelGroups:
        """What the labels can tell apart."""
        return self.kind.groups

    @property
    def representatives(self) -> tuple[int, ...]:
        """The train id that names each group."""
        return self.kind.groups.representatives

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.image(index), self.label(index)

    def image(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB; shared with the cache, so never write into it."""
        return self._images[index] if self._images is not None else self._read_image(self.pairs[index].image)

    def label(self, index: int) -> np.ndarray:
        """(H, W) uint8 group indices, 255 = ignore; shared with the cache. Raises ValueError when unlabelled."""
        path = self.pairs[index].label
        if path is None:
            raise ValueError(f"{self.name} has no labels.")
        return self._labels[index] if self._labels is not None else read_label(path, self.kind.table, self.kind.title)

    def _check(self, pair: Pair, size: tuple[int, int], keep: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixel counts of one label after checking it against its image, and the label itself when it is kept."""
        label = read_label(pair.label, self.kind.table, self.kind.title)
        if label.shape != size:
            (h, w), (ih, iw) = label.shape, size
            raise ValueError(f"The label {pair.label} is {w}x{h} pixels, its image {iw}x{ih}: they must be equal.")
        counts = np.bincount(label.ravel(), minlength=IGNORE + 1)[: len(self.kind.groups)]
        return counts, label if keep else None

    @staticmethod
    def _read_image(path: Path) -> np.ndarray:
        return images.load(path)


def open_dataset(
    spec: str, split: str = "train", labelled: bool = True, limit: int | None = None, cache_bytes: int = CACHE_BYTES
) -> SegmentationData:
    """Open `[name:]ROOT[/split]`.

    split: folder looked for when ROOT itself holds no `images`. labelled: False reads photographs only. limit: at most
    so many images, spread evenly over the set. cache_bytes: larger sets are read from disk when needed.
    Raises ValueError naming the first faulty file: nothing there, label missing, sizes differ, illegal ids.
    """
    kind, root = parse(spec)
    pairs = kind.pairs(root, split, labelled)
    if limit is not None:
        if limit < 1:
            raise ValueError(f"A limit of {limit} images leaves nothing: choose 1 or more.")
        pairs = [pairs[i * len(pairs) // min(limit, len(pairs))] for i in range(min(limit, len(pairs)))]
    inside = f"/{split}" if (root / split).is_dir() and not (root / "images").is_dir() else ""
    return SegmentationData(kind, pairs, f"{kind.name}:{root.name}{inside}", cache_bytes)


def _map(function: Callable, items: Sequence) -> list:
    """Thread-parallel map; the first error ends it."""
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
