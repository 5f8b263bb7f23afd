"""Settings of the models: which one, at which resolution, in windows or not, with which classes."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from mfuser import config, images, presets
from mfuser.demo import compute
from mfuser.demo.session import Session

WINDOWS = [("one pass (fast)", "single"), ("sliding windows (as in the paper)", "sliding")]


@dataclass
class Controls:
    """Components of the settings.

    Attributes:
        classes: the class list that counts, after it was checked.
    """

    preset: gr.Dropdown
    windows: gr.Radio
    resolution: gr.Slider
    class_names: gr.Textbox
    class_reset: gr.Button
    class_notice: gr.HTML
    classes: gr.State

    @property
    def values(self) -> list[gr.Component]:
        """What an analysis takes, in the order of `Session.settings`."""
        return [self.preset, self.windows, self.resolution, self.classes]


def build(session: Session) -> Controls:
    """Create the settings inside the current container."""
    chosen = presets.get(session.preset)
    runnable = [s for s in presets.available() if s["runnable"] or s["name"] in compute.SEGMENTERS]
    with gr.Row():
        preset = gr.Dropdown(
            [(status["title"], status["name"]) for status in runnable],
            value=session.preset,
            label="Model",
            info="Models that run here. “About” lists the others, with the command that gets each.",
            elem_id="preset",
            filterable=False,
        )
        windows = gr.Radio(WINDOWS, value="single", label="Masks from", elem_id="windows")
        resolution = gr.Slider(
            *limits(chosen),
            value=chosen.resolution,
            step=chosen.divisor,
            label="Working resolution (short side, pixels)",
            elem_id="resolution",
        )
    class_names = gr.Textbox(
        label="Classes of your own (experimental)",
        info="Names separated by commas; Enter sends. The decoders were trained for the 19 Cityscapes classes: other "
        "names borrow from the closest of them.",
        placeholder="road, car, lorry, tree, house, sky",
        elem_id="class-names",
        submit_btn="Use these",
        max_lines=4,
    )
    class_notice = gr.HTML("", elem_id="class-notice")
    class_reset = gr.Button("Back to the 19 classes", size="sm", elem_id="class-reset")
    return Controls(preset, windows, resolution, class_names, class_reset, class_notice, gr.State(""))


def limits(preset: config.Preset) -> tuple[int, int]:
    """Working resolutions on offer, in pixels: multiples of the preset's divisor, within what it accepts."""
    lowest = max(preset.divisor, images.MIN_SIDE)
    low = -(-max(lowest, preset.resolution // 2) // preset.divisor) * preset.divisor
    low += (preset.resolution - low) % preset.divisor  # the default is on the slider's steps
    return low, min(preset.longest, low + (2 * preset.resolution - low) // preset.divisor * preset.divisor)
