"""`python tests/train/reproduce/tiny_reproduce.py reproduce-nano ...`: the command line with tiny presets.

The preset "tiny-long" has a text tower of one block that is as wide and long as pre-training starts from.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tiny_command  # noqa: E402

from mfuser import presets  # noqa: E402
from train.reproduce import recipe  # noqa: E402
from train.runtime import subprocesses

FIT = {"iterations": 2, "warmup": 1, "batch": 14, "crop": 64, "base": 64, "points": 64, "workers": 0, "save-every": 1}
TINY = {
    "pretrain-text": {"iterations": 2, "batch": 4, "precision": "float32"},
    "pretrain-vlm": {"iterations": 1, "batch": 2, "precision": "float32"},
    "pretrain-vfm": {"iterations": 1, "batch": 2, "precision": "float32"},
    "fit-fused": {**FIT},
    "fit-vfm": {**FIT},
    "fit-vlm": {**FIT},
    "settle": {"limit": 2, "resolution": 64},
    "calibrate": {"limit": 2, "workers": 0},
    **{  # random weights are sure of nothing
        f"pseudo-{place}-{stream}": {"stream": stream, "confidence": 0.0, "resolutions": (0, 96)[: len(sides)]}
        for stream in recipe.STREAMS
        for place, sides in recipe.PSEUDO.items()
    },
    "further-fused": {**FIT, "mix": (4, 5, 5)},
    "further-vfm": {**FIT, "mix": (4, 5, 5)},
    "further-vlm": {**FIT, "mix": (4, 5, 5)},
    "blend": {"share": 0.25},
    "calibrate-blend": {"limit": 2, "workers": 0},
    "teach": None,  # WordNet need not be there
    "teach-every-word": None,
}
PROTOCOLS = {name: replace(protocol, settings={}) for name, protocol in recipe.PROTOCOLS.items()}
LAUNCH = (sys.executable, __file__)
SHORT = tiny_command.conftest.TINY
OPTIONS = {**SHORT.vlm.options, "text_length": 32, "text_width": 384, "text_heads": 12}
LONG = replace(SHORT, name="tiny-long", vlm=replace(SHORT.vlm, options=OPTIONS))

if __name__ == "__main__":
    presets.PRESETS[LONG.name] = LONG
    recipe.RECIPE.update(TINY)
    recipe.PROTOCOLS.update(PROTOCOLS)
    subprocesses.LAUNCH = LAUNCH
    sys.exit(tiny_command.main(sys.argv[1:]))
