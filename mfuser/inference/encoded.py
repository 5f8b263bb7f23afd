"""The encoders' outputs for a picture, and a cache of them, so that another class list runs the decoders only."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser import config
from mfuser.loading import MFuser
from mfuser.model import Features


@dataclass
class Encoded:
    """Everything about a picture that does not depend on the classes. The arrays are those of `Analysis`."""

    features: dict[str, Features] = field(default_factory=dict)  # per stream, on the device: the decoders read them
    tokens: dict[str, np.ndarray] = field(default_factory=dict)  # see `Analysis.tokens`
    dense: dict[str, np.ndarray] = field(default_factory=dict)  # see `Analysis.dense`
    layers: list[dict[str, tuple[np.ndarray, np.ndarray]]] = field(default_factory=list)  # see `Analysis.layers`
    offset_norms: list[dict[str, np.ndarray]] = field(default_factory=list)  # see `Analysis.offset_norms`
    milliseconds: dict[str, float] = field(default_factory=dict)  # of "embed vfm", "embed vlm", each stream's blocks

    @property
    def nbytes(self) -> int:
        """Size of all tensors and arrays in bytes."""
        tensors = [t for f in self.features.values() for t in (*f.taps, f.visual, f.vfm, f.vlm) if t is not None]
        arrays = [*self.tokens.values(), *self.dense.values(), *(a for n in self.layers for p in n.values() for a in p)]
        return sum(x.nbytes for x in (*tensors, *arrays))


def encode(model: MFuser, pixels: Tensor) -> Encoded:
    """Run both encoders: each alone, and both fused.

    Args:
        model: the network.
        pixels: (1, 3, H, W) float RGB 0..255, on the model's device.
    """
    encoded, clock = Encoded(), Clock(pixels.device)
    embedded = {}
    for name in ("vfm", "vlm"):
        embedded |= model.embed(pixels, name)
        clock.stop(f"embed {name}")
    grid = embedded["vfm"][1]

    def patches(name: str, tokens: Tensor) -> Tensor:  # (h, w, C) float32
        return getattr(model, name).patches(tokens)[0].float().unflatten(0, grid)

    def record(index: int, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
        sides = {n: tuple(patches(n, tokens[n]) for tokens in (before, after)) for n in before}
        encoded.offset_norms.append({name: to_array((b - a).norm(dim=-1)) for name, (a, b) in sides.items()})
        encoded.layers.append({name: (_half(a), _half(b)) for name, (a, b) in sides.items()})

    def last(f: Features) -> Tensor:  # normed patches of the encoders that the stream has, side by side
        sides = {name: tokens for name, tokens in (("vfm", f.vfm), ("vlm", f.vlm)) if tokens is not None}
        return torch.cat([patches(name, getattr(model, name).norm(tokens)) for name, tokens in sides.items()], dim=-1)

    for stream in config.STREAMS:
        encoded.features[stream] = model.features(embedded, stream, record if stream == "fused" else None)
        clock.stop(stream)
    encoded.milliseconds = clock.milliseconds
    encoded.tokens = {name: _half(last(f)) for name, f in encoded.features.items()}
    encoded.dense = {
        name: _half(F.normalize(encoded.features[name].visual[0, 1:].float(), dim=-1).unflatten(0, grid))
        for name in ("vlm", "fused")
    }
    return encoded


class EncodedCache:
    """A cache of `Encoded` with a limit in bytes. The least recently stored goes first. Not safe for threads."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, Encoded] = OrderedDict()

    def get(self, key: Hashable) -> Encoded | None:
        """The entry of a key, or None when there is none (or no longer)."""
        return self._entries.get(key)

    def put(self, key: Hashable, encoded: Encoded, limit: int) -> None:
        """Store an entry as the most recent one, then drop the oldest until the limit holds.

        Args:
            key: what the entry is found by.
            encoded: the entry. It is not kept when it alone is larger than the limit.
            limit: bytes that all entries may take together.
        """
        self._entries[key] = encoded
        self._entries.move_to_end(key)
        while self._entries and sum(e.nbytes for e in self._entries.values()) > limit:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)


class Clock:
    """Wall-clock laps in milliseconds; waits for the device."""

    def __init__(self, device: torch.device):
        self.device, self.milliseconds, self.last = device, {}, time.perf_counter()

    def stop(self, name: str) -> None:
        """End a lap and name it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.milliseconds[name], self.last = (now - self.last) * 1000, now


def to_array(x: Tensor) -> np.ndarray:
    """float32 array of a tensor."""
    return x.float().cpu().numpy()


def _half(x: Tensor) -> np.ndarray:
    return x.half().cpu().numpy()
