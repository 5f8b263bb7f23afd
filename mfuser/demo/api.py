"""The page's functions as API endpoints, for gradio_client and other programs, and as MCP tools."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import gradio as gr
import numpy as np
from gradio import processing_utils, utils

from mfuser import images, presets, weather
from mfuser.demo import wording
from mfuser.demo.guard import photo_input
from mfuser.demo.session import Session
from mfuser.demo.studies import Studies
from mfuser.stage import truth

# Endpoint -> its outputs in order; a name in capitals is JSON, another one a PNG.
OUTPUTS = {
    "analyse": ("SUMMARY", "vfm features", "vlm features", "fused features"),
    "similarity": ("COSINES", "vfm heat map", "vlm heat map", "fused heat map"),
    "segment": ("vfm mask", "vlm mask", "fused mask", "SHARES"),
    "weather": ("adverse photograph", "vfm mask", "vlm mask", "fused mask", "SCORES"),
    "inside": ("BLOCKS", "vfm offsets", "vlm offsets"),
    "evaluate": ("SCORES",),
    "sweep": ("RETENTION",),
}


COMPUTE = {"concurrency_id": "compute", "concurrency_limit": 1}
# A lane of its own: a query of an analysed picture does not wait for somebody's pass. Passes still run one by one.
QUERIES = {"concurrency_id": "queries", "concurrency_limit": 8}


def build(session: Session) -> None:
    """Register the endpoints in the current `gr.Blocks`, on components that the page does not show."""
    endpoints = Studies(session)
    make = {
        "image": lambda: photo_input(label="image"),
        "query": lambda: gr.Textbox("car", label="query"),
        "x": lambda: gr.Number(-1, label="x"),
        "y": lambda: gr.Number(-1, label="y"),
        "condition": lambda: gr.Textbox("fog", label="condition"),
        "severity": lambda: gr.Number(3, label="severity"),
        "seed": lambda: gr.Number(0, label="seed", precision=0),
        "preset": lambda: gr.Dropdown(list(presets.PRESETS), value=session.preset, label="preset"),
        "windows": lambda: gr.Radio(["single", "sliding"], value="single", label="windows"),
        "resolution": lambda: gr.Number(0, label="resolution", precision=0),
        "classes": lambda: gr.Textbox("", label="classes"),
        "block": lambda: gr.Number(0, label="block"),
        "label": lambda: photo_input(label="label"),
        "labels": lambda: gr.Radio([truth.AUTO, *truth.KINDS], value=truth.AUTO, label="labels"),
        "conditions": lambda: gr.Textbox(",".join(weather.CONDITIONS), label="conditions"),
        "severities": lambda: gr.Textbox("1,3,5", label="severities"),
    }
    with gr.Row(visible=False):
        for name, labels in OUTPUTS.items():
            function = getattr(endpoints, name)
            arguments = [a for a in function.__annotations__ if a != "return"]
            gr.Button().click(
                _spoken(function),
                [make[argument]() for argument in arguments],
                [_output(label) for label in labels],
                api_name=name,
                api_description=" ".join(function.__doc__.split()),
                **(QUERIES if name == "similarity" else COMPUTE),
            )


def _output(label: str) -> gr.JSON | gr.Image:
    if label.isupper():
        return gr.JSON(label=label.lower())
    return gr.Image(label=label, format="png", image_mode=None)


def _spoken(function: Callable) -> Callable:
    """The same function with pictures as files, whose errors reach the caller as one sentence."""

    @wraps(function)
    def wrapped(*args, **kwargs):
        try:
            answers = [_file(a) if isinstance(a, np.ndarray) else a for a in function(*args, **kwargs)]
            return answers[0] if len(answers) == 1 else tuple(answers)
        except Exception as error:
            raise gr.Error(wording.sentence(error), print_exception=False) from error

    return wrapped


def _file(picture: np.ndarray) -> str:
    """Path of a PNG in Gradio's cache; Gradio's own encoder would take longer than everything the endpoint computes."""
    return processing_utils.save_bytes_to_cache(images.encode(picture), "image.png", utils.get_upload_folder())
