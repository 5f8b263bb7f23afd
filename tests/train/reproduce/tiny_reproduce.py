"""`python tests/train/reproduce/tiny_reproduce.py reproduce-nano ...`: the command line with tiny presets and settings.

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
from train.runtime import subprocesses  # noqa: E402

PRETRAIN = {"iterations": 1, "batch": 2, "precision": "float32"}
FIT = {"iterations": 2, "warmup": 1, "batch": 14, "crop": 64, "base": 64, "points": 64, "workers": 0, "save-every": 1}
SHORT = {  # in place of the recipe's own settings, by what the name of a stage begins with
    "pretrain-text": {**PRETRAIN, "iterations": 2, "batch": 4},
    "pretrain": PRETRAIN,
    "fit": FIT,
    "settle": {"limit": 2, "resolution": 64},
    "calibrate": {"limit": 2, "workers": 0},
    "pseudo-dawn": {"confidence": 0.0, "resolutions": (0, 96)},  # random weights are sure of nothing
    "pseudo": {"confidence": 0.0, "resolutions": (0,)},
    "further": {**FIT, "mix": (4, 5, 5)},
    "blend": {"share": 0.25},
}
KEPT = ("stage", "streams", "stream", "data", "photographs", "val", "resume", "mix")
KEPT += ("out", "weights", "encoders", "start", "before", "after")
LAUNCH = (sys.executable, __file__)
TINY = tiny_command.conftest.TINY
OPTIONS = {**TINY.vlm.options, "text_length": 32, "text_width": 384, "text_heads": 12}
LONG = replace(TINY, name="tiny-long", vlm=replace(TINY.vlm, options=OPTIONS))
full_table = recipe.table


def table(protocol: recipe.Protocol, preset: str = "tiny", rendered: bool = True) -> list[recipe.Stage]:
    """The table without `teach`, for which WordNet need not be there."""
    *rows, collect = (row for row in full_table(protocol, preset, rendered) if row.command != "teach")
    source = rows[-1].writes[0].partition("/")[0]
    rows.append(replace(collect, reads=recipe.weights(source), copies=source))
    return [shortened(row) for row in rows]


def shortened(row: recipe.Stage) -> recipe.Stage:
    own = next((own for start, own in SHORT.items() if row.name.startswith(start)), {})
    return replace(row, options={**{key: row.options[key] for key in KEPT if key in row.options}, **own})


if __name__ == "__main__":
    presets.PRESETS[LONG.name] = LONG
    recipe.table = table
    subprocesses.LAUNCH = LAUNCH
    sys.exit(tiny_command.main(sys.argv[1:]))
