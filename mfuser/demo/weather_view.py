"""View 3, Adverse weather: the clear photograph beside the same one in simulated weather, or an example's scene beside
the same scene rendered in that weather, for the three models."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import gradio as gr

from mfuser import weather
from mfuser.config import STREAMS
from mfuser.demo import grid, pictures
from mfuser.demo.compare import band, headings, made_heads, mask_cell, photo
from mfuser.demo.refusals import Refusal
from mfuser.demo.session import Result
from mfuser.demo.wording import percent
from mfuser.pictures import visualize

SIMULATED, RENDERED = "simulated", "rendered"
SOURCES = [("simulated on the picture", SIMULATED), ("rendered in the scene", RENDERED)]
NO_CONDITION = "Choose at least one condition: fog, rain, snow or night."
EXPLANATION = (
    "Consistency is the agreement of a model with its own mask of the clear photograph (mean IoU over the classes in "
    "either). It does not say that the mask is right: a constant mask is perfectly consistent. Where the example has "
    "labels, the real mIoU stands beside it. Severity and seed are those of simulated weather; weather rendered in the "
    "scene comes as it was rendered."
)

FOLLOWS = (
    "Clusters are made anew in each picture and coloured by MFuser’s mask of that picture: their consistency leans on "
    "MFuser’s."
)


@dataclass
class WeatherView:
    """Components of the view. `controls`: condition, severity, seed, source, as the handlers take them. The source is
    offered for examples that were rendered in other weather too."""

    source: gr.Radio
    conditions: gr.CheckboxGroup
    severity: gr.Slider
    seed: gr.Number
    notice: gr.HTML
    pictures: gr.HTML

    @property
    def controls(self) -> list[gr.Component]:
        return [self.conditions, self.severity, self.seed, self.source]


def build() -> WeatherView:
    """Create the view inside the current container."""
    with gr.Row(elem_id="weather-controls"):
        conditions = gr.CheckboxGroup(
            [(name.capitalize(), name) for name in weather.CONDITIONS],
            value=["fog"],
            label="Conditions, one or several",
            elem_id="conditions",
            min_width=280,
            scale=3,
        )
        severity = gr.Slider(1, 5, 3, step=1, label="Severity", elem_id="severity", min_width=200, scale=2)
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed", min_width=110, scale=1)
    source = gr.Radio(
        SOURCES, value=SIMULATED, label="Weather", show_label=False, visible=False, elem_id="weather-source"
    )
    notice = gr.HTML("", elem_id="weather-notice")
    shown = grid.component("", "weather-grid")
    gr.HTML(f'<p class="explanation">{escape(EXPLANATION)}</p>')
    return WeatherView(source, conditions, severity, seed, notice, shown)


def condition_of(conditions: list[str]) -> str:
    """['fog', 'night'] -> 'fog+night'. Raises Refusal for none."""
    if not conditions:
        raise Refusal(NO_CONDITION)
    return "+".join(name for name in weather.CONDITIONS if name in conditions) or "+".join(conditions)


def describe(condition: str, severity: int) -> str:
    """'visibility 130 m', or 'fog: visibility 130 m; night: daylight reduced by 4 stops'."""
    names = condition.split("+")
    if len(names) == 1:
        return weather.DESCRIPTIONS[condition].at(severity)
    return "; ".join(f"{name}: {weather.DESCRIPTIONS[name].at(severity)}" for name in names)


def compare(clear: Result, adverse: Result, condition: str, severity: int, rendered: str | None = None) -> str:
    """Clear and adverse, with the scores of each model, as HTML. rendered: the weather in words, when the adverse
    picture is not simulated but rendered; severity says nothing then."""
    title = condition.replace("+", " + ").capitalize()
    titles = (
        (title + ", rendered in the scene", rendered)
        if rendered is not None
        else (f"{title}, severity {severity}", describe(condition, severity))
    )
    size = clear.analysis.size
    cells = ['<div class="head photo"><b>Photograph</b><span>the same scene</span></div>']
    cells += headings(clear)
    if told := made_heads(clear):
        follows = FOLLOWS if clear.analysis.made["vfm"] == "clusters" else ""
        cells += [f'<div class="made">{escape(follows)}</div>', *told]
    for title, explanation, result in (
        ("Clear", "as photographed" if rendered is None else "as rendered", clear),
        (*titles, adverse),
    ):
        cells.append(band(title, explanation))
        alt = f"The photograph: {title.lower()}"
        cells.append(pictures.cell(alt, size, "", photo(result), "photo", label="Photograph"))
        cells += [mask_cell(result, stream) for stream in STREAMS]
    cells.append('<div class="foot"></div>')
    cells += [f'<div class="foot">{_scores(clear, adverse, stream)}</div>' for stream in STREAMS]
    return grid.grid(cells, columns=4, label="Clear and adverse weather by three models", analysis=clear.analysis)


def consistency(clear: Result, adverse: Result, stream: str) -> float:
    """Agreement of a model with its own clear-weather mask: mean IoU in [0, 1]."""
    return visualize.agreement(clear.analysis.masks[stream], adverse.analysis.masks[stream])


def real_miou(result: Result, stream: str) -> float | None:
    """Mean IoU with the labels of an example, in [0, 1]; None without labels."""
    return None if result.labels is None else visualize.agreement(result.analysis.masks[stream], result.labels)


def _scores(clear: Result, adverse: Result, stream: str) -> str:
    made = clear.analysis.made.get(stream, "decoder")
    of = "" if made == "decoder" else f" ({made})"
    rows = [f"<span>consistency{of}</span><b>{escape(percent(consistency(clear, adverse, stream)))}</b>"]
    before, after = real_miou(clear, stream), real_miou(adverse, stream)
    if before is not None and after is not None:
        rows.append(f"<span>real mIoU</span><b>{escape(f'{percent(before)} → {percent(after)}')}</b>")
    return "".join(f'<p class="score">{row}</p>' for row in rows)
