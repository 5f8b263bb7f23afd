"""What the API answers about a model rather than a photograph: inside the fusion, against labels, across weather."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mfuser import images, weather
from mfuser.cityscapes import IGNORE
from mfuser.config import STREAMS
from mfuser.demo import queries, weather_view
from mfuser.demo.endpoints import Endpoints, severity_of
from mfuser.demo.refusals import Refusal, refusals
from mfuser.inference.analysis import Analysis
from mfuser.pictures import visualize
from mfuser.stage import inside, truth

CELLS = 20  # the most of one sweep, each of which is a pass of the three models


class Studies(Endpoints):
    """All endpoints: those of one photograph, and the studies."""

    def inside(
        self, image: str, block: float = 0, x: float = -1, y: float = -1, preset: str = "nano", resolution: float = 0
    ) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
        """What the fusion does: how far MVFuser moves the patches of both encoders at each block.

        block: from 1, whose maps are returned, 0 for the last. x, y: a point in 0..1 of width and height whose patch is
        followed through the blocks, or -1 for none. Other arguments as in /analyse. Returns: {"blocks": for each block
        {encoder: {"median", "high", "max": norms of what was added to the patches, "length": median norm of a patch
        before, "relative": median of the two's ratio, "patch": norm at the point, or null}}, "block", "maps":
        {encoder: rows of norms on the patch grid}, "classes", "class_cosines": {"before", "after": rows of cosines of
        the class texts, around MTEnhancer}}; then the two maps as heat maps: VFM, VLM.
        """
        analysis = self.session.with_layers(self._result(image, preset, "single", resolution))
        count = len(analysis.layers)
        if block != int(block) or not 0 <= block <= count:
            raise Refusal(f"There is no block {block:g}: choose 1 to {count}, or 0 for the last.")
        index = int(block or count) - 1
        blocks = inside.summaries(analysis)
        place = None if x < 0 and y < 0 else queries.from_point(x, y).argument(analysis)
        for numbers, norms in zip(blocks, analysis.offset_norms, strict=True):
            for encoder, field in numbers.items():
                field.pop("step")
                field["patch"] = None if place is None else _at(norms[encoder], place, analysis.size)
        maps = analysis.offsets(index)
        answer = {
            "blocks": blocks,
            "block": index + 1,
            "maps": {encoder: np.round(norms.astype(float), 4).tolist() for encoder, norms in maps.items()},
            "classes": list(analysis.classes),
            "class_cosines": {
                side: np.round(cosines.astype(float), 4).tolist()
                for side, cosines in inside.class_cosines(analysis).items()
            },
        }
        high = max(numbers["high"] for numbers in blocks[index].values())
        pictures = (visualize.heat(images.resize(maps[e], *analysis.size), 0, high) for e in ("vfm", "vlm"))
        return answer, *pictures

    def evaluate(
        self,
        image: str,
        label: str,
        labels: str = "auto",
        preset: str = "nano",
        windows: str = "single",
        resolution: float = 0,
    ) -> tuple[dict[str, Any]]:
        """Score the three models on a photograph whose labels you have.

        label: a PNG of the photograph's size in Cityscapes trainIds, labelIds or colours. labels: which of these it is
        ("trainIds", "labelIds", "colours"), or "auto" to detect it. Other arguments as in /analyse. Returns: {"labels":
        what the file was read as, "sentence", "iou": {stream: {class: IoU in 0..1, classes in neither left out}},
        "miou": {stream: their mean}, "accuracy": {stream: share of the labelled pixels that are right}}.
        """
        if not label:
            raise Refusal("No label was given: pass a PNG, for example gradio_client.handle_file(path).")
        result = self._result(image, preset, windows, resolution)
        analysis = result.analysis
        found = truth.read(Path(label).read_bytes(), analysis, result.original, labels)
        scores = {
            stream: {name: value for name, value in zip(analysis.classes, values, strict=True) if value is not None}
            for stream, values in truth.scores(analysis, found.labels).items()
        }
        known = found.labels != IGNORE
        answer = {
            "labels": found.kind,
            "sentence": found.sentence,
            "iou": scores,
            "miou": {stream: float(np.mean(list(values.values()))) for stream, values in scores.items()},
            "accuracy": {s: float((analysis.masks[s] == found.labels)[known].mean()) for s in analysis.streams},
        }
        return (answer,)

    def sweep(
        self,
        image: str,
        conditions: str = "fog,rain,snow,night",
        severities: str = "1,3,5",
        seed: float = 0,
        preset: str = "nano",
        windows: str = "single",
        resolution: float = 0,
    ) -> tuple[dict[str, Any]]:
        """How much of its clear-weather answer each model keeps in simulated weather: conditions x severities.

        conditions: separated by commas; each is fog, rain, snow, night, or several joined by "+". severities: of 1
        (light) to 5, separated by commas; 20 pictures are the most. Other arguments as in /weather. Returns:
        {"measure": "consistency" (mean IoU with the model's own clear mask) or, for pictures with known labels, "share
        of the clear mIoU", "retention": {condition: {severity: {stream: value}}}, "mean": {stream: over all of them},
        "clear_miou": {stream: mIoU} or null}.
        """
        names = [weather_view.condition_of(part.split("+")) for part in _listed(conditions)]
        levels = [severity_of(part) for part in _listed(severities)]
        if not names or not levels:
            raise Refusal("The sweep is empty: name a condition and a severity at least, for example fog and 3.")
        if len(names) * len(levels) > CELLS:
            raise Refusal(f"The sweep has {len(names) * len(levels)} pictures: {CELLS} are the most.")
        with refusals():
            for name in names:
                for level in levels:
                    weather.check(name, level, int(seed))
        clear = self._result(image, preset, windows, resolution)
        settings = self.session.settings(preset, windows, resolution)
        of_clear = None if clear.labels is None else {s: _agree(clear.analysis, s, clear.labels) for s in STREAMS}

        def kept(adverse: Analysis, stream: str) -> float | None:
            if of_clear is None:
                return _agree(adverse, stream, clear.analysis.masks[stream])
            return _agree(adverse, stream, clear.labels) / of_clear[stream] if of_clear[stream] else None

        table: dict[str, dict[str, dict[str, float | None]]] = {name: {} for name in names}
        for name in names:
            for level in levels:
                adverse = self.session.weathered(clear, settings, name, level, int(seed))
                table[name][str(level)] = {s: kept(adverse, s) for s in clear.analysis.streams}
        cells = [cell for row in table.values() for cell in row.values()]
        answer = {
            "measure": "consistency" if of_clear is None else "share of the clear mIoU",
            "retention": table,
            "mean": {s: _mean([cell[s] for cell in cells]) for s in clear.analysis.streams},
            "clear_miou": of_clear,
        }
        return (answer,)


def _listed(text: str) -> list[str]:
    """'fog, Rain,' -> ['fog', 'rain'], without repeats."""
    return list(dict.fromkeys(part.strip().lower() for part in (text or "").split(",") if part.strip()))


def _agree(analysis: Analysis, stream: str, mask: np.ndarray) -> float:
    """Mean IoU of a stream's mask with another mask, 0 to 1."""
    return float(visualize.agreement(analysis.masks[stream], mask))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _at(field: np.ndarray, place: tuple[float, float], size: tuple[int, int]) -> float:
    """Value of the patch at pixel (x, y) of a picture of (H, W)."""
    (x, y), (rows, columns) = place, field.shape
    return float(field[int(y * rows / size[0]), int(x * columns / size[1])])
