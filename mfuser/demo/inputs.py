"""The always visible inputs: photograph, examples, query, model, settings."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import gradio as gr

from mfuser import config, images, presets
from mfuser.demo import compute, pictures, wording
from mfuser.demo.examples import Example
from mfuser.demo.guard import photo_input
from mfuser.demo.session import Session

DEFAULT_QUERY = "car"
WINDOWS = [("one pass (fast)", "single"), ("sliding windows (as in the paper)", "sliding")]
PCA = [("whole picture", "whole"), ("foreground only", "foreground")]
_PICK = """element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('select', { index: Number(button.dataset.index) });
});"""
# Opacity is a matter of the page alone: no request, no pass of a network.
_SET_OPACITY = "(value) => { document.documentElement.style.setProperty('--overlay', value); }"


@dataclass
class Inputs:
    """Components that every view reads. `asked`: what the handlers of a result take, in this order."""

    photo: gr.Image
    photo_notice: gr.HTML
    examples: gr.HTML | None
    query: gr.Textbox
    query_notice: gr.HTML
    point: gr.State
    preset: gr.Dropdown
    windows: gr.Radio
    resolution: gr.Slider
    pca: gr.Radio
    apply: gr.Button
    class_names: gr.Textbox
    class_reset: gr.Button
    class_notice: gr.HTML
    classes: gr.State

    @property
    def settings(self) -> list[gr.Component]:
        return [self.photo, self.preset, self.windows, self.resolution]

    @property
    def asked(self) -> list[gr.Component]:
        return [*self.settings, self.pca, self.query, self.point, self.classes]


def build(session: Session) -> Inputs:
    """Create the inputs inside the current column."""
    first = session.examples[0] if session.examples else None
    photo = photo_input(
        str(first.path) if first else None,
        label="Photograph",
        sources=["upload", "webcam", "clipboard"],
        height=230,
        buttons=[],
        elem_id="photo",
        alt_text="The photograph that is analysed. Click on it to compare its patches.",
        placeholder="Drop a driving photograph here\nor click to choose one",
    )
    photo_notice = gr.HTML("", elem_id="photo-notice")
    examples = _gallery(session.examples) if session.examples else None
    gr.HTML(f'<p class="privacy">{escape(wording.PRIVACY)}</p>')
    query = gr.Textbox(
        DEFAULT_QUERY,
        label="Look for",
        info="Any words, several separated by commas; Enter sends. Or click on the picture.",
        elem_id="query",
        submit_btn=True,
        max_lines=3,
    )
    query_notice = gr.HTML("", elem_id="query-notice")
    chosen = presets.get(session.preset)
    choices = [(_title(status), status["name"]) for status in presets.available()]
    preset = gr.Dropdown(choices, value=session.preset, label="Model", elem_id="preset", filterable=False)
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        opacity = gr.Slider(0, 1, 0.55, step=0.05, label="Opacity of similarity and masks", elem_id="opacity")
        pca = gr.Radio(PCA, value="whole", label="Features: principal components of", elem_id="pca")
        windows = gr.Radio(WINDOWS, value="single", label="Masks from", elem_id="windows")
        resolution = gr.Slider(
            *limits(chosen),
            value=chosen.resolution,
            step=chosen.divisor,
            label="Working resolution (short side, pixels)",
            elem_id="resolution",
        )
        apply = gr.Button("Analyse again", size="sm", elem_id="apply")
    with gr.Accordion("Classes (experimental)", open=False, elem_id="classes"):
        class_names = gr.Textbox(
            label="Names for the masks",
            info="Your own, separated by commas; Enter sends. The decoders were trained for the 19 Cityscapes classes: "
            "other names borrow from the closest of them.",
            placeholder="road, car, lorry, tree, house, sky",
            elem_id="class-names",
            submit_btn=True,
            max_lines=4,
        )
        class_notice = gr.HTML("", elem_id="class-notice")
        class_reset = gr.Button("Back to the 19 classes", size="sm", elem_id="class-reset")
    opacity.input(None, opacity, None, js=_SET_OPACITY, api_visibility="private")
    return Inputs(
        *(photo, photo_notice, examples, query, query_notice, gr.State(None), preset, windows, resolution, pca, apply),
        *(class_names, class_reset, class_notice, gr.State("")),
    )


def limits(preset: config.Preset) -> tuple[int, int]:
    """Working resolutions on offer: multiples of the preset's divisor, within what it accepts."""
    lowest = max(preset.divisor, images.MIN_SIDE)
    low = -(-max(lowest, preset.resolution // 2) // preset.divisor) * preset.divisor
    low += (preset.resolution - low) % preset.divisor  # the default is on the slider's steps
    return low, min(preset.longest, low + (2 * preset.resolution - low) // preset.divisor * preset.divisor)


def _title(status: dict) -> str:
    here = status["runnable"] or status["name"] in compute.SEGMENTERS
    return status["title"] if here else f"{status['title']} – not here yet"


def _gallery(examples: list[Example]) -> gr.HTML:
    thumbnails = []
    for index, example in enumerate(examples):
        picture = images.load(example.path)
        scale = 200 / picture.shape[1]
        uri = pictures.photo_uri(images.resize(picture, round(picture.shape[0] * scale), 200))
        thumbnails.append(
            f'<button type="button" data-index="{index}" title="{escape(example.title)}">'
            f'<img src="{uri}" alt="{escape(example.alt)}"><span>{escape(example.title)}</span></button>'
        )
    return gr.HTML(
        f'<div class="thumbnails" role="group" aria-label="Examples">{"".join(thumbnails)}</div>',
        elem_id="examples",
        js_on_load=_PICK,
        apply_default_css=False,
    )
