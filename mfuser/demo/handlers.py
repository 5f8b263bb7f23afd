"""Events to answers: every handler returns pictures, or leaves them as they are and says one sentence."""

from __future__ import annotations

from typing import Any

import gradio as gr

from mfuser.demo import weather_view, wording
from mfuser.demo.refusals import refusals
from mfuser.demo.session import Session, Settings
from mfuser.inference import open_vocabulary

CHOOSE = "Choose a photograph, or one of the examples, to begin."


class Handlers:
    """Bound to one Session."""

    def __init__(self, session: Session):
        self.session = session

    def weather(
        self,
        path: str | None,
        preset: str,
        windows: str,
        resolution: float,
        classes: str,
        conditions: list[str],
        severity: float,
        seed: float | None,
        source: str,
        progress: gr.Progress,
    ) -> tuple[Any, str]:
        """(pictures, notice) of the weather drawer."""
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
