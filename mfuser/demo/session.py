"""What a running app keeps: the loaded models, the results of a while, the examples. No components, no events."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mfuser import images, presets, weather
from mfuser.demo import compute, memory
from mfuser.demo.cache import Cache
from mfuser.demo.examples import Example, Rendered, fitted
from mfuser.demo.refusals import Refusal, refusals
from mfuser.inference import open_vocabulary
from mfuser.inference.analysis import Analysis
from mfuser.inference.segmenter import Segmenter
from mfuser.inference.windows import working_size

logger = logging.getLogger(__name__)

WINDOWS = ("single", "sliding")
READY = 4  # examples analysed ahead of their visitors and kept, at some 30 MB each
LONGEST = 1600  # pixels: larger photographs are reduced; no preset looks at finer ones on this page
DECODES = 2  # photographs decoded at once: each may take some hundred MB while it is
STAY = 4  # results that stay whatever the memory, so that a slider moved back finds what it had
GONE = "This picture was deleted after its time here: please choose it again."


class Settings(NamedTuple):
    """How to run. resolution: short side in pixels, None for the preset's own. classes: None for the trained ones."""

    preset: str
    windows: str = "single"
    resolution: int | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Photograph:
    """pixels: (H, W, 3) uint8 RGB, upright, at most `LONGEST` wide or high. original: (H, W) as uploaded, upright."""

    pixels: np.ndarray
    original: tuple[int, int]
    fingerprint: str


@dataclass
class Result:
    """An analysis and what the page knows beside it. labels: (H, W) trainIds of an example, where its classes are the
    trained ones. drawn: encoded pictures."""

    analysis: Analysis
    original: tuple[int, int]
    labels: np.ndarray | None = None
    drawn: dict[str, str] = field(default_factory=dict)
    bundle: tuple[bytes, dict[str, np.ndarray]] | None = field(default=None, repr=False)  # of the stage, made once
    token: str | None = None  # a name that cannot be guessed, under which the browser fetches the bundle
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)  # while the bundle is made

    @property
    def nbytes(self) -> int:
        """Of all that it holds now, in bytes."""
        data, bases = self.bundle or (b"", {})
        drawn = sum(map(len, list(self.drawn.values())))
        labels = 0 if self.labels is None else self.labels.nbytes
        return self.analysis.bytes + labels + len(data) + sum(b.nbytes for b in bases.values()) + drawn

    def draw(self, name: str, make: Callable[[], str]) -> str:
        """The picture of that name, encoded once."""
        if name not in self.drawn:
            self.drawn[name] = make()
        return self.drawn[name]


