"""About: what MFuser is, how to read the page, how to run it at home, the model card."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr

from mfuser import presets
from mfuser.demo import compute

FIGURE = (Path(__file__).parent / "figure.svg").read_text(encoding="utf-8")
WHAT = """
## What MFuser is
A vision foundation model such as DINOv2 sees precisely where things are, but knows no words; a vision-language model
such as CLIP knows what things are called, but sees them coarsely. MFuser keeps both frozen and puts one small Mamba
adapter, MVFuser, after every block: it reads the tokens of both encoders as one sequence and adds an offset to each.
The fused features are precise and aligned with text. A decoder whose queries are the class names then segments streets
of domains whose labels it never saw. The built-in model `nano` was trained on rendered streets and on the weather
simulator of this page, so that its results in that weather are no proof of generalisation.
"""
READ = """
## How to read the page
* **Masks**: one of the 19 Cityscapes classes for every pixel. Each model has a decoder of its own, trained alike. The
  paper trains none for the VFM and the VLM alone: where a model has none, the page says what its mask is instead.
* **Similarity**: the cosine of every patch with the patch that you clicked, or with your words, on one scale that does
  not depend on the picture. Each model compares its own patches. The VFM knows no words. The VLM uses its original text
  tower, MFuser the one with its learned prompts. With several points, those with + count by the best of them, and the
  best of those with − is taken away.
* **Features**: patches that look alike to a model have the same colour. Colours of two models cannot be compared.
* **Confidence**: the probability of the class shown, as the decoder gives it.
* **Differences**: the pixels in which the models do not agree.
* **Errors**: the pixels in which a model differs from the truth, where the truth is known: it is for the rendered
  examples.
* Patches are compared in your browser, in 8 bits: a cosine shown is off by about 0.01.

## Run it at home
```
pip install -r requirements.txt
python app.py
```
`python app.py --help` lists models, devices and precisions. From Python: `mfuser.load("nano").analyse("street.jpg")`.
Every answer of this page is also an API endpoint: `/analyse`, `/similarity`, `/segment`, `/weather`, `/inside`,
`/evaluate` and `/sweep`, documented under “Use via API” at the bottom. The same are MCP tools at `/gradio_api/mcp/`.

## Links and licence
The paper: [Mamba as a Bridge: Where Vision Foundation Models Meet Vision Language Models for Domain-Generalized
Semantic Segmentation](https://arxiv.org/abs/2504.03193) (CVPR 2025). The code of this project is under the MIT licence;
weights have their own terms.
"""


def build(preset: str) -> None:
    """Create the texts inside the current container."""
    gr.Markdown(WHAT)
    gr.HTML(f'<figure class="about-figure">{FIGURE}</figure>', apply_default_css=False)
    gr.Markdown(READ)
    gr.Markdown(_models())
    if card := _card(preset):
        with gr.Accordion("Model card", open=False):
            gr.Markdown(card)


def _models() -> str:
    rows = ["## Models", "| model | encoders | licence of the weights | here |", "|---|---|---|---|"]
    for status in presets.available():
        preset = presets.get(status["name"])
        ready = status["runnable"] or preset.name in compute.SEGMENTERS
        here = "ready" if ready else f"{status['why']}; `{status['command']}`"
        rows.append(f"| {preset.title} | {preset.vfm.title} + {preset.vlm.title} | {preset.licence} | {here} |")
    return "\n".join(rows)


def _card(preset: str) -> str:
    """Text of the model card, of built-in weights or of a folder's own, without front matter; empty for none."""
    folder = presets.get(preset).weights
    places = [] if folder is None else [folder / "README.md", folder.parent / "model_card.md"]
    text = next((path.read_text(encoding="utf-8") for path in places if path.is_file()), "")
    text = text.split("\n---\n", 1)[-1] if text.startswith("---\n") else text
    return re.sub(r"^(#+) ", r"##\1 ", text, flags=re.MULTILINE)  # below the headings of the page
