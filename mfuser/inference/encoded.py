"""The encoders' outputs for a picture, and a cache of them, so that another class list runs the decoders only."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
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


def encode(
    model: MFuser, pixels: Tensor, layers: bool = False, check: Callable[[], None] = lambda: None
) -> Iterator[tuple[str, Encoded]]:
    """Run both encoders: each alone, and both fused.

    Args:
        model: the network.
        pixels: (1, 3, H, W) float RGB 0..255, on the model's device.
        layers: keep the tokens of every fused block.
        check: called between blocks of the fused stream. What it raises ends the work.

    Yields:
        Each stream as it is ready, and the one `Encoded` that grows with it.
    """
    encoded, embedded = Encoded(), {}

    def patches(name: str, tokens: Tensor) -> Tensor:  # (h, w, C) float32
        return getattr(model, name).patches(tokens)[0].float().unflatten(0, embedded[name][1])

    def record(index: int, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
        check()
        if layers:
            sides = {n: tuple(patches(n, tokens[n]) for tokens in (before, after)) for n in before}
            encoded.offset_norms.append({name: to_array((b - a).norm(dim=-1)) for name, (a, b) in sides.items()})
            encoded.layers.append({name: (_half(a), _half(b)) for name, (a, b) in sides.items()})

    def last(f: Features) -> Tensor:  # normed patches of the encoders that the stream has, side by side
        sides = {name: tokens for name, tokens in (("vfm", f.vfm), ("vlm", f.vlm)) if tokens is not None}
        return torch.cat([patches(name, getattr(model, name).norm(tokens)) for name, tokens in sides.items()], dim=-1)

    for stream in config.STREAMS:
        clock = Clock(pixels.device)
        if stream != "fused":
            embedded |= model.embed(pixels, stream)
            clock.stop(f"embed {stream}")
        found = encoded.features[stream] = model.features(embedded, stream, record if stream == "fused" else None)
        clock.stop(stream)
        encoded.milliseconds |= clock.milliseconds
        encoded.tokens[stream] = _half(last(found))
        if stream != "vfm":
            grid = embedded["vlm"][1]
            encoded.dense[stream] = _half(F.normalize(found.visual[0, 1:].float(), dim=-1).unflatten(0, grid))
        yield stream, encoded


class EncodedCache:
    """A cache of `Encoded` with a limit in bytes. The least recently used goes first. Not safe for threads.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[Hashable, tuple[float, Encoded]] = OrderedDict()  # with the time of the last use

    def get(self, key: Hashable) -> Encoded | None:
        """The entry of a key, now the most recently used one; None when there is none (or no longer)."""
        if key not in self._entries:
            return None
        encoded = self._entries.pop(key)[1]
        self._entries[key] = (self._clock(), encoded)
        return encoded

    def put(self, key: Hashable, encoded: Encoded, limit: int) -> None:
        """Store an entry as the most recent one, then drop the oldest until the limit holds.

        Args:
            key: what the entry is found by.
            encoded: the entry. It is not kept when it alone is larger than the limit.
            limit: bytes that all entries may take together.
        """
        self._entries[key] = (self._clock(), encoded)
        self._entries.move_to_end(key)
        while self._entries and self.nbytes > limit:
            self._entries.popitem(last=False)

    def forget(self, seconds: float) -> None:
        """Drop what was not used for so many seconds."""
        limit = self._clock() - seconds
        for key in [key for key, (used, _) in self._entries.items() if used <= limit]:
            del self._entries[key]

    @property
    def nbytes(self) -> int:
        """Size of all entries in bytes."""
        return sum(encoded.nbytes for _, encoded in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


class Clock:
    """Wall-clock laps in milliseconds; waits for the device."""

    def __init__(self, device: torch.device):
        self.device, self.milliseconds, self.last = device, {}, time.perf_counter()

    def restart(self) -> None:
        """Begin a lap now."""
        self.last = time.perf_counter()

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