class Session:
    """Shared by all visitors of one app.

    load: preset name -> Segmenter, called when a preset is first chosen. analyse: `compute.analyse`, or a counting
    stand-in in tests. preset: the one the page opens with.
    """

    def __init__(
        self,
        load: Callable[[str], Segmenter],
        preset: str = "nano",
        examples: Sequence[Example] = (),
        analyse: Callable[..., Analysis] = compute.analyse,
        cache: Cache[Result] | None = None,
    ):
        self.examples, self.preset, self._load, self._analyse = list(examples), preset, load, analyse
        self.cache = cache or Cache(lambda result: result.nbytes, memory.results_limit, least=STAY, forget=self.forget)
        self._loading = threading.RLock()
        self._used: dict[str, float] = {}  # preset -> when its model was last asked for
        self._busy: Counter[str] = Counter()  # preset -> analyses that need its model now
        self._decodes = threading.BoundedSemaphore(DECODES)
        # (modified, size, fingerprint) of files by path, so that a query decodes nothing
        self._fingerprints: OrderedDict[str, tuple[int, int, str]] = OrderedDict()
        self._labels: dict[str, np.ndarray] = {}
        self._examples: dict[str, Example] = {}
        for index, example in enumerate(self.examples):
            fingerprint = self.photograph(example.path).fingerprint
            self._examples[fingerprint] = example
            if index < READY:
                self.cache.pinned.add((fingerprint, Settings(preset)))
            if example.labels is not None:
                self._labels[fingerprint] = example.labels

    def segmenter(self, preset: str) -> Segmenter:
        """The loaded model of a preset. Raises ValueError, with the way out, when it cannot run here."""
        self._used[preset] = time.monotonic()
        found = compute.SEGMENTERS.get(preset)
        if found is None:
            with refusals():
                needed = memory.model_bytes(presets.get(preset))  # one sentence for an unknown name
            with self._loading:
                if preset not in compute.SEGMENTERS:
                    self.make_room(needed, preset)
                    compute.SEGMENTERS[preset] = compute.alone(self._load, preset)
                found = compute.SEGMENTERS[preset]
        return found

    def make_room(self, needed: int = 0, keep: str = "") -> None:
        """Drop models, the one unused for longest first, while memory is short; then results.

        Args:
            needed: bytes that are about to be taken.
            keep: preset whose model stays, like all that analyse now.
        """
        with self._loading:
            while memory.short(needed):
                idle = [name for name in compute.SEGMENTERS if name != keep and not self._busy[name]]
                if not idle:
                    break
                oldest = min(idle, key=lambda name: self._used.get(name, 0.0))
                logger.warning("memory is short: the model %s is dropped until it is asked for again", oldest)
                del compute.SEGMENTERS[oldest]
                gc.collect()
        self.cache.shrink()

    def forget(self, seconds: float) -> None:
        """Drop what models keep of pictures and class lists that nobody asked for in so many seconds."""
        for segmenter in list(compute.SEGMENTERS.values()):
            segmenter.forget(seconds)

    def _run(self, settings: Settings, pixels: np.ndarray) -> Analysis:
        """One pass. Its model stays meanwhile; the analysis finds it again also when it was dropped later."""
        with self._loading:
            segmenter = self.segmenter(settings.preset)
            self._busy[settings.preset] += 1
        try:
            self.make_room(keep=settings.preset)
            segmenter.remember = memory.encoded_limit(segmenter)
            analysis = self._analyse(settings.preset, pixels, settings.windows, settings.resolution, settings.classes)
        finally:
            self._busy[settings.preset] -= 1

        def encode_text(texts: Sequence[str], stream: str) -> np.ndarray:
            return compute.texts(self.segmenter(settings.preset).encode_text, texts, stream)

        analysis.encode_text = encode_text
        return analysis

    def settings(self, preset: str, windows: str, resolution: float, classes: str = "") -> Settings:
        """What a visitor chose. classes: names separated by commas, empty for the trained ones. Raises Refusal."""
        names = open_vocabulary.split(classes or "")
        with refusals():
            own = open_vocabulary.check(names, presets.get(preset).classes) if names else None
        if windows not in WINDOWS:
            raise Refusal(f"Unknown windows {windows!r}; choose {' or '.join(WINDOWS)}.")
        return Settings(preset, windows, int(resolution) or None, own)

    def photograph(self, path: str | Path) -> Photograph:
        """Decode and reduce a file. Raises images.ImageError."""
        if not Path(path).exists():  # the reader's own sentence would name a folder of the server
            raise images.ImageError(GONE)
        with self._decodes:
            pixels = images.load(path)
            original = pixels.shape[:2]
            if max(original) > LONGEST:
                scale = LONGEST / max(original)
                pixels = images.resize(pixels, *(max(images.MIN_SIDE, round(side * scale)) for side in original))
        photo = Photograph(pixels, original, images.fingerprint(pixels))
        stat = Path(path).stat()
        self._fingerprints[str(path)] = (stat.st_mtime_ns, stat.st_size, photo.fingerprint)
        while len(self._fingerprints) > 512:
            self._fingerprints.popitem(last=False)
        return photo

    def _fingerprint(self, path: str | Path) -> str | None:
        """Of a file seen before and unchanged, or deleted since (its result may still be here); else None."""
        known = self._fingerprints.get(str(path))
        if known is None:
            return None
        try:
            stat = Path(path).stat()
        except OSError:
            return known[2]
        return known[2] if known[:2] == (stat.st_mtime_ns, stat.st_size) else None

    def knows(self, path: str | Path) -> bool:
        """Was a picture of this path looked at? Its result may be here when the file is not any more."""
        return str(path) in self._fingerprints

    def result(self, path: str | Path, settings: Settings) -> Result:
        """The analysis of a file: from the cache, else from one pass of the network."""
        segmenter = self.segmenter(settings.preset)
        settings = _normal(settings, segmenter)
        photo: Photograph | None = None
        fingerprint = self._fingerprint(path)
        if fingerprint is None:
            photo = self.photograph(path)
            fingerprint = photo.fingerprint

        def make() -> Result:
            if photo is None and not Path(path).exists():
                raise images.ImageError(GONE)
            seen = photo or self.photograph(path)
            with refusals():
                working_size(seen.pixels.shape[:2], segmenter.preset, settings.resolution)
                if settings.classes is not None:
                    segmenter.check_classes(settings.classes)
            analysis = self._run(settings, seen.pixels)
            labels = self._labels.get(fingerprint) if settings.classes is None else None
            size = analysis.size
            return Result(analysis, seen.original, labels if labels is None else fitted(labels, size))

        return self.cache.get_or_make((fingerprint, settings), make)

    def ready(self, path: str | Path, settings: Settings) -> Result | None:
        """The analysis of a file if it is in the cache; nothing is computed and nothing is decoded."""
        segmenter, fingerprint = compute.SEGMENTERS.get(settings.preset), self._fingerprint(path)
        if segmenter is None or fingerprint is None:
            return None
        return self.cache.get((fingerprint, _normal(settings, segmenter)))

    def warm(self) -> None:
        """Analyse the first few examples after the very first, ahead of their first visitor."""
        for example in self.examples[1:READY]:
            try:
                self.result(example.path, Settings(self.preset))
            except Exception:  # whoever opens it is told; the others are still worth it
                logger.exception("could not analyse the example %s", example.path.name)

    def adverse(self, path: str | Path, settings: Settings, condition: str, severity: int, seed: int) -> Result:
        """The analysis of the same photograph in simulated weather; labels are those of the clear one."""
        with refusals():
            weather.check(condition, severity, seed)
        clear = self.result(path, settings)
        settings = _normal(settings, self.segmenter(settings.preset))
        key = (images.fingerprint(clear.analysis.image), settings, condition, severity, seed)

        def make() -> Result:
            pixels = weather.apply(clear.analysis.image, condition, severity=severity, seed=seed)
            analysis = self._run(settings, pixels)
            return Result(analysis, clear.original, clear.labels)

        return self.cache.get_or_make(key, make)

    def with_layers(self, result: Result) -> Analysis:
        """The analysis of a result with the tokens of every block, for one visitor who looks inside the fusion."""
        seen = result.analysis
        if seen.layers:
            return seen
        classes = None if seen.trained_classes else seen.classes
        return self._analyse(seen.ran["preset"], seen.image, "single", min(seen.ran["input_size"]), classes, True)

    def weathered(self, clear: Result, settings: Settings, condition: str, severity: int, seed: int) -> Analysis:
        """One cell of a sweep: as `adverse`, but nothing is kept. Raises Refusal."""
        with refusals():
            weather.check(condition, severity, seed)
        settings = _normal(settings, self.segmenter(settings.preset))
        pixels = weather.apply(clear.analysis.image, condition, severity=severity, seed=seed)
        return self._analyse(settings.preset, pixels, settings.windows, settings.resolution, settings.classes)

    def rendered(self, path: str | Path) -> dict[str, Rendered]:
        """condition -> the scene rendered in it, when the picture is a bundled example that has such; else empty.

        Nothing is decoded: a picture that was never looked at counts as none.
        """
        example = self._examples.get(self._fingerprint(path) or "")
        return {} if example is None else example.weather

    def in_rendered_weather(self, path: str | Path, settings: Settings, condition: str) -> Result:
        """The analysis of an example's scene as rendered in a condition, with the example's labels.

        Raises Refusal when there is no such picture.
        """
        found = self.rendered(path).get(condition)
        if found is None:
            raise Refusal("The scene was rendered in one condition at a time: choose one, or simulated weather.")
        fingerprint = self._fingerprint(found.path) or self.photograph(found.path).fingerprint
        labels = self._labels.get(self._fingerprint(path) or "")
        if labels is not None:
            self._labels[fingerprint] = labels
        return self.result(found.path, settings)


def _normal(settings: Settings, segmenter: Segmenter) -> Settings:
    """One key for one computation: the preset's own resolution, written out, is the same as None."""
    resolution = settings.resolution
    if resolution is not None and int(resolution) == segmenter.preset.resolution:
        resolution = None
    return settings._replace(resolution=None if resolution is None else int(resolution))
