"""Looks: a quiet theme on system fonts (nothing is fetched), and the page's own style sheet."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from mfuser.stage import files

CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
TITLE = "MFuser: what two frozen vision models see, and what they know together"
# Gradio rewrites the rules of `css`, which breaks :is(); what stands in the head stays as it is.
DESCRIPTION = "See what a vision foundation model, a vision-language model and their Mamba fusion make of a street."
HEAD = f"""<meta name="description" content="{DESCRIPTION}">
<style>{(files.STATIC / "stage.css").read_text(encoding="utf-8")}</style>
<style>{(files.STATIC / "drawers.css").read_text(encoding="utf-8")}</style>"""
_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def theme() -> gr.themes.Base:
    """Plain strings are taken as local fonts; `gr.themes.GoogleFont` would be fetched."""
    return gr.themes.Base(
        primary_hue="teal",
        neutral_hue="slate",
        radius_size="md",
        font=_SANS,
        font_mono=_MONO,
    ).set(
        body_background_fill="#f7f8fa",
        body_background_fill_dark="#0e1116",
        block_background_fill="#ffffff",
        block_background_fill_dark="#161b22",
        block_border_width="1px",
        block_border_color="#e3e7ec",
        block_border_color_dark="#2a313b",
        block_shadow="none",
        block_label_text_weight="600",
        block_title_text_weight="600",
        input_background_fill="#ffffff",
        input_background_fill_dark="#0e1116",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_text_color="#ffffff",
    )
