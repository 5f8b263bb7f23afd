"""Events to answers: every handler returns pictures, or leaves them as they are and says one sentence."""

from __future__ import annotations

from typing import Any

import gradio as gr

from mfuser.demo import compare, queries, weather_view, wording
from mfuser.demo.refusals import refusals
from mfuser.demo.session import Result, Session, Settings
from mfuser.inference import open_vocabulary

CHOOSE = "Choose a photograph, or one of the examples, to begin."
# What a browser's own decoder shows; other files (TIFF, JPEG 2000, ...) come back to the page as we decoded them.
_BROWSER = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif")


class Handlers:
    """Bound to one Session. Arguments are the values of `Inputs.settings` or `Inputs.asked`, in order."""

    def __init__(self, session: Session):
        self.session = session

    def opening(self, text: str) -> tuple[str, str]:
        """Matrix and what-ran line of the first example, for the page as it is first sent."""
        result = self.session.result(self.session.examples[0].path, Settings(self.session.preset))
        return compare.matrix(result, self._query(self.session.preset, text, None)), self._ran(result)

    def show(
        self,
        path: str | None,
        preset: str,
        windows: str,
        resolution: float,
        pca: str,
        text: str,
        point: list[float] | None,
        classes: str = "",
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it as a default
    ) -> tuple[Any, Any, str, str]:
        """Analyse, or find in the cache: (matrix, what-ran line, photo notice, query notice)."""
        if not path:
            return gr.skip(), gr.skip(), wording.notice(CHOOSE, "note"), gr.skip()
        try:
            progress(0.1, desc="Reading the photograph and running the three models")
            result = self._result(path, preset, windows, resolution, classes)
        except Exception as error:
            return gr.skip(), gr.skip(), wording.notice(wording.sentence(error)), wording.NOTHING
        try:
            query = self._query(preset, text, point)
            progress(0.9, desc="Drawing")
            shown = compare.matrix(result, query, pca == "foreground")
        except Exception as error:
            return gr.skip(), self._ran(result), wording.NOTHING, wording.notice(wording.sentence(error))
        notices = (wording.notice(text, "note") for text in (self._reduced(result), query.note))
        return shown, self._ran(result), *notices

    def click_photo(self, path: str | None, event: gr.SelectData) -> list[float] | None:
        """A click on the input picture, in its own upright pixels, as (x, y) in 0..1."""
        if not path or event.index is None:
            return None
        try:
            height, width = self.session.photograph(path).original
        except Exception:  # the picture that cannot be read was already reported when it came
            return None
        x, y = event.index
        return [min(1.0, (x + 0.5) / width), min(1.0, (y + 0.5) / height)]

    def click_grid(self, event: gr.EventData) -> list[float] | None:
        """A click on a picture of the matrix, (x, y) in 0..1."""
        try:
            return list(queries.from_point(float(event.x), float(event.y)).point)
        except (AttributeError, TypeError, ValueError):
            return None

    def pick(self, event: gr.EventData) -> tuple[str, None]:
        """An example chosen: its path for the photo input, and no point."""
        return str(self.session.examples[int(event.index)].path), None

    def preview(self, path: str | None) -> Any:
        """The photo input as it is, or as decoded here where a browser could not show the file."""
        if not path or path.lower().endswith(_BROWSER):
            return gr.skip()
        try:
            return self.session.photograph(path).pixels
        except Exception:  # `show` says why
            return gr.skip()

    def weather(
        self,
        active: str,
        path: str | None,
        preset: str,
        windows: str,
        resolution: float,
        conditions: list[str],
        severity: float,
        seed: float | None,
        source: str = weather_view.SIMULATED,
        classes: str = "",
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, str]:
        """(pictures, notice). Computes only while its tab is the active one."""
        if active != "weather":
            return gr.skip(), gr.skip()
        if not path:
            return gr.skip(), wording.notice(CHOOSE, "note")
        try:
            condition = weather_view.condition_of(conditions)
            settings = self.session.settings(preset, windows, resolution, classes)
            if source == weather_view.RENDERED and self.session.rendered(path):
                return self._rendered_weather(path, settings, condition, progress)
            progress(0.1, desc="Running the three models on the clear photograph")
            clear = self.session.result(path, settings)
            progress(0.4, desc=f"Making {condition.replace('+', ' and ')}, and running the three models on it")
            adverse = self.session.adverse(path, settings, condition, int(severity), int(seed or 0))
            return weather_view.compare(clear, adverse, condition, int(severity)), wording.NOTHING
        except Exception as error:
            return gr.skip(), wording.notice(wording.sentence(error))

    def sources(self, path: str | None) -> Any:
        """The choice of where the weather comes from: shown for examples that were rendered in it too."""
        try:
            return gr.update(visible=bool(path) and bool(self.session.rendered(path)))
        except Exception:  # the picture that cannot be read was already reported when it came
            return gr.update(visible=False)

    def _rendered_weather(
        self, path: str, settings: Settings, condition: str, progress: gr.Progress
    ) -> tuple[Any, str]:
        progress(0.2, desc=f"Running the three models on the scene in {condition}")
        adverse = self.session.in_rendered_weather(path, settings, condition)
        clear = self.session.result(path, settings)
        text = self.session.rendered(path)[condition].text
        return weather_view.compare(clear, adverse, condition, 0, text), wording.NOTHING

    def choose_classes(self, text: str | None, preset: str) -> tuple[Any, str]:
        """(class list that from now on counts, notice); a list that cannot be used leaves the one before."""
        names = open_vocabulary.split(text or "")
        try:
            if names:
                segmenter = self.session.segmenter(preset)
                with refusals():
                    segmenter.check_classes(names)
            return ", ".join(names), wording.NOTHING
        except Exception as error:
            return gr.skip(), wording.notice(wording.sentence(error))

    def _result(self, path: str, preset: str, windows: str, resolution: float, classes: str = "") -> Result:
        return self.session.result(path, self.session.settings(preset, windows, resolution, classes))

    def _query(self, preset: str, text: str, point: list[float] | None) -> queries.Query:
        if point is not None:
            return queries.from_point(*point)
        return queries.from_text(text, self.session.segmenter(preset).is_cut)

    @staticmethod
    def _ran(result: Result) -> str:
        return wording.what_ran(result.analysis, result.original)

    @staticmethod
    def _reduced(result: Result) -> str:
        (height, width), (h, w) = result.original, result.analysis.size
        if (height, width) == (h, w):
            return ""
        return f"The photograph of {width} × {height} pixels was reduced to {w} × {h} for this page."
