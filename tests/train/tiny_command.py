"""`python tests/train/tiny_command.py fit ...`: the command line with the tests' tiny preset."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from mfuser import presets  # noqa: E402
from train.__main__ import main  # noqa: E402

spec = importlib.util.spec_from_file_location("tiny_conftest", ROOT / "tests" / "conftest.py")
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)
presets.PRESETS[conftest.TINY.name] = conftest.TINY
torch.set_num_threads(1)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
