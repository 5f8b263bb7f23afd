"""Sentences and numbers of the page, as plain text or small pieces of HTML."""

from __future__ import annotations

import logging
from html import escape

from mfuser.demo import storage
from mfuser.demo.cache import SECONDS
from mfuser.demo.refusals import OWN
from mfuser.inference.analysis import CLUSTERS, Analysis
from mfuser.pictures.visualize import STREAM_TITLES

logger = logging.getLogger(__name__)

FILE_CHECK_SECONDS = 600
FILE_SECONDS = int(SECONDS)
NOTHING = "<span hidden></span>"  # the page would leave the last notice standing for an empty string
RANDOM_NOTE = "Random weights (for development): the pictures show that everything runs, not what a trained model sees."
PRIVACY = (
    "What happens to a picture: this app keeps it in memory and in a temporary folder of the computer it runs on, "
    f"deletes both after about {(FILE_SECONDS + FILE_CHECK_SECONDS) // 60} minutes without use or when the app stops, "
    "and sends it nowhere else."
)


def sentence(error: Exception) -> str:
    """What to tell a visitor: the words of our own errors alone; the traceback of anything else goes to the log."""
    if isinstance(error, OWN):
        logger.info("refused: %s", error)
        return str(error)
    if isinstance(error, OSError) and (why := storage.cause(error)):
        logger.error("cannot store a file: %s", error)
        return f"The server cannot store pictures now: {why}. Please tell whoever runs it, and try again later."
    logger.error("unforeseen error", exc_info=error)
    return "Something went wrong while computing this; the log of the app has the details. Please try another picture."


def notice(text: str, level: str = "error") -> str:
    """One sentence in a box, read out by screen readers; `NOTHING` for an empty text."""
    role = "alert" if level == "error" else "status"
    return f'<p class="notice {level}" role="{role}">{escape(text)}</p>' if text else NOTHING


def duration(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 999.5 else f"{milliseconds / 1000:.1f} s"


def percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 1e-3 else f"{100 * share:.1f} %"


def column_heads(analysis: Analysis) -> dict[str, tuple[str, str]]:
    """stream -> (title, what it is made of)."""
    vfm, vlm = analysis.ran["encoders"]["vfm"], analysis.ran["encoders"]["vlm"]
    parts = {"vfm": vfm, "vlm": vlm, "fused": "both, fused block by block by Mamba adapters"}
    return {stream: (STREAM_TITLES[stream], parts[stream]) for stream in STREAM_TITLES}


MADE = {
    "zero-shot": "No decoder was trained for this column: each place has the class whose name its patch is closest to.",
    "clusters": f"No decoder was trained for this column: {CLUSTERS} groups of patches that look alike, each in the "
    "class that MFuser’s mask has there most.",
}


def made(analysis: Analysis, stream: str) -> str:
    """What a mask is, as HTML, and the command that trains a decoder; empty where a decoder made it."""
    how = analysis.made.get(stream, "decoder")
    if how == "decoder":
        return ""
    command = analysis.ran["training"][stream]
    return (
        f"<b>{escape(how.capitalize())}.</b> {escape(MADE[how])} To train one, beside its stream-fused file: "
        f"<code>{escape(command)}</code>"
    )


def what_ran(analysis: Analysis, original: tuple[int, int]) -> str:
    """The line that always shows what really ran."""
    ran = analysis.ran
    height, width = ran["input_size"]
    passes = "one pass"
    if ran["windows"] == "sliding":
        layout = ran["window_layout"]
        (h, w), (window_h, window_w) = layout["image_size"], layout["window_size"]
        passes = f"masks from {layout['count']} windows of {window_w} × {window_h} over {w} × {h}"
    earlier = ", the encoders ran earlier" if ran["encoders_ran"] == "earlier" else ""
    facts = [
        ran["preset"],
        f"{ran['encoders']['vfm']} + {ran['encoders']['vlm']}",
        f"weights: {ran['weights']}",
        f"{ran['device']}, {ran['precision']}",
        f"scan kernel: {ran['scan_kernel']}",
        f"photograph {original[1]} × {original[0]}, seen at {width} × {height}, {passes}",
        f"{duration(ran['milliseconds']['total'])} in all{earlier}",
    ]
    if not analysis.trained_classes:
        facts.append(f"{len(analysis.classes)} classes of your own (experimental)")
    line = " ".join(f"<span>{escape(fact)}</span>" for fact in facts)
    warning = notice(RANDOM_NOTE, "note") if ran["weights"] == "random" else ""
    return f'<div class="ran" aria-label="What really ran">{line}</div>{warning}'


def reduced(original: tuple[int, int], size: tuple[int, int]) -> str:
    """That a photograph was made smaller, or nothing. original, size: (H, W) in pixels."""
    if original == size:
        return ""
    (height, width), (h, w) = original, size
    return f"The photograph of {width} × {height} pixels was reduced to {w} × {h} for this page."
