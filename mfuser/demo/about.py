"""About: what MFuser is, how to read the page, how to run it at home, the model card."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from mfuser import presets
from mfuser.demo import compute

FIGURE = (Path(__file__).parent / "figure.svg").read_text(encoding="utf-8")
WHAT = """
### What MFuser is
A vision foundation model such as DINOv2 sees precisely where things are, but knows no words; a vision-language model
such as CLIP knows what things are called, but sees them coarsely. MFuser keeps both frozen and puts one small Mamba
adapter, MVFuser, behind every block: it reads the tokens of both encoders as one sequence and adds an offset to each.
The fused features are precise and aligned with text, so that a decoder whose queries are the class names segments
streets in towns and weather it was never trained on.
"""
READ = """
### How to read the page
* **Features** – tokens that look alike have the same colour. Colours of different models cannot be compared.
* **Similarity** – the cosine between the query and every patch, on one scale for all columns. For several texts it is
  the largest of their cosines. The VLM uses its original text tower, MFuser the tower with its learned prompts.
  After a click, each column compares its own last tokens.
* **Masks** – one of the 19 Cityscapes classes for every pixel. Each column has a decoder of its own, trained alike. The
  paper trains none for the VFM and the VLM alone: there the VLM’s mask is zero-shot (the closest class name), the VFM’s
  shows clusters of its patches in the colours of MFuser’s mask, and the page says so, with the command that trains one.
* **Classes (experimental)** – names of your own instead of the 19. The decoders keep their training: a new name gets a
  mix of the trained positions, weighted by how close the texts are.
* **Time and parameters** – of what that column alone needs; MFuser needs both encoders, which the VFM's text queries
  need in part.

### Run it at home
```
pip install -r requirements.txt
python app.py
```
`python app.py --help` lists models, devices and precisions. From Python: `mfuser.load("nano").analyse("street.jpg")`.
Every answer of this page is also an API endpoint: `/analyse`, `/similarity`, `/segment`, `/weather`, `/inside`,
`/evaluate` and `/sweep`, documented under “Use via API” at the bottom. The same are MCP tools at `/gradio_api/mcp/`.

### Links and licence
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
    rows = ["### Models", "| model | encoders | licence of the weights | here |", "|---|---|---|---|"]
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
    return text.split("\n---\n", 1)[-1] if text.startswith("---\n") else text
