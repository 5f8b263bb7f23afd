"""What the API answers, as plain functions: masks, features, similarities and simulated weather of one photograph."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from mfuser.config import STREAMS
from mfuser.demo import compare, queries, weather_view
from mfuser.demo.refusals import Refusal
from mfuser.demo.session import Result, Session
from mfuser.pictures import visualize


class Endpoints:
    """The functions behind the endpoints. Files come as paths of uploads; errors leave as one sentence."""

    def __init__(self, session: Session):
        self.session = session

    def analyse(
        self, image: str, preset: str = "nano", windows: str = "single", resolution: float = 0, classes: str = ""
    ) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]:
        """Run the three models on a photograph: what ran, shares of the classes, and features as colours.

        image: the photograph (any common format; more than 1600 pixels a side are reduced). preset: name of the model.
        windows: "single" (one pass) or "sliding" (masks from the paper's windows). resolution: short side in pixels
        that the network sees, 0 for the model's own. classes: names of your own, separated by commas (experimental), or
        nothing for the trained ones. Returns: {"size": [height, width], "classes": in the order of the masks' values,
        "made": {stream: "decoder", "zero-shot" or "clusters": how its mask came about}, "ran": ..., "shares": {stream:
        {class: fraction}}}; then the principal components as RGB pictures: VFM only, VLM only, MFuser.
        """
        result = self._result(image, preset, windows, resolution, classes)
        analysis = result.analysis
        shares = {stream: analysis.shares(stream) for stream in analysis.masks}
        told = {"classes": list(analysis.classes), "made": analysis.made, "ran": _plain(analysis.ran), "shares": shares}
        summary = {"size": list(analysis.size), **told}
        return summary, *(analysis.pca(stream) for stream in STREAMS)

    def similarity(
        self,
        image: str,
        query: str = "car",
        x: float = -1,
        y: float = -1,
        preset: str = "nano",
        windows: str = "single",
        resolution: float = 0,
    ) -> tuple[dict[str, Any], np.ndarray | None, np.ndarray, np.ndarray]:
        """Cosine of every patch with a text, or with the patch at a point.

        query: texts separated by commas; the largest cosine counts. x, y: a point in 0..1 of width and height, used
        instead of the text when both are 0 or more. Other arguments as in /analyse. Returns: {"scale": [low, high],
        "maps": {stream: rows of cosines on the patch grid}, "note": what of the query was cut}; then heat maps on that
        scale: VFM only (none for a text: a VFM has no text), VLM only, MFuser.
        """
        result = self._result(image, preset, windows, resolution)
        if x >= 0 and y >= 0:
            asked = queries.from_point(x, y)
        else:
            asked = queries.from_text(query, self.session.segmenter(preset).is_cut)
        maps = compare.similarities(result, asked)
        scale = visualize.similarity_scale(list(maps.values()))
        grids = {s: _on_grid(m, result.analysis.tokens[s].shape[:2]) for s, m in maps.items()}
        answer = {"scale": [round(v, 4) for v in scale], "maps": grids, "note": asked.note}
        return answer, *(visualize.heat(maps[s], *scale) if s in maps else None for s in STREAMS)

    def segment(
        self, image: str, preset: str = "nano", windows: str = "single", resolution: float = 0, classes: str = ""
    ) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None, dict[str, dict[str, float]]]:
        """Masks of the three models as 8-bit grey PNGs of Cityscapes trainIds (0 road ... 18 bicycle).

        Arguments as in /analyse, whose "made" says how each mask came about; with classes of your own the values are
        places in that list, from 0. Returns: VFM only, VLM only, MFuser; then {stream: {class: fraction of pixels}}.
        """
        analysis = self._result(image, preset, windows, resolution, classes).analysis
        masks = (analysis.masks.get(stream) for stream in STREAMS)
        return *masks, {stream: analysis.shares(stream) for stream in analysis.masks}

    def weather(
        self,
        image: str,
        condition: str = "fog",
        severity: float = 3,
        seed: float = 0,
        preset: str = "nano",
        windows: str = "single",
        resolution: float = 0,
        classes: str = "",
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None, dict[str, Any]]:
        """Put simulated weather on a clear photograph and run the three models on it.

        condition: fog, rain, snow, night, or several joined by "+". severity: 1 (light) to 5. seed: of drops, flakes
        and noise. Other arguments as in /analyse. Returns: the adverse photograph; its masks as trainId PNGs (VFM only,
        VLM only, MFuser); then {"consistency": {stream: mean IoU with the model's own clear mask}, "miou": {stream:
        [clear, adverse]} for pictures with known labels, else null, "parameters": what the severity means}.
        """
        level = severity_of(severity)
        names = [name.strip().lower() for name in condition.split("+") if name.strip()]
        condition = weather_view.condition_of(names)
        clear = self._result(image, preset, windows, resolution, classes)
        settings = self.session.settings(preset, windows, resolution, classes)
        adverse = self.session.adverse(image, settings, condition, level, int(seed))
        scores = {
            "consistency": {s: weather_view.consistency(clear, adverse, s) for s in clear.analysis.masks},
            "miou": None
            if clear.labels is None
            else {s: [weather_view.real_miou(r, s) for r in (clear, adverse)] for s in clear.analysis.masks},
            "parameters": weather_view.describe(condition, level),
        }
        return adverse.analysis.image, *(adverse.analysis.masks.get(s) for s in STREAMS), scores

    def _result(self, image: str | None, preset: str, windows: str, resolution: float, classes: str = "") -> Result:
        if not image:
            raise Refusal("No image was given: pass a file, for example gradio_client.handle_file(path).")
        return self.session.result(image, self.session.settings(preset, windows, resolution, classes))


def severity_of(value: float | str) -> int:
    """1.0 or "1" -> 1. Raises Refusal for what is no whole number; `weather.check` judges the range."""
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not number.is_integer():
        raise Refusal(f"Severity {value!s:.20} is not a whole number: choose 1, 2, 3, 4 or 5.")
    return int(number)


def _on_grid(values: np.ndarray, size: tuple[int, int]) -> list[list[float]]:
    small = cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA)
    return np.round(small.astype(float), 4).tolist()


def _plain(value: Any) -> Any:
    """Tuples and numpy numbers as JSON knows them."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
