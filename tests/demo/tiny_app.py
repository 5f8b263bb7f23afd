"""`python tests/demo/tiny_app.py SECONDS FLAGS`: app.py over the tiny random model, one pass of which takes SECONDS."""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import app  # noqa: E402
from mfuser import presets  # noqa: E402
from mfuser.demo import examples  # noqa: E402
from mfuser.inference.segmenter import Segmenter  # noqa: E402
from tests.conftest import TINY  # noqa: E402

if __name__ == "__main__":
    seconds, analyse = float(sys.argv.pop(1)), Segmenter.analyse

    def slow(self, *arguments, **options):
        time.sleep(seconds)
        return analyse(self, *arguments, **options)

    presets.PRESETS["tiny"], Segmenter.analyse, examples.FOLDER = TINY, slow, Path("nowhere")
    examples.find.__defaults__ = (Path("nowhere"),)
    sys.argv[1:1] = ["--preset", "tiny", "--random-weights"]
    app.main()
