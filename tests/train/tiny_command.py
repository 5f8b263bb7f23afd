"""`python tests/train/tiny_command.py fit ...`: the command line with the tests' tiny preset.

`--exact` takes out of `fit` what differs between one process and several: dropout, random points, and batch norms by
the statistics of a process's own share.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from mfuser import presets  # noqa: E402
from mfuser.loading import MFuser  # noqa: E402
from tests.train.fit.tiny import GridPoints  # noqa: E402
from train.__main__ import main  # noqa: E402
from train.fit.point_sampling import PointSampling  # noqa: E402

spec = importlib.util.spec_from_file_location("tiny_conftest", ROOT / "tests" / "conftest.py")
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)
presets.PRESETS[conftest.TINY.name] = conftest.TINY
torch.set_num_threads(1)

plain_train_mode = MFuser.train_mode


def exact_train_mode(model: MFuser, stream: str) -> MFuser:
    for module in plain_train_mode(model, stream).modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.BatchNorm2d):
            module.eval()
    return model


if __name__ == "__main__":
    arguments = [word for word in sys.argv[1:] if word != "--exact"]
    if len(arguments) < len(sys.argv) - 1:
        MFuser.train_mode, PointSampling.draw = exact_train_mode, GridPoints.draw
    sys.exit(main(arguments))
